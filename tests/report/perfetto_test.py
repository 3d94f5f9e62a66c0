#!/usr/bin/python3
"""`--trace perfetto` of a real machine: EXECUTABLE FOLDER-OF-GUESTS. The file is what Chrome's format demands, and its slices
are the processors' busy time to the picosecond."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
from decimal import Decimal

import chrome_trace

ROOT = pathlib.Path(__file__).resolve().parents[2]
arguments: list[str] = []


class Perfetto(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def run_guest(self, name: str, trace: str) -> list[dict]:
        """The events of a small guest's run."""
        options = ["--set", f"folder={arguments[1]}", "--set", f"names={name}", "--out", str(self.folder / "out"), "--trace", trace]
        done = subprocess.run([arguments[0], "run", str(ROOT / "tests/system/guest.py"), *options], capture_output=True, text=True, timeout=500)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return chrome_trace.read(self.folder / "out/trace.json")

    def test_slices_are_the_busy_time(self) -> None:
        events = self.run_guest("smp_start", "perfetto:turn,exit,partition")
        self.assertEqual(chrome_trace.complaints(events), [])
        stats = json.loads((self.folder / "out/result.json").read_text(encoding="utf-8"))["stats"]
        tracks = {(event["pid"], event["tid"]): event["args"]["name"] for event in events if event["name"] == "thread_name"}
        busy: dict[str, Decimal] = {}
        for event in events:
            if event["ph"] == "X":
                track = tracks[event["pid"], event["tid"]]
                busy[track] = busy.get(track, Decimal(0)) + event["dur"] * 10**6
        counted = {name.split(".")[-2]: entry["value"] for name, entry in stats.items() if name.startswith("host.hypervisor.lp") and name.endswith(".busy") and entry["value"]}
        self.assertEqual({name: int(value) for name, value in busy.items()}, counted)
        exits = sum(entry["value"] for name, entry in stats.items() if name.endswith(".exits"))
        ours = sum(entry["value"] for name, entry in stats.items() if name.endswith(".exits.host"))
        self.assertEqual(sum(event.get("cat") == "exit" for event in events), exits - ours)

    def test_all_kinds(self) -> None:
        self.assertEqual(chrome_trace.complaints(self.run_guest("hv_timers", "perfetto")), [])

    def test_the_check_finds_what_is_wrong(self) -> None:
        name = {"ph": "M", "pid": 1, "tid": 0, "ts": Decimal(0), "name": "process_name", "args": {"name": "p"}}
        track = {**name, "tid": 1, "name": "thread_name"}
        one = {"ph": "X", "pid": 1, "tid": 1, "ts": Decimal(1), "dur": Decimal(2), "name": "a", "cat": "c", "args": {}}
        cases = [
            ([name, track, one], 0),
            ([name, one], 1),
            ([name, track, one, {**one, "ts": Decimal(2)}], 1),
            ([name, track, one, {**one, "ts": Decimal(3)}], 0),
            ([name, track, {**one, "ph": "e", "id": "1", "dur": Decimal(0)}], 1),
            ([name, track, {**one, "ts": 1}], 1),
            ([{**one, "ph": "?"}], 1),
        ]
        for events, wrong in cases:
            with self.subTest(events=events):
                self.assertEqual(len(chrome_trace.complaints(events)), wrong)


if __name__ == "__main__":
    arguments = [str(pathlib.Path(argument).resolve()) for argument in sys.argv[1:3]]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
