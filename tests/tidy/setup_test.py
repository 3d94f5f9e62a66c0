#!/usr/bin/python3
"""Tests of the set-up scripts that need neither network nor root: apt sources, guest images, the summary of a test run."""

from __future__ import annotations

import importlib.util
import hashlib
import json
import lzma
import pathlib
import shutil
import stat
import struct
import subprocess
import tempfile
import types
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
GUEST = ROOT / "setup/guest"


def load(name: str) -> types.ModuleType:
    """A set-up script as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "setup" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


debian_source = load("debian_source")
guest_programs = load("guest_programs")
initramfs = load("initramfs")
root_disk = load("root_disk")
test_summary = load("test_summary")

DEB822 = """# mirror of the house
Types: deb deb-src
URIs: https://mirror.example/debian
# a comment inside
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Types: deb
URIs: https://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""
ONE_LINE = """# deb https://mirror.example/off bookworm main
deb-src https://mirror.example/source bookworm main
deb https://mirror.example/extra bookworm contrib
deb [arch=amd64,i386 signed-by=/usr/share/keyrings/a.gpg] https://mirror.example/one bookworm main contrib # ours
"""


class DebianSource(unittest.TestCase):
    def derive(self, files: dict[str, str]) -> str | None:
        with tempfile.TemporaryDirectory() as folder:
            etc = pathlib.Path(folder)
            (etc / "sources.list.d").mkdir()
            for name, text in files.items():
                (etc / name).write_text(text)
            return debian_source.derive(debian_source.read_entries(etc), ["bookworm", "oldstable"], "trixie")

    def test_only_the_suite_changes(self) -> None:
        cases = [
            (
                {"sources.list.d/debian.sources": DEB822},
                "Types: deb\nUris: https://mirror.example/debian\nSuites: trixie\nComponents: main\n"
                "Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\nArchitectures: amd64\n",
            ),
            (
                {"sources.list": ONE_LINE},
                "Types: deb\nUris: https://mirror.example/one\nSuites: trixie\nComponents: main\n"
                "Architectures: amd64\nSigned-By: /usr/share/keyrings/a.gpg\n",
            ),
            (
                {"sources.list": "deb https://mirror.example/d oldstable main\n", "sources.list.d/debian.sources": DEB822},
                "Types: deb\nUris: https://mirror.example/d\nSuites: trixie\nComponents: main\nArchitectures: amd64\n",
            ),
            ({"sources.list.d/debian.sources": "Enabled: no\n" + DEB822.partition("\n\n")[0]}, None),
            ({"sources.list.d/debian.sources.disabled": DEB822}, None),
            ({"sources.list": "deb https://mirror.example/x trixie main\n"}, None),
            ({}, None),
        ]
        for files, expected in cases:
            with self.subTest(files=files):
                self.assertEqual(self.derive(files), expected)


def module_image(facts: dict[str, str]) -> bytes:
    """The smallest ELF file with a section .modinfo."""
    info = b"".join(f"{key}={value}".encode() + b"\0" for key, value in facts.items())
    names = b"\0.modinfo\0.shstrtab\0"
    info_offset = 64
    names_offset = info_offset + len(info)
    table = names_offset + len(names)

    def section(name: int, offset: int, size: int) -> bytes:
        return struct.pack("<IIQQQQIIQQ", name, 1, 0, 0, offset, size, 0, 0, 1, 0)

    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 1, 62, 1, 0, 0, table, 0, 64, 0, 0, 64, 3, 2)
    sections = section(0, 0, 0) + section(1, info_offset, len(info)) + section(10, names_offset, len(names))
    return header + info + names + sections


