"""A cpio archive with a scenario's files, which the kernel unpacks after the initramfs."""

from __future__ import annotations

import pathlib
import stat


def archive(files: dict[str, tuple[int, bytes]]) -> bytes:
    """The archive in "newc" format (buffer-format.rst of the kernel's documentation) of path -> (permissions, content).

    Same files, same bytes: sorted, owner root, time zero.
    """
    entries: dict[str, tuple[int, bytes]] = {}
    for path, (mode, data) in files.items():
        for parent in pathlib.PurePosixPath(path).parents:
            if str(parent) != ".":
                entries.setdefault(str(parent), (stat.S_IFDIR | 0o755, b""))
        entries[path] = (stat.S_IFREG | mode, data)
    out = bytearray()
    # A parent sorts before what is in it, as the kernel needs.
    for inode, (path, (mode, data)) in enumerate([*sorted(entries.items()), ("TRAILER!!!", (0, b""))], start=1):
        name = path.encode() + b"\0"
        fields = [inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0]
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out) + bytes(-len(out) % 512)
