#!/usr/bin/python3
"""Builds the Linux guest's kernel and initramfs from a Debian kernel package and busybox, both already unpacked.

The same packages give the same bytes on every machine: names sorted, times zero, owner root, and no compression (a
compressor's output differs by its version, and the guest would spend simulated time on undoing it). For the same reason a kernel
that is compressed for size is taken out of its wrapping, byte for byte as the wrapping's own code would; it boots by its PVH entry.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import os
import pathlib
import re
import stat
import struct
import subprocess
import sys

# What a Hyper-V guest may meet, with what a test of it needs; by the kernel's flavour. Absent ones are skipped: kernels differ in
# what is built in.
WANTED_MODULES = {
    "cloud": [
        "hv_vmbus", "hv_utils", "hv_balloon", "hv_netvsc", "hv_storvsc", "hv_sock", "pci_hyperv", "hyperv_keyboard",
        "hid_hyperv", "hid_generic", "evdev", "hyperv_fb", "hyperv_drm", "uio_hv_generic", "ixgbevf", "sd_mod", "sr_mod", "sg",
        "ext4", "isofs", "vfat", "nls_ascii", "nls_cp437", "af_packet", "bonding", "pktgen", "virtio_net", "virtio_blk",
    ],
    # The devices of a Generation 1 machine, and the synthetic ones for comparison.
    "generic": [
        "ata_piix", "tulip", "sd_mod", "ext4", "crc32c_generic", "af_packet", "hv_vmbus", "hv_utils", "hv_netvsc", "hv_storvsc",
        "sr_mod", "isofs",
    ],
}  # fmt: skip
REQUIRED_MODULES = {
    "cloud": {"hv_vmbus", "hv_utils", "hv_netvsc", "hv_storvsc", "pci_hyperv", "ixgbevf", "sd_mod"},
    "generic": {"ata_piix", "tulip", "sd_mod", "ext4", "hv_vmbus", "hv_netvsc"},
}
DIRECTORIES = ["bin", "dev", "etc", "etc/udhcpc", "lib", "mnt", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "usr/bin", "usr/sbin", "var", "vg"]
SUFFIXES = (".ko", ".ko.xz")


class SetupError(Exception):
    """What went wrong, in one line for the user."""


def module_name(path: pathlib.Path) -> str:
    """The kernel's own name of a module file."""
    return path.name.split(".ko")[0].replace("-", "_")


