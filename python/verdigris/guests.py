"""What a partition boots."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping
from typing import Union

from .archive import archive
from .errors import UserError
from .result_file import FROM_IMAGES
from .world import world

# `nokaslr`: the same addresses every time. `lpj`: the kernel needs no loop to find its delay constant. `panic=-1`: a
# panic ends at once. `efi=noruntime`: the firmware has no services to call.
LINUX_COMMAND_LINE = "console=ttyS0 nokaslr panic=-1 rdinit=/init lpj=1000000 8250.nr_uarts=1 efi=noruntime"

FLAVOURS = ("cloud", "generic")

Content = Union[str, bytes, pathlib.Path]


@dataclasses.dataclass(frozen=True)
class Image:
    """What the loader gets: contents, not paths."""

    is_elf: bool
    kernel: bytes
    initramfs: list[bytes]
    command_line: str


@dataclasses.dataclass(frozen=True)
class Linux:
    """An unmodified Linux kernel with an initramfs that prints `verdigris: user space reached`, runs a script and powers off.

    script: shell commands (BusyBox), as text or as the path of a file; its status is printed as `verdigris: script exit N`.
    root: goes on from that file system on one of its disks, as "LABEL=verdigris" or "/dev/sda"; not if empty.
    command_line_extra: appended to the kernel's command line.
    kernel, initramfs: paths of a bzImage and of a cpio archive, instead of the ones that set-up made.
    files: guest path -> content (text, bytes, or the path of a file), added to the initramfs.
    flavour: which of Debian's kernels: "cloud", made for virtual machines, or "generic", which has the drivers of emulated
    devices.
    Relative paths are relative to the scenario. UserError if a file cannot be read.
    """

    script: Content = ""
    command_line_extra: str = ""
    kernel: str | pathlib.Path | None = None
    initramfs: str | pathlib.Path | None = None
    files: Mapping[str, Content] = dataclasses.field(default_factory=dict)
    root: str = ""
    flavour: str = "cloud"

    def image(self) -> Image:
        """The contents to boot."""
        if self.flavour not in FLAVOURS:
            raise UserError(f"flavour: {self.flavour!r} is not one of {', '.join(FLAVOURS)}")
        folder = "linux" if self.flavour == "cloud" else f"linux-{self.flavour}"
        files: dict[str, tuple[int, bytes]] = {}
        if self.script != "":
            files["vg/script.sh"] = (0o755, _content(self.script, "script"))
        for name, content in self.files.items():
            path = pathlib.PurePosixPath(name)
            if not path.is_absolute() or ".." in path.parts or path == pathlib.PurePosixPath("/"):
                raise UserError(f"files: {name!r} is not an absolute path in the guest")
            mode = 0o644
            if isinstance(content, pathlib.Path):
                mode = 0o755 if _is_executable(content) else 0o644
            files[str(path.relative_to("/"))] = (mode, _content(content, f"files: {name}"))
        kernel = _file(self.kernel, "kernel") if self.kernel is not None else _linux_kernel(folder)
        own = self.initramfs is not None
        initramfs = [_file(self.initramfs, "initramfs") if own else _linux_image(folder, "initramfs.cpio", "initramfs")]
        if files:
            initramfs.append(archive(files))
        root = f"root={self.root}" if self.root else ""
        command_line = " ".join(f"{LINUX_COMMAND_LINE} {root} {self.command_line_extra}".split())
        return Image(kernel.startswith(b"\x7fELF"), kernel, initramfs, command_line)


@dataclasses.dataclass(frozen=True)
class Elf:
    """A bare-metal guest: an ELF file with a PVH note or a multiboot header.

    path: the file, relative to the scenario. command_line: what the guest is told. UserError if it cannot be read.
    """

    path: str | pathlib.Path
    command_line: str = ""

    def image(self) -> Image:
        """The contents to boot."""
        return Image(True, _file(self.path, "guest"), [], self.command_line)


def _resolve(path: str | pathlib.Path) -> pathlib.Path:
    return world().scenario.parent / pathlib.Path(path)


def _file(path: str | pathlib.Path, what: str) -> bytes:
    place = _resolve(path)
    try:
        return _noted(place, _name_of(pathlib.Path(path)))
    except OSError as error:
        raise UserError(f"{what}: cannot read {place}: {error.strerror}") from None


def _name_of(path: pathlib.Path) -> str:
    """From the scenario's folder where it lies below it, so that it is the same on every machine; or else as it was given."""
    beside = world().scenario.parent
    for folder in (beside.absolute(), beside.resolve()):
        if path.is_relative_to(folder):
            path = path.relative_to(folder)
    return f"./{path}" if str(path).startswith(FROM_IMAGES) else str(path)


def _noted(place: pathlib.Path, name: str) -> bytes:
    """The content of a file, which the result then depends on; what the scenario itself has written follows from the rest."""
    with open(place, "rb") as file:
        content, changed_ns = file.read(), os.fstat(file.fileno()).st_ctime_ns
    if name not in world().files and changed_ns < world().began_ns:
        world().files[name] = hashlib.sha256(content).hexdigest()
    return content


def _content(content: Content, what: str) -> bytes:
    if isinstance(content, pathlib.Path):
        return _file(content, what)
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, bytes):
        return content
    raise UserError(f"{what}: expected text, bytes or a pathlib.Path, not {type(content).__name__}")


def _is_executable(path: pathlib.Path) -> bool:
    try:
        return bool(_resolve(path).stat().st_mode & 0o100)
    except OSError:
        return False


def _linux_kernel(folder: str) -> bytes:
    # Set-up takes a kernel that is compressed for size out of its wrapping.
    bare = (world().images / folder / "vmlinux").is_file()
    return _linux_image(folder, "vmlinux" if bare else "vmlinuz", "kernel")


def _linux_image(folder: str, name: str, what: str) -> bytes:
    place = world().images / folder / name
    try:
        return _noted(place, f"{FROM_IMAGES}{folder}/{name}")
    except OSError as error:
        raise UserError(
            f"no Linux {what}: cannot read {place}: {error.strerror}; "
            f"run ./verdigris setup, or name one with vg.Linux({what}=...) or --images"
        ) from None
