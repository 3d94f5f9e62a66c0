#!/usr/bin/python3
"""Tests of the launcher in a copy of the tree whose outside programs are stand-ins that write down how they were called."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
IS_DEBIAN = "\nID=debian\n" in pathlib.Path("/etc/os-release").read_text()

# Each stand-in logs its arguments, then behaves as this shell text says. $STATE is a folder that tests put marks into.
STAND_INS = {
    "id": 'cat "$STATE/uid"',
    "sudo": 'exit 1',
    "apt-get": '[ ! -e "$STATE/apt_fails" ] || { echo "E: no such package"; exit 100; }; '
    'case "$*" in *install*) rm -f "$STATE"/missing-*;; esac',
    "apt-cache": "exit 0",
    "dpkg-query": 'for last; do :; done; [ -e "$STATE/missing-$last" ] || echo "installed 1.0"',
    "cmake": 'mkdir -p "$2/build/$4"; touch "$2/build/$4/build.ninja"',
    "ninja": 'command -v mke2fs >"$STATE/mke2fs"; [ ! -e "$STATE/build_fails" ] || { echo "[1/2] compiling"; echo "a.cpp:1: error: no"; exit 1; }; '
    '[ -e "$2/verdigris" ] && { echo "ninja: no work to do."; exit 0; }; echo "[1/2] compiling"; echo "[2/2] linking"; '
    'printf \'#!/bin/sh\\necho "program: $*"; echo "images: $VERDIGRIS_IMAGES"; exit 5\\n\' >"$2/verdigris"; chmod +x "$2/verdigris"',
    "ctest": "exit 0",
}


class Launcher(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.base = pathlib.Path(folder.name).resolve()
        self.tree, self.state, self.cache = self.base / "a tree", self.base / "state", self.base / "cache"
        for path in (self.tree, self.state, self.base / "bin"):
            path.mkdir()
        shutil.copy(ROOT / "verdigris", self.tree)
        shutil.copy(ROOT / "CMakePresets.json", self.tree)
        shutil.copytree(ROOT / "setup", self.tree / "setup", ignore=shutil.ignore_patterns("__pycache__"))
        for name, behaviour in STAND_INS.items():
            script = self.base / "bin" / name
            script.write_text(f'#!/bin/bash\nprintf "%s\\n" "{name} $*" >>"$STATE/calls"\n{behaviour}\n')
            script.chmod(0o755)
        (self.state / "uid").write_text("0\n")
        # A Unicorn and guest images that are there already: fetching them needs the network.
        unicorn = self.cache / "unicorn-2.1.1/usr"
        (unicorn / "include/unicorn").mkdir(parents=True)
        (unicorn / "lib").mkdir()
        (unicorn / "lib/libunicorn.a").touch()
        parts = {"MAJOR": 2, "MINOR": 1, "PATCH": 1}
        header = "".join(f"#define UC_API_{part} {number}\n" for part, number in parts.items())
        (unicorn / "include/unicorn/unicorn.h").write_text(header)
        images = self.cache / "guest/linux"
        images.mkdir(parents=True)
        for name in ("vmlinuz", "initramfs.cpio", "root.img"):
            (images / name).write_text("x")
        (images / "manifest.json").write_text('{\n  "kernel_release": "6.1-x"\n}\n')
        recipe = ["fetch_guest_images.sh", "initramfs.py", "root_disk.py", "guest_programs.py", "guest/*"]
        command = f"cat {' '.join(recipe)} | sha256sum | cut -d' ' -f1"
        (images / "recipe").write_text(subprocess.check_output(command, shell=True, cwd=ROOT / "setup", text=True))

    def run_launcher(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        (self.state / "calls").write_text("")
        settings = {
            "PATH": f"{self.base / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.base),
            "STATE": str(self.state),
            "VERDIGRIS_CACHE": str(self.cache),
        }
        return subprocess.run(
            [self.tree / "verdigris", *arguments], capture_output=True, text=True, env={**settings, **environment}, cwd="/"
        )

    def calls(self, name: str) -> list[str]:
        lines = (self.state / "calls").read_text().splitlines()
        return [line.removeprefix(name + " ") for line in lines if line.split()[0] == name]

    def test_help_builds_nothing(self) -> None:
        for arguments in ([], ["--help"], ["-h"], ["help"]):
            result = self.run_launcher(*arguments)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertTrue(result.stdout.startswith("Verdigris: "), result.stdout)
        self.assertEqual((self.state / "calls").read_text(), "")
        self.assertFalse((self.tree / "build").exists())

    def test_wrong_use_is_one_line_and_status_2(self) -> None:
        cases = [
            (["boil"], "there is no command boil"),
            (["tset"], "there is no command tset; did you mean test?"),
            (["--preset", "fast", "run"], "there is no preset fast: release, dev, clang"),
            (["--preset"], "--preset needs a name"),
            (["doctor", "all"], "doctor takes no argument"),
            (["setup", "all"], "setup takes no argument"),
            (["test", "a", "b"], "test takes at most one NAME"),
            (["test", "--fast"], "test has no option --fast"),
        ]
        for arguments, message in cases:
            with self.subTest(arguments=arguments):
                result = self.run_launcher(*arguments)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertEqual(result.stderr, f"verdigris: {message} (./verdigris --help lists the commands)\n")
                self.assertEqual(result.stdout, "")
                self.assertEqual((self.calls("ninja"), self.calls("apt-get")), ([], []))

    @unittest.skipUnless(IS_DEBIAN, "set-up installs on Debian only")
    def test_first_use_installs_and_builds_and_the_second_does_neither(self) -> None:
        (self.state / "missing-ccache").touch()
        (self.state / "missing-clang").touch()  # a package of the tests
        result = self.run_launcher("run", "a b.py", "--set", "x=--preset")
        self.assertEqual(result.returncode, 5, result.stderr)
        self.assertEqual(result.stdout, f"program: run a b.py --set x=--preset\nimages: {self.cache}/guest\n")
        self.assertEqual(len(self.calls("apt-get")), 2)
        self.assertEqual(self.calls("apt-get")[0], "update")
        self.assertRegex(self.calls("apt-get")[1], "^install -y .*--no-install-recommends ccache$")
        said = result.stderr.splitlines()
        self.assertIn("verdigris: installing with apt-get: ccache", said)
        self.assertIn("verdigris: configuring release with CMake", said)
        # The system's Unicorn comes before the cache's.
        self.assertRegex(self.calls("cmake")[0], rf" -DVG_UNICORN_PREFIX=(/usr(/local)?|{self.cache}/unicorn-2\.1\.1/usr)$")
        self.assertTrue(self.calls("ninja")[0].endswith(" verdigris"), self.calls("ninja"))

        result = self.run_launcher("run", "a.py")
        self.assertEqual((result.returncode, result.stderr), (5, ""))
        self.assertEqual((self.calls("apt-get"), self.calls("cmake"), len(self.calls("ninja"))), ([], [], 1))

        # A changed preset file is configured again.
        (self.tree / "CMakePresets.json").write_text("{}\n")
        self.run_launcher("run", "a.py")
        self.assertEqual(len(self.calls("cmake")), 1)

    @unittest.skipUnless(IS_DEBIAN, "elsewhere it may be anywhere")
    def test_an_ordinary_user_has_the_tools_that_are_on_roots_path_only(self) -> None:
        self.run_launcher("run", "a.py")
        self.assertRegex((self.state / "mke2fs").read_text(), "^(/usr)?/sbin/mke2fs\n$")

    def test_preset(self) -> None:
        for arguments, settings in [(["--preset", "dev", "run"], {}), (["run", "--preset=dev"], {}), (["run"], {"VERDIGRIS_PRESET": "dev"})]:
            shutil.rmtree(self.tree / "build", ignore_errors=True)
            result = self.run_launcher(*arguments, **settings)
            self.assertEqual(result.stdout.splitlines()[0], "program: run")
            self.assertTrue((self.tree / "build/dev/verdigris").exists())
            self.assertFalse((self.tree / "build/release").exists())

    def test_failures_show_the_end_of_the_log(self) -> None:
        (self.state / "build_fails").touch()
        result = self.run_launcher("run", "a.py")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("    a.cpp:1: error: no\n", result.stderr)
        self.assertIn(f"verdigris: whole log: {self.tree}/build/setup.log\n", result.stderr)

    @unittest.skipUnless(IS_DEBIAN, "set-up installs on Debian only")
    def test_packages_that_cannot_be_installed(self) -> None:
        (self.state / "missing-cmake").touch()
        (self.state / "missing-ccache").touch()
        (self.state / "apt_fails").touch()
        result = self.run_launcher("run", "a.py")
        self.assertEqual(result.returncode, 1)
        self.assertIn("    E: no such package\n", result.stderr)
        last = "verdigris: packages could not be installed; as root: apt-get install cmake ccache"
        self.assertEqual(result.stderr.splitlines()[-1], last)
        # Without root, through sudo, which refuses here.
        (self.state / "uid").write_text("1000\n")
        result = self.run_launcher("run", "a.py")
        self.assertEqual((result.returncode, result.stderr.splitlines()[-1]), (1, last))
        self.assertEqual((self.calls("apt-get"), self.calls("sudo")[0]), ([], "-n -- apt-get update"))
        # The failed attempt is not remembered as done.
        (self.state / "uid").write_text("0\n")
        (self.state / "apt_fails").unlink()
        self.assertEqual(self.run_launcher("run", "a.py").returncode, 5)

    @unittest.skipUnless(IS_DEBIAN, "asks for Debian packages")
    def test_doctor(self) -> None:
        result = self.run_launcher("doctor")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertRegex(result.stdout, r"(?m)^cmake +1\.0 +build description$")
        self.assertRegex(result.stdout, r"(?m)^Unicorn +2\.\d+\.\d+ +processor engine, in /")
        self.assertRegex(result.stdout, r"(?m)^Linux guest +6\.1-x +in /")
        (self.state / "missing-cmake").touch()
        shutil.rmtree(self.cache / "guest")
        result = self.run_launcher("doctor")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stdout, r"(?m)^cmake +missing +build description; ./verdigris setup installs it$")
        self.assertRegex(result.stdout, r"(?m)^Linux guest +missing +kernel and user space")
        self.assertEqual(self.calls("ninja") + self.calls("apt-get"), [])

    def test_a_test_run_that_ran_nothing_fails(self) -> None:
        result = self.run_launcher("test")
        self.assertEqual((result.returncode, result.stdout), (1, "no test ran\n0 passed, 0 failed\n"))
        self.assertTrue(self.calls("ninja")[0].endswith(" all"), self.calls("ninja"))

    @unittest.skipUnless(IS_DEBIAN, "set-up installs on Debian only")
    def test_a_campaign_builds_its_target_only(self) -> None:
        fuzz = self.tree / "tests/fuzz"
        fuzz.mkdir(parents=True)
        for name in ("vmbus_ring", "vmbus_bus"):
            (fuzz / f"fuzz_{name}.cpp").touch()
        result = self.run_launcher("fuzz", "vmbus_web")
        self.assertEqual(
            (result.returncode, result.stderr),
            (2, "verdigris: fuzz: there is no target vmbus_web: vmbus_bus, vmbus_ring\n"),
        )
        self.assertEqual(self.calls("ninja"), [])
        target = self.tree / "build/fuzz/tests/fuzz/fuzz_vmbus_ring"
        target.parent.mkdir(parents=True)
        target.write_text(
            "#!/bin/sh\necho '#9 DONE cov: 7 ft: 8 corp: 3/1b'\necho 'stat::number_of_executed_units: 9'\n"
            "echo 'stat::peak_rss_mb: 5'\n"
        )
        target.chmod(0o755)
        result = self.run_launcher("fuzz", "vmbus_ring", "--runs", "9")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"^vmbus_ring +9 inputs +[\d.]+ s \([\d.]+ of a processor\) +7 edges +3 kept +5 MiB +ok\n$")
        self.assertTrue(self.calls("ninja")[0].endswith(" fuzz_vmbus_ring"), self.calls("ninja"))


if __name__ == "__main__":
    unittest.main()