def read_archive(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Entries of a newc archive, with the rules of the format checked."""
    entries: dict[str, tuple[int, bytes]] = {}
    offset = 0
    while True:
        assert data[offset : offset + 6] == b"070701", f"no header at {offset}"
        fields = [int(data[offset + 6 + 8 * index : offset + 14 + 8 * index], 16) for index in range(13)]
        mode, owner, group, time, size, name_size = fields[1], fields[2], fields[3], fields[5], fields[6], fields[11]
        name = data[offset + 110 : offset + 110 + name_size - 1].decode()
        body = (offset + 110 + name_size + 3) // 4 * 4
        assert (owner, group, time) == (0, 0, 0), name
        if name == "TRAILER!!!":
            assert data[body:].count(0) == len(data) - body
            return entries
        entries[name] = (mode, data[body : body + size])
        offset = (body + size + 3) // 4 * 4


class GuestImages(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        tree = self.root / "kernel/lib/modules/6.1-x/kernel/drivers"
        tree.mkdir(parents=True)
        (self.root / "kernel/boot").mkdir()
        (self.root / "kernel/boot/vmlinuz-6.1-x").write_bytes(b"kernel")
        (tree.parents[1] / "modules.builtin").write_text("kernel/drivers/hv/hv_utils.ko\nkernel/drivers/scsi/sd_mod.ko\n")
        modules = {
            "hv_vmbus": {"alias": "acpi*:VMBUS:*"},
            "hv_netvsc": {"depends": "hv_vmbus,net-failover", "alias": "vmbus:635161f8*"},
            "net-failover": {"depends": "failover"},
            "failover": {},
            "hv_storvsc": {"depends": "scsi_core,hv_vmbus", "softdep": "pre: crc-sum post: after_it"},
            "scsi_core": {"depends": ""},
            "crc-sum": {},
            "after_it": {},
            "pci-hyperv": {"depends": "hv_vmbus"},
            "ixgbevf": {"alias": "pci:v00008086d000010EDsv*"},
            "unrelated": {},
        }
        for name, facts in modules.items():
            (tree / f"{name}.ko").write_bytes(module_image(facts))
        # One is compressed, as from Debian 13 on.
        (tree / "ixgbevf.ko").unlink()
        (tree / "ixgbevf.ko.xz").write_bytes(lzma.compress(module_image(modules["ixgbevf"])))
        busybox = self.root / "busybox/bin/busybox"
        busybox.parent.mkdir(parents=True)
        busybox.write_text("#!/bin/sh\nprintf 'bin/busybox\\nbin/sh\\nsbin/modprobe\\nlinuxrc\\nusr/bin/env\\n'\n")
        busybox.chmod(0o755)

    def build(self, flavour: str = "cloud") -> pathlib.Path:
        out = self.root / "out"
        packages = ["linux-image-6.1-x=6.1-2", "busybox-static=1:1.35=1"]
        files = {"sbin/vg-session": GUEST / "session.sh", "etc/inittab": GUEST / "inittab"}
        initramfs.build(self.root / "kernel", self.root / "busybox", GUEST / "init.sh", files, out, packages, flavour)
        return out

    def test_archive(self) -> None:
        out = self.build()
        data = (out / "initramfs.cpio").read_bytes()
        entries = read_archive(data)
        base = "lib/modules/6.1-x"
        modules = {pathlib.PurePosixPath(name).name for name in entries if name.endswith(".ko")}
        names = "after_it crc-sum failover hv_netvsc hv_storvsc hv_vmbus ixgbevf net-failover pci-hyperv scsi_core unrelated"
        self.assertEqual(modules, {f"{name}.ko" for name in names.split()} - {"after_it.ko", "unrelated.ko"})
        self.assertEqual(entries["init"], (stat.S_IFREG | 0o755, (GUEST / "init.sh").read_bytes()))
        self.assertEqual(entries["sbin/vg-session"], (stat.S_IFREG | 0o755, (GUEST / "session.sh").read_bytes()))
        self.assertEqual(entries["etc/inittab"], (stat.S_IFREG | 0o644, (GUEST / "inittab").read_bytes()))
        self.assertEqual(entries["bin/sh"], (stat.S_IFLNK | 0o777, b"/bin/busybox"))
        self.assertEqual(entries["usr/bin/env"], (stat.S_IFLNK | 0o777, b"/bin/busybox"))
        self.assertNotIn("linuxrc", entries)
        self.assertEqual(entries["vg"], (stat.S_IFDIR | 0o755, b""))
        self.assertEqual(entries[f"{base}/kernel/drivers/ixgbevf.ko"][1][:4], b"\x7fELF")
        table = entries[f"{base}/modules.dep"][1].decode().splitlines()
        place = "kernel/drivers"
        self.assertIn(f"{place}/hv_netvsc.ko: {place}/hv_vmbus.ko {place}/net-failover.ko {place}/failover.ko", table)
        self.assertIn(f"{place}/hv_vmbus.ko:", table)
        self.assertIn("alias pci:v00008086d000010EDsv* ixgbevf", entries[f"{base}/modules.alias"][1].decode())
        # Each parent comes before what is in it, and a second archive may follow.
        seen: set[str] = {"."}
        for name in entries:
            self.assertIn(str(pathlib.PurePosixPath(name).parent), seen)
            seen.add(name)
        self.assertEqual(len(data) % 4, 0)

    def test_same_packages_give_the_same_bytes(self) -> None:
        first = {path.name: path.read_bytes() for path in self.build().iterdir()}
        for path in self.root.rglob("*.ko"):
            path.touch()
        second = {path.name: path.read_bytes() for path in self.build().iterdir()}
        self.assertEqual(first, second)
        self.assertEqual(sorted(first), ["initramfs.cpio", "manifest.json", "vmlinuz"])

    def test_root_disk(self) -> None:
        """The same bytes at any time and place, and in order as the file system's own tools see it."""
        disks = []
        for name in ("first", "second"):
            disk = self.root / f"{name}.img"
            root_disk.build(self.root / "busybox/bin/busybox", disk, {"sbin/vg-session": GUEST / "session.sh"})
            disks.append(disk.read_bytes())
            (self.root / "busybox/bin/busybox").touch()
        self.assertEqual(disks[0], disks[1])
        check = subprocess.run(["e2fsck", "-fn", disk], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stdout)
        session = subprocess.run(["debugfs", "-R", "cat /sbin/vg-session", disk], capture_output=True).stdout
        self.assertEqual(session, (GUEST / "session.sh").read_bytes())

    def test_tree_on_the_root_disk(self) -> None:
        tree = self.root / "tree"
        (tree / "usr/sbin").mkdir(parents=True)
        (tree / "usr/sbin/daemon").write_bytes(b"of a package")
        (tree / "usr/sbin/daemon").chmod(0o755)
        disk = self.root / "disk.img"
        root_disk.build(self.root / "busybox/bin/busybox", disk, {"usr/bin/vsock": GUEST / "vsock.pl"}, tree)
        for path in ("/usr/sbin/daemon", "/usr/bin/vsock"):
            status = subprocess.run(["debugfs", "-R", f"stat {path}", disk], capture_output=True, text=True).stdout
            self.assertIn("Mode:  0755", status)

    def test_programs_and_their_libraries(self) -> None:
        """A program of this machine as if it came in packages: with its loader, its libraries, and what those need."""
        packages, out = self.root / "packages", self.root / "out"
        loader, libraries = guest_programs.needs(pathlib.Path("/bin/true").read_bytes())
        self.assertIn("libc.so.6", libraries)
        folder = packages / "lib/x86_64-linux-gnu"
        folder.mkdir(parents=True)
        (packages / "usr/sbin").mkdir(parents=True)
        shutil.copy("/bin/true", packages / "usr/sbin/hv_kvp_daemon")
        with self.assertRaisesRegex(guest_programs.SetupError, f"hold no {loader[1:]}"):
            guest_programs.collect(packages, out)
        shutil.copy(loader, folder / "loader")
        (packages / loader[1:]).parent.mkdir(parents=True)
        (packages / loader[1:]).symlink_to("/lib/x86_64-linux-gnu/loader")
        with self.assertRaisesRegex(guest_programs.SetupError, "no package of the guest's holds the library"):
            guest_programs.collect(packages, out)
        for name in libraries:
            (folder / f"{name}.real").write_bytes(b"no ELF file, needs nothing")
            (folder / name).symlink_to(f"{name}.real")
        self.assertEqual(guest_programs.collect(packages, out), ["usr/sbin/hv_kvp_daemon"])
        files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() and not path.is_symlink())
        wanted = [loader[1:], "usr/sbin/hv_kvp_daemon", *(f"lib/x86_64-linux-gnu/{name}" for name in libraries)]
        self.assertEqual(files, sorted(wanted))
        # As packages of Debian 13 have it.
        (packages / "usr" / loader[1:]).parent.mkdir(parents=True)
        (packages / loader[1:]).rename(packages / "usr" / loader[1:])
        shutil.rmtree(out)
        self.assertEqual(guest_programs.collect(packages, out), ["usr/sbin/hv_kvp_daemon"])
        self.assertTrue((out / loader[1:]).is_file())

    def test_manifest(self) -> None:
        manifest = json.loads((self.build() / "manifest.json").read_text())
        self.assertEqual(manifest["kernel_release"], "6.1-x")
        self.assertEqual(manifest["packages"], {"linux-image-6.1-x": "6.1-2", "busybox-static": "1:1.35=1"})
        self.assertEqual(
            manifest["files"]["vmlinuz"],
            {"size": 6, "sha256": hashlib.sha256(b"kernel").hexdigest()},
        )

    def test_a_kernel_compressed_for_size_is_taken_out_of_its_wrapping(self) -> None:
        elf = b"\x7fELF" + bytes(range(256)) * 9

        def wrapped(payload: bytes) -> bytes:
            head = bytearray(0x400)
            head[0x1F1] = 1
            head[0x202:0x208] = b"HdrS\x0f\x02"
            struct.pack_into("<II", head, 0x248, 0x30, len(payload))
            return bytes(head) + bytes(0x30) + payload + bytes(100)

        packed = lzma.compress(elf)
        size = struct.pack("<I", len(elf))
        (self.root / "kernel/boot/vmlinuz-6.1-x").write_bytes(wrapped(packed + size))
        out = self.build()
        self.assertEqual((out / "vmlinux").read_bytes(), elf)
        self.assertEqual(json.loads((out / "manifest.json").read_text())["files"]["vmlinux"]["size"], len(elf))
        # Compressed otherwise it stays as it is; what is no ELF file of that size is a mistake of ours.
        self.assertIsNone(initramfs.uncompressed_kernel(wrapped(b"\x02\x21\x4c\x18")))
        self.assertIsNone(initramfs.uncompressed_kernel(b"kernel"))
        for wrong in (packed + b"\0\0\0\0", lzma.compress(b"ELF?" + elf) + size):
            with self.assertRaisesRegex(initramfs.SetupError, "no ELF file"):
                initramfs.uncompressed_kernel(wrapped(wrong))

    def test_what_is_missing_is_named(self) -> None:
        (self.root / "kernel/lib/modules/6.1-x/kernel/drivers/hv_vmbus.ko").unlink()
        with self.assertRaisesRegex(initramfs.SetupError, "^the kernel package lacks the modules hv_vmbus$"):
            self.build()
        with self.assertRaisesRegex(initramfs.SetupError, "^the kernel package lacks the modules ata_piix, ext4, hv_vmbus, tulip$"):
            self.build("generic")
        (self.root / "kernel/boot/vmlinuz-6.1-x").unlink()
        with self.assertRaisesRegex(initramfs.SetupError, "exactly one kernel"):
            self.build()


