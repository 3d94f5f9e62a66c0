"""The same scenario gives the same run, whatever surrounds it: EXECUTABLE FOLDER-OF-GUESTS [OTHER-EXECUTABLE...].

Compares trace hash, simulated time, statistics, checks and consoles. Other executables are other builds of the same
source; one that does not exist is skipped.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
from typing import Any

SOURCE = pathlib.Path(__file__).resolve().parents[2]
SCENARIO = SOURCE / "tests/determinism/short_boot.py"
TIMEOUT_S = 550

arguments = sys.argv[1:]


def run(
    folder: pathlib.Path, *options: str, executable: str = "", prefix: list[str] | None = None,
    scenario: pathlib.Path = SCENARIO, env: dict[str, str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Runs the scenario in a folder and gives all that must be the same."""
    command = [*(prefix or []), executable or arguments[0], "run", str(scenario), "--set", f"guests={arguments[1]}", "--out", "out", *options]
    done = subprocess.run(
        command, cwd=folder, env=env or dict(os.environ), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    result = json.loads((folder / "out/result.json").read_text(encoding="utf-8"))
    for part in ("wall_s", "scenario", "parameters"):
        del result[part]
    consoles = {path.name: path.read_bytes() for path in sorted((folder / "out").glob("console-*.txt"))}
    return {**result, "consoles": consoles}


class Determinism(unittest.TestCase):
    first: dict[str, Any]

    @classmethod
    def setUpClass(cls) -> None:
        with tempfile.TemporaryDirectory() as name:
            cls.first = run(pathlib.Path(name))

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def assert_same(self, other: dict[str, Any]) -> None:
        """Shows the first differences only: everything else is long."""
        different = [f"{key}: {self.first[key]!r:.300} and {other[key]!r:.300}" for key in self.first if self.first[key] != other[key]]
        self.assertEqual(different, [])

    def test_twice(self) -> None:
        self.assert_same(run(self.folder))

    def test_another_seed_is_another_run(self) -> None:
        self.assertNotEqual(run(self.folder, "--seed", "2")["trace_hash"], self.first["trace_hash"])

    def test_another_directory_and_environment(self) -> None:
        deep = self.folder / "a folder with spaces" / ("x" * 100)
        deep.mkdir(parents=True)
        shutil.copy(SCENARIO, deep)
        env = {
            "HOME": str(deep),
            "PATH": "/usr/bin:/bin",
            "LANG": "tr_TR.UTF-8",
            "LC_ALL": "de_DE.UTF-8",
            "TZ": "Asia/Kathmandu",
            "PYTHONHASHSEED": "77",
            "PYTHONPATH": str(deep),
            "MALLOC_PERTURB_": "165",
            "MALLOC_ARENA_MAX": "1",
            "PADDING": "y" * 50000,  # moves the stack
        }
        if images := os.environ.get("VERDIGRIS_IMAGES") or default_images():
            env["VERDIGRIS_IMAGES"] = images
        self.assert_same(run(deep, scenario=deep / SCENARIO.name, env=env))

    def test_without_address_randomization(self) -> None:
        prefix = ["setarch", "--addr-no-randomize"]
        if subprocess.run([*prefix, "true"], capture_output=True).returncode != 0:
            self.skipTest("this system does not allow setarch --addr-no-randomize")
        self.assert_same(run(self.folder, prefix=prefix))

    def test_with_trace(self) -> None:
        self.assert_same(run(self.folder, "--trace", "all"))
        self.assertGreater((self.folder / "out/trace.txt").stat().st_size, 0)

    def test_while_the_processors_are_busy(self) -> None:
        spin = [sys.executable, "-c", "while True: pass"]
        busy = [subprocess.Popen(spin) for _ in range(os.cpu_count() or 1)]
        try:
            self.assert_same(run(self.folder))
        finally:
            for process in busy:
                process.kill()
                process.wait()

    def test_other_builds(self) -> None:
        others = [path for path in arguments[2:] if pathlib.Path(path).resolve() != pathlib.Path(arguments[0]).resolve()]
        present = [path for path in others if pathlib.Path(path).exists()]
        if not present:
            self.skipTest(f"there is no other build: {', '.join(others)}")
        for path in present:
            with self.subTest(path):
                self.assert_same(run(self.folder, executable=path))


def default_images() -> str:
    """Where set-up keeps guest images, as the executable finds them."""
    cache = os.environ.get("VERDIGRIS_CACHE")
    if not cache:
        cache = (os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) + "/verdigris"
    return f"{cache}/guest"


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]], verbosity=2)
