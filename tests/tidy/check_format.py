#!/usr/bin/python3
"""Checks the layout of every C++ file with clang-format 14, whose output is the reference.

Later major versions lay some lines out otherwise; with one of them the check is skipped (exit status 77, for CTest).
"""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import sys

from source_tree import SourceTree

REFERENCE_VERSION = 14
SKIPPED = 77


def main() -> int:
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2]
    tool = shutil.which(f"clang-format-{REFERENCE_VERSION}") or shutil.which("clang-format")
    if tool is None:
        print("clang-format is missing")
        return 1
    version = re.search(r"version (\d+)", subprocess.run([tool, "--version"], capture_output=True, text=True).stdout)
    if version is None or int(version.group(1)) != REFERENCE_VERSION:
        print(f"layout is checked with clang-format {REFERENCE_VERSION}; here is {version.group(1) if version else '?'}")
        return SKIPPED
    files = [str(path) for path in SourceTree(root).cpp()]
    if not files:
        print("no C++ file found")
        return 1
    result = subprocess.run([tool, "--dry-run", "-Werror", "--style=file", *files], cwd=root, capture_output=True, text=True)
    wrong = dict.fromkeys(re.findall(r"^([^:\n]+):\d+:\d+: error", result.stderr, re.MULTILINE))
    print("\n".join([*wrong, f"{len(files)} files, {len(wrong)} not laid out"]))
    if wrong:
        print("mend with: clang-format -i " + " ".join(wrong))
    elif result.returncode != 0:
        print(result.stderr)
    return 1 if result.returncode != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
