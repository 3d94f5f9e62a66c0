#!/usr/bin/python3
"""Collects programs of unpacked Debian packages with the shared libraries that they need, as a tree for the guest's root.

A library's name is looked up where the packages have it and goes to the folder in which the guest's loader looks first.
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import struct
import sys

# The daemons behind the integration services, and a language with sockets of all families. What a package of another
# Debian release lacks is left out.
PROGRAMS = ["usr/sbin/hv_kvp_daemon", "usr/sbin/hv_vss_daemon", "usr/sbin/hv_fcopy_daemon", "usr/sbin/hv_fcopy_uio_daemon", "usr/bin/perl"]
FOLDERS = ["usr/libexec/hypervkvpd", "usr/lib/x86_64-linux-gnu/perl-base"]
LIBRARY_FOLDERS = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"]
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB = 1, 5


class SetupError(Exception):
    """What went wrong, in one line for the user."""


def needs(image: bytes) -> tuple[str, list[str]]:
    """What a 64-bit ELF file asks for: its loader's path (empty if none) and the names of libraries."""
    if image[:4] != b"\x7fELF":
        return "", []
    (table,) = struct.unpack_from("<Q", image, 32)
    size, count = struct.unpack_from("<HH", image, 54)
    headers = [struct.unpack_from("<IIQQQQ", image, table + index * size) for index in range(count)]
    loads = [(address, offset, length) for kind, _, offset, address, _, length in headers if kind == PT_LOAD]

    def text(offset: int) -> str:
        return image[offset : image.index(b"\0", offset)].decode()

    loader = next((text(offset) for kind, _, offset, *_ in headers if kind == PT_INTERP), "")
    names: list[int] = []
    strings = 0
    for kind, _, offset, _, _, length in headers:
        if kind == PT_DYNAMIC:
            for tag, value in struct.iter_unpack("<QQ", image[offset : offset + length - length % 16]):
                if tag == DT_NEEDED:
                    names.append(value)
                if tag == DT_STRTAB:
                    strings = next(o + value - a for a, o, n in loads if a <= value < a + n)
    return loader, [text(strings + name) for name in names]


def inside(root: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
    """The file behind a path below `root`, its links followed as if `root` were the root."""
    for _ in range(8):
        if not path.is_symlink():
            break
        target = pathlib.Path(path.readlink())
        path = root / target.relative_to("/") if target.is_absolute() else path.parent / target
    if not path.is_file():
        raise SetupError(f"the packages hold no {path.relative_to(root)}")
    return path


def collect(packages: pathlib.Path, out: pathlib.Path) -> list[str]:
    """Copies what is there of the list, and what that needs; the programs' names."""

    def copy(source: pathlib.Path, to: str) -> bytes:
        target = out / to
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755)
        return source.read_bytes()

    programs = [path for path in PROGRAMS if (packages / path).is_file()]
    pending: list[str] = []
    for path in programs:
        loader, libraries = needs(copy(packages / path, path))
        pending += libraries
        if loader:
            # From Debian 13 on, packages have in usr what a system finds by links of its root.
            place = packages / "usr" / loader.lstrip("/")
            copy(inside(packages, place if place.is_symlink() or place.is_file() else packages / loader.lstrip("/")), loader.lstrip("/"))
    for folder in FOLDERS:
        for source in sorted(path for path in (packages / folder).rglob("*") if path.is_file() and not path.is_symlink()):
            pending += needs(copy(source, source.relative_to(packages).as_posix()))[1]
    done: set[str] = set()
    while pending:
        name = pending.pop()
        if name in done or name.startswith("ld-linux"):
            continue
        done.add(name)
        places = [packages / folder / name for folder in LIBRARY_FOLDERS]
        place = next((path for path in places if path.is_symlink() or path.is_file()), None)
        if place is None:
            raise SetupError(f"no package of the guest's holds the library {name}")
        pending += needs(copy(inside(packages, place), f"lib/x86_64-linux-gnu/{name}"))[1]
    return programs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=pathlib.Path, required=True, help="unpacked packages, all in one tree")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    try:
        print(f"guest programs: {', '.join(collect(arguments.packages, arguments.out)) or 'none'}")
    except (SetupError, OSError, struct.error, ValueError) as error:
        print(f"guest programs: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