def read_module(path: pathlib.Path) -> bytes:
    """The module's ELF image."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def module_facts(image: bytes) -> dict[str, list[str]]:
    """The key=value strings of the ELF section .modinfo, by key, in file order."""
    if image[:4] != b"\x7fELF":
        raise SetupError("a kernel module is not an ELF file; its compression is not known here")
    (table,) = struct.unpack_from("<Q", image, 40)
    entry_size, count, names_index = struct.unpack_from("<HHH", image, 58)
    sections = [struct.unpack_from("<IIQQQQ", image, table + index * entry_size) for index in range(count)]
    names_offset = sections[names_index][4]
    facts: dict[str, list[str]] = {}
    for name, _, _, _, offset, size in sections:
        end = image.index(b"\0", names_offset + name)
        if image[names_offset + name : end] == b".modinfo":
            for item in image[offset : offset + size].split(b"\0"):
                key, separator, value = item.decode("utf-8", "replace").partition("=")
                if separator:
                    facts.setdefault(key, []).append(value)
    return facts


def select_modules(tree: pathlib.Path, flavour: str) -> dict[str, tuple[str, bytes, dict[str, list[str]]]]:
    """Wanted modules and what they depend on: name -> (path below the module tree, ELF image, facts)."""
    found = {module_name(path): path for path in sorted(tree.rglob("*.ko*")) if path.name.endswith(SUFFIXES)}
    built_in = {module_name(pathlib.Path(line)) for line in (tree / "modules.builtin").read_text().split()}
    missing = sorted(REQUIRED_MODULES[flavour] - found.keys() - built_in)
    if missing:
        raise SetupError(f"the kernel package lacks the modules {', '.join(missing)}")
    chosen: dict[str, tuple[str, bytes, dict[str, list[str]]]] = {}
    pending = [name for name in WANTED_MODULES[flavour] if name in found]
    while pending:
        name = pending.pop()
        if name in chosen:
            continue
        image = read_module(found[name])
        facts = module_facts(image)
        place = found[name].relative_to(tree).as_posix().removesuffix(".xz")
        chosen[name] = (place, image, facts)
        depends = [other for line in facts.get("depends", []) for other in line.split(",") if other]
        # A soft dependency names what must come first ("pre:") for the module to work, such as a checksum.
        soft = re.findall(r"[\w-]+(?!:)\b", re.sub(r"post:.*", "", " ".join(facts.get("softdep", []))))
        pending += [other.replace("-", "_") for other in depends if other.replace("-", "_") in found]
        pending += [other.replace("-", "_") for other in soft if other.replace("-", "_") in found]
    return dict(sorted(chosen.items()))


def dependencies(name: str, modules: dict[str, tuple[str, bytes, dict[str, list[str]]]]) -> list[str]:
    """All modules that must be loaded before `name`, the ones needed first at the end, as modules.dep has it."""
    order: list[str] = []

    def visit(current: str) -> None:
        for line in modules[current][2].get("depends", []):
            for other in (item.replace("-", "_") for item in line.split(",") if item):
                if other in modules:
                    if other in order:
                        order.remove(other)
                    order.append(other)
                    visit(other)

    visit(name)
    return order


class Archive:
    """A cpio archive in the kernel's "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[int, bytes]] = {}

    def add(self, path: str, mode: int, data: bytes = b"") -> None:
        self.entries[path] = (mode, data)

    def add_directory(self, path: str) -> None:
        self.add(path, stat.S_IFDIR | 0o755)

    def to_bytes(self) -> bytes:
        out = bytearray()
        trailer = [("TRAILER!!!", (0, b""))]
        # A parent sorts before what is in it, as the kernel needs.
        for inode, (path, (mode, data)) in enumerate([*sorted(self.entries.items()), *trailer], start=1):
            name = path.encode() + b"\0"
            fields = [inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0]
            out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
            out += bytes(-len(out) % 4) + data
            out += bytes(-len(out) % 4)
        # A second archive may follow; the kernel wants it on a multiple of four.
        return bytes(out) + bytes(-len(out) % 512)


def build_archive(tree: pathlib.Path, flavour: str, busybox: pathlib.Path, init: pathlib.Path, files: dict[str, pathlib.Path]) -> bytes:
    """The whole initramfs; `files`: path in the guest -> file."""
    archive = Archive()
    for path in DIRECTORIES:
        archive.add_directory(path)
    archive.add("init", stat.S_IFREG | 0o755, init.read_bytes())
    for path, source in files.items():
        archive.add(path, stat.S_IFREG | (0o755 if source.suffix == ".sh" else 0o644), source.read_bytes())
    archive.add("bin/busybox", stat.S_IFREG | 0o755, busybox.read_bytes())
    applets = subprocess.run([busybox, "--list-full"], check=True, capture_output=True, text=True).stdout.split()
    for applet in applets:
        if applet != "bin/busybox" and os.path.dirname(applet) in DIRECTORIES:
            archive.add(applet, stat.S_IFLNK | 0o777, b"/bin/busybox")

    modules = select_modules(tree, flavour)
    base = f"lib/modules/{tree.name}"
    for place, image, _ in modules.values():
        archive.add(f"{base}/{place}", stat.S_IFREG | 0o644, image)
    for path in [entry for entry in archive.entries if entry.startswith("lib/modules/")]:
        for parent in pathlib.PurePosixPath(path).parents:
            if str(parent) != ".":
                archive.add_directory(str(parent))
    order = {name: [modules[other][0] for other in dependencies(name, modules)] for name in modules}
    table = "".join(f"{modules[name][0]}: {' '.join(order[name])}".rstrip() + "\n" for name in modules)
    aliases = "".join(f"alias {alias} {name}\n" for name in modules for alias in modules[name][2].get("alias", []))
    archive.add(f"{base}/modules.dep", stat.S_IFREG | 0o644, table.encode())
    archive.add(f"{base}/modules.alias", stat.S_IFREG | 0o644, aliases.encode())
    archive.add(f"{base}/modules.builtin", stat.S_IFREG | 0o644, (tree / "modules.builtin").read_bytes())
    return archive.to_bytes()


