"""A small scenario to sweep over, and what tests of sweeps share."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

from runs import ScenarioCase, why_not_into

# Latencies depend on parameters and seed; a delay above 60 us fails a check, one of 99 ends the scenario with an error.
SCENARIO = """\
import time
import verdigris as vg

delay = vg.parameter("delay", 10, "microseconds that a request takes, and a random one")
path = vg.parameter("path", "vf", "any text")
slow = vg.parameter("slow", 0.0, "seconds on the wall")
host = vg.Host(cores=2, memory="1GiB")


async def main(sim):
    time.sleep(slow)
    histogram = vg.Histogram()
    for _ in range(20):
        wait = delay * 10**6 + sim.random.below(10**6)
        await sim.after(wait)
        histogram.add(wait)
    sim.measure.latency("rr", histogram)
    sim.record("requests", 20)
    sim.check("fast enough", delay < 60, f"{delay} us")
    if delay == 99:
        raise ValueError("a delay that nobody can bear")
"""

GRID = ["--over", "delay=10..30+10", "--over", "path=vf,synthetic", "--seeds", "1-2"]
POINTS = [f"delay={delay},path={path},seed={seed}" for delay in (10, 20, 30) for path in ("vf", "synthetic") for seed in (1, 2)]


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    """All files below a folder of results, a sweep's own records too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class SweepCase(ScenarioCase):
    """A test in a folder with the scenario s.py."""

    def setUp(self) -> None:
        super().setUp()
        (self.folder / "s.py").write_text(SCENARIO)

    def wait_for(self, process: subprocess.Popen[Any], there: Callable[[], object]) -> None:
        """Waits until something is there, which the process brings within a minute."""
        until = time.monotonic() + 60
        while not there():
            self.assertIsNone(process.poll())
            self.assertLess(time.monotonic(), until)
            time.sleep(0.001)

    def changed(self, folder: str) -> dict[str, int]:
        """When the results of each point were written, to see which were written again."""
        return {path.parent.name: path.stat().st_mtime_ns for path in (self.folder / folder / "points").glob("*/result.json")}
