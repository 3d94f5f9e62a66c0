"""Runs the executable under test. Its path is the first argument of the test program."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
arguments: list[str] = []


def tool(*command: str | pathlib.Path) -> str:
    """What an independent tool prints."""
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


def packets(capture: pathlib.Path, display_filter: str = "") -> int:
    """How many packets tshark finds in a capture, checksums looked at."""
    checks = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
    wanted = ["-Y", display_filter] if display_filter else []
    return len(tool("tshark", "-n", "-r", capture, *checks, *wanted, "-T", "fields", "-e", "frame.number").split())


class ExecutableCase(unittest.TestCase):
    """A test with an empty folder and a way to run the executable."""

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def run_scenario(self, scenario: pathlib.Path | str, *options: str, timeout: int = 550) -> subprocess.CompletedProcess[str]:
        """`verdigris run SCENARIO OPTION...` in the test's folder."""
        return subprocess.run(
            [arguments[0], "run", str(scenario), *options],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            env=dict(os.environ),
        )

    def result(self, folder: str = "out") -> dict:
        """The content of result.json."""
        return json.loads((self.folder / folder / "result.json").read_text(encoding="utf-8"))

    def assert_passed(self, done: subprocess.CompletedProcess[str]) -> None:
        """All checks passed; otherwise shows which did not."""
        failed = [line for line in done.stdout.split("\n") if line.startswith("FAILED")]
        self.assertEqual((failed, done.stderr, done.returncode), ([], "", 0))


def main() -> None:
    """Takes the test's own arguments off the command line, then runs the tests."""
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments.extend(sys.argv[1:split])
    unittest.main(argv=[sys.argv[0], *sys.argv[split + 1 :]], verbosity=2)
