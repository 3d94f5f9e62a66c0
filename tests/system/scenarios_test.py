"""The scenarios of the folder `scenarios`, and what they leave: EXECUTABLE."""

from __future__ import annotations

import csv

from executable import SOURCE, ExecutableCase, main

BOOT_CHECKS = 10  # of linux_checks.check_linux


class Scenarios(ExecutableCase):
    def test_boot_linux(self) -> None:
        done = self.run_scenario(SOURCE / "scenarios/boot_linux.py", "--out", "out")
        self.assert_passed(done)
        result = self.result()
        self.assertEqual(len(result["checks"]), BOOT_CHECKS)
        self.assertTrue(all(check["passed"] for check in result["checks"]))
        self.assertEqual((result["ended"], result["partitions"]["linux"]["state"]), ("finished", "powered_off"))
        self.assertEqual(done.stdout.rstrip("\n").split("\n")[-1], f"trace_hash={result['trace_hash']}")
        self.assertIn(b"verdigris: user space reached", (self.folder / "out/console-linux.txt").read_bytes())
        with open(self.folder / "out/stats.csv", newline="", encoding="utf-8") as file:
            rows = {row["name"]: row for row in csv.DictReader(file)}
        self.assertEqual({name: int(row["value"]) for name, row in rows.items()}, {n: s["value"] for n, s in result["stats"].items()})
        self.assertTrue(all(row["description"] and row["unit"] for row in rows.values()))

    def test_two_partitions(self) -> None:
        self.assert_passed(self.run_scenario(SOURCE / "scenarios/two_partitions.py", "--out", "out"))
        self.assertEqual(len(self.result()["checks"]), 2 * BOOT_CHECKS)


if __name__ == "__main__":
    main()