def junit(*cases: tuple[str, str, str]) -> str:
    rows = "".join(
        f'<testcase name="{name}" classname="{name}" time="1.5" status="{status}"><system-out>{output}</system-out></testcase>'
        for name, status, output in cases
    )
    return f'<?xml version="1.0"?><testsuite name="x" tests="{len(cases)}">{rows}</testsuite>'


class Summary(unittest.TestCase):
    def test_closing_line_and_status(self) -> None:
        good = ("sim", "run", "[doctest] test cases: 12 | 12 passed")
        bad = ("cpu", "fail", "expected 1\ngot 2")
        skipped = ("tidy_format", "notrun", "layout is checked with clang-format 14")
        cases = [
            ((good,), 0, "", "1 passed, 0 failed", 0),
            ((good, good), 0, "", "2 passed, 0 failed", 0),
            ((good, bad), 8, "", "1 passed, 1 failed", 1),
            ((bad,), 0, "", "0 passed, 1 failed", 1),
            ((good, skipped), 0, "", "1 passed, 0 failed", 0),
            ((skipped,), 0, "", "0 passed, 0 failed", 1),
            ((good,), 8, "", "1 passed, 0 failed", 1),
            ((), 8, "", "0 passed, 0 failed", 1),
            ((), 8, "boil", "no test matches boil", 2),
        ]
        for tests, ctest_status, name_filter, closing, status in cases:
            with self.subTest(tests=tests, ctest_status=ctest_status):
                text, found = test_summary.summarize(junit(*tests), ctest_status, name_filter)
                self.assertEqual((text.splitlines()[-1], found), (closing, status))

    def test_report(self) -> None:
        bad = ("cpu", "fail", "expected 1\ngot 2")
        text, _ = test_summary.summarize(junit(("sim", "run", "test cases: 12 | 12 passed"), bad), 8, "")
        self.assertEqual(
            text,
            f"failed   {'cpu':32}     1.5 s\npassed   {'sim':32}     1.5 s  12 cases\n\n"
            "== cpu, end of its output:\n    expected 1\n    got 2\n\n1 passed, 1 failed",
        )

    def test_no_result_file_is_a_failure(self) -> None:
        for content in ("", "<testsuite"):
            self.assertEqual(test_summary.summarize(content, 1, "")[1], 1)


if __name__ == "__main__":
    unittest.main()
