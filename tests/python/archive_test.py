"""The cpio archive of a scenario's files, read back by the distribution's own layout rules."""

from __future__ import annotations

import unittest

from verdigris.archive import archive


def read_back(data: bytes) -> list[tuple[str, int, bytes]]:
    """(name, mode, content) of every entry of a newc archive, the trailer left out."""
    entries = []
    at = 0
    while True:
        assert data[at : at + 6] == b"070701", at
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        content_at = (at + 110 + name_size + 3) & ~3
        if name == "TRAILER!!!":
            assert not any(data[content_at:])
            return entries
        entries.append((name, mode, data[content_at : content_at + size]))
        at = (content_at + size + 3) & ~3


class Archive(unittest.TestCase):
    def test_entries(self) -> None:
        data = archive({"vg/script.sh": (0o755, b"echo hi"), "etc/a/b": (0o644, b"")})
        self.assertEqual(len(data) % 512, 0)
        self.assertEqual(
            read_back(data),
            [
                ("etc", 0o040755, b""),
                ("etc/a", 0o040755, b""),
                ("etc/a/b", 0o100644, b""),
                ("vg", 0o040755, b""),
                ("vg/script.sh", 0o100755, b"echo hi"),
            ],
        )

    def test_same_files_same_bytes(self) -> None:
        one = {"b": (0o644, b"2"), "a": (0o644, b"1")}
        self.assertEqual(archive(one), archive(dict(sorted(one.items()))))
