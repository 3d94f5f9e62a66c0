"""The same with disk, network and virtual functions under way, and checkpoints amid that: EXECUTABLE."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
from typing import Any

from determinism_test import SOURCE, TIMEOUT_S, arguments


class Traffic(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def run_plain(self, name: str, *options: str) -> dict[str, Any]:
        """Runs a scenario that knows nothing of the small guests."""
        scenario = SOURCE / name
        command = [arguments[0], "run", str(scenario), "--out", "out", *options]
        done = subprocess.run(command, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S)
        self.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr[-2000:])
        result = json.loads((self.folder / "out/result.json").read_text(encoding="utf-8"))
        return {part: result[part] for part in ("trace_hash", "sim_time_ps", "stats", "checks")}

    def test_twice_and_with_captures(self) -> None:
        first = self.run_plain("scenarios/linux_vmbus.py", "--set", "megabytes=2")
        second = self.run_plain("scenarios/linux_vmbus.py", "--set", "megabytes=2", "--trace", "pcap")
        self.assertEqual(first, second)

    def test_checkpoint_with_virtual_functions(self) -> None:
        self.run_plain("tests/determinism/checkpoint_sriov.py")

    def test_checkpoint_in_the_middle(self) -> None:
        self.run_plain("tests/determinism/checkpoint.py")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]], verbosity=2)
