"""Behavioural guests and what they measure: EXECUTABLE."""

from __future__ import annotations

import re

from executable import SOURCE, ExecutableCase, main

PATHS = ["emulated", "synthetic", "vf"]


class Paths(ExecutableCase):
    def test_three_paths(self) -> None:
        done = self.run_scenario(SOURCE / "scenarios/three_paths.py", "--set", "window=3ms", "--out", "out")
        self.assert_passed(done)
        result = self.result()
        self.assertEqual(result["variants"], PATHS)
        for path in PATHS:
            for name in ("requests to the wire", "requests to a neighbour"):
                with self.subTest(path=path, workload=name):
                    latency, where = result["latency"][f"{path}/{name}"], result["attribution"][f"{path}/{name}"]
                    self.assertGreater(latency["count"], 5)
                    self.assertEqual(where["count"], latency["count"])
                    self.assertEqual(where["total"], latency["sum"])
                    self.assertEqual(sum(where["causes"].values()), where["total"])
            cpu = result["cpu"][path]
            for causes in cpu["processors"].values():
                self.assertEqual(sum(causes.values()), cpu["window_ps"])
            # The stages that a way has, and those that it does not have.
            causes = result["attribution"][f"{path}/requests to the wire"]["causes"]
            self.assertEqual("root.emulation" in causes, path == "emulated")
            self.assertEqual("vmbus.signal" in causes, path == "synthetic")
            self.assertEqual("root.network" in causes, path != "vf")
        for row in ("request to the wire, median (us)", "stream to the wire (Gb/s)", "together"):
            self.assertRegex(done.stdout, re.escape(row) + r"( +[0-9.,]+){3}\n")
        again = self.run_scenario(SOURCE / "scenarios/three_paths.py", "--set", "window=3ms", "--out", "again")
        self.assertEqual(self.result("again")["trace_hash"], result["trace_hash"])
        self.assertEqual(again.stdout, done.stdout)


if __name__ == "__main__":
    main()