def uncompressed_kernel(image: bytes) -> bytes | None:
    """The ELF file within a bzImage whose content is compressed with XZ (Documentation/x86/boot.rst); none for another one."""
    if image[0x202:0x206] != b"HdrS" or struct.unpack_from("<H", image, 0x206)[0] < 0x208:
        return None
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = ((image[0x1F1] or 4) + 1) * 512 + offset
    payload = image[start : start + length]
    if not payload.startswith(b"\xfd7zXZ\0"):
        return None
    # The last four bytes are the size of what comes out.
    kernel = lzma.decompress(payload[:-4])
    if kernel[:4] != b"\x7fELF" or len(kernel) != struct.unpack("<I", payload[-4:])[0]:
        raise SetupError("what is in the kernel's image is no ELF file of the size that it says")
    return kernel


def build(
    kernel_root: pathlib.Path,
    busybox_root: pathlib.Path,
    init: pathlib.Path,
    guest_files: dict[str, pathlib.Path],
    out: pathlib.Path,
    packages: list[str],
    flavour: str = "cloud",
) -> None:
    """Writes vmlinuz, initramfs.cpio and manifest.json into `out`, and vmlinux if the kernel is compressed with XZ."""
    kernels = sorted((kernel_root / "boot").glob("vmlinuz-*"))
    trees = [path for base in ("lib/modules", "usr/lib/modules") for path in sorted((kernel_root / base).glob("*"))]
    if len(kernels) != 1 or len(trees) != 1:
        raise SetupError("the kernel package does not hold exactly one kernel with its modules")
    candidates = [busybox_root / "bin/busybox", busybox_root / "usr/bin/busybox"]
    busybox = next((path for path in candidates if path.is_file()), None)
    if busybox is None:
        raise SetupError("the busybox-static package holds no busybox")
    files = {"vmlinuz": kernels[0].read_bytes(), "initramfs.cpio": build_archive(trees[0], flavour, busybox, init, guest_files)}
    kernel = uncompressed_kernel(files["vmlinuz"])
    if kernel is not None:
        files["vmlinux"] = kernel
    out.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (out / name).write_bytes(data)
    manifest = {
        "kernel_release": trees[0].name,
        "packages": dict(item.split("=", 1) for item in packages),
        "files": {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()},
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernel-root", type=pathlib.Path, required=True, help="unpacked kernel package")
    parser.add_argument("--busybox-root", type=pathlib.Path, required=True, help="unpacked busybox-static package")
    parser.add_argument("--flavour", choices=sorted(WANTED_MODULES), default="cloud", help="which drivers")
    parser.add_argument("--init", type=pathlib.Path, required=True, help="the first process")
    parser.add_argument("--file", action="append", default=[], help="GUEST_PATH=FILE")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--package", action="append", default=[], help="NAME=VERSION, for the manifest")
    arguments = parser.parse_args()
    files = {name: pathlib.Path(path) for name, path in (item.split("=", 1) for item in arguments.file)}
    try:
        build(arguments.kernel_root, arguments.busybox_root, arguments.init, files, arguments.out, arguments.package, arguments.flavour)
    except (SetupError, OSError, subprocess.CalledProcessError, lzma.LZMAError) as error:
        print(f"guest images: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
