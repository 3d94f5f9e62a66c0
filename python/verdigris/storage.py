"""Disks: images of the usual formats, and what a partition makes of them."""

from __future__ import annotations

import pathlib
from typing import Any

import _verdigris

from .errors import UserError
from .units import parse_size
from .world import world


class Disk:
    """A disk image that a partition can have: raw, VHD or VHDX, found out from its content.

    path: the file, relative to the scenario. in_place: the guest changes the file itself; otherwise its changes stay in
    memory, the file is only read, and a second run finds the same. UserError if it is no disk image, or damaged.
    """

    def __init__(self, path: str | pathlib.Path, in_place: bool = False) -> None:
        self._image: Any = _verdigris.open_disk(str(world().scenario.parent / path), in_place)
        self._native: Any = None

    @classmethod
    def create(
        cls,
        format: str = "vhdx",
        size: str | int = "1GiB",
        content: str | pathlib.Path | None = None,
        kind: str = "dynamic",
    ) -> Disk:
        """A new image in memory. format: raw, vhd or vhdx. kind: fixed or dynamic.

        content: a raw image that it begins with, relative to the scenario. UserError if a value is wrong.
        """
        disk = cls.__new__(cls)
        here = world()
        here.disks += 1
        path = str(here.scenario.parent / content) if content is not None else ""
        disk._image = here.machine.create_disk(f"disk{here.disks}", format, kind, parse_size(size, "size of the disk"), path)
        disk._native = None
        return disk

    @classmethod
    def of(cls, content: bytes) -> Disk:
        """A raw disk, or a disc for a DVD drive, in memory with this content; filled up with zeros to a multiple of 4 KiB."""
        disk = cls.__new__(cls)
        here = world()
        here.disks += 1
        padded = content + bytes(-len(content) % 4096 or (0 if content else 4096))
        disk._image = _verdigris.disk_of(f"disk{here.disks}", padded)
        disk._native = None
        return disk

    def save(self, path: str | pathlib.Path, format: str = "vhdx", kind: str = "dynamic") -> None:
        """Writes the disk as it is now to a new file. UserError if the file exists or cannot be written."""
        if self._native is None:
            raise UserError("disk: no partition has it; there is nothing to save")
        self._native.save(str(path), format, kind)

    def _attach(self, guest: Any, name: str, maximum_iops: int, minimum_iops: int, maximum_bytes: int, ide: bool) -> None:
        self._native = guest.add_disk(self._image, name, maximum_iops, minimum_iops, maximum_bytes, ide)

    def _detach(self, guest: Any) -> None:
        if self._native is None:
            raise UserError("disk: no partition has it")
        guest.remove_disk(self._native)

    def _insert(self, guest: Any, name: str, ide: bool) -> Any:
        return guest.add_ide_dvd(self._image, name) if ide else guest.add_dvd(self._image, name)


class Dvd:
    """A DVD drive. Made by `partition.dvd(disc)`."""

    def __init__(self, native: Any) -> None:
        self._native = native

    def eject(self) -> bool:
        """Takes the disc out, by the operator's hand; whether something changed."""
        return bool(self._native.eject())

    def insert(self) -> bool:
        """Puts it back; whether something changed."""
        return bool(self._native.insert())


def linux_root() -> pathlib.Path:
    """The raw ext4 root disk that set-up made for the Linux guest: give it to `Disk.create(content=...)`, boot vg.Linux(root=...)."""
    place = world().images / "linux" / "root.img"
    if not place.is_file():
        raise UserError(f"no root disk for Linux: cannot read {place}; run ./verdigris setup")
    return place.resolve()
