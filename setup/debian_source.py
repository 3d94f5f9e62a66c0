#!/usr/bin/python3
"""Prints an apt source entry for another suite of the Debian archive that this machine already uses.

Reads the machine's own entries, in either format, takes the first that offers this release's component `main`, and
changes only the suite. So mirrors, transports and keys stay what the owner of the machine chose.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import sys

Entry = dict[str, str]


def parse_deb822(text: str) -> list[Entry]:
    """Stanzas of a `.sources` file; keys in lower case, continuation lines kept."""
    entries: list[Entry] = []
    entry: Entry = {}
    key = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if entry:
                entries.append(entry)
            entry, key = {}, ""
        elif line[0] in " \t" and key:
            entry[key] += "\n" + line
        elif ":" in line:
            key, _, value = line.partition(":")
            key = key.strip().lower()
            entry[key] = value.strip()
    return entries


def parse_one_line(text: str) -> list[Entry]:
    """Entries of a `.list` file: `deb [option=value ...] uri suite component...`."""
    entries: list[Entry] = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]*)", line)
        if not match:
            continue
        options, uri, suite, components = match.groups()
        entry = {"types": "deb", "uris": uri, "suites": suite, "components": components.strip()}
        for option in (options or "").split():
            name, _, value = option.partition("=")
            entry[{"arch": "architectures"}.get(name.lower(), name.lower())] = value.replace(",", " ")
        entries.append(entry)
    return entries


def read_entries(etc_apt: pathlib.Path) -> list[Entry]:
    """All entries in the order in which apt reads them."""
    entries: list[Entry] = []
    for path in [etc_apt / "sources.list", *sorted((etc_apt / "sources.list.d").glob("*"))]:
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        entries += parse_deb822(text) if path.suffix == ".sources" else parse_one_line(text)
    return entries


def derive(entries: list[Entry], old_suites: list[str], new_suite: str) -> str | None:
    """The first entry that serves one of `old_suites`, rewritten for `new_suite`; None if there is none."""
    for entry in entries:
        enabled = entry.get("enabled", "yes").lower() not in ("no", "false", "0")
        if not enabled or "deb" not in entry.get("types", "").split() or "main" not in entry.get("components", "").split():
            continue
        if not set(entry.get("suites", "").split()) & set(old_suites):
            continue
        derived = {**entry, "types": "deb", "suites": new_suite, "components": "main", "architectures": "amd64"}
        return "".join(f"{key.title()}: {value}\n" for key, value in derived.items())
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", help="suite wanted, for example trixie")
    parser.add_argument("--instead-of", nargs="+", required=True, help="names of the suite that the machine uses")
    parser.add_argument("--etc-apt", type=pathlib.Path, default=pathlib.Path("/etc/apt"))
    arguments = parser.parse_args()
    text = derive(read_entries(arguments.etc_apt), arguments.instead_of, arguments.suite)
    if text is None:
        print(f"no apt source of {arguments.etc_apt} offers {' or '.join(arguments.instead_of)} main", file=sys.stderr)
        return 1
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
