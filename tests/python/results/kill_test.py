"""A sweep that is killed at random instants: nothing half-written, nothing lost but what was under way, and in the end
the bytes of an undisturbed sweep. And one that is interrupted: one line, and no point that lives on.

VERDIGRIS_KILLS sets how many kills; 100 take some minutes.
"""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import random
import signal
import subprocess
import time
from typing import Any

from sweeps import SweepCase, contents

KILLS = int(os.environ.get("VERDIGRIS_KILLS", "10"))
JOBS = 3
GRID = ["--over", "delay=1..4", "--over", "path=vf,synthetic", "--seeds", "1-2", "--jobs", str(JOBS)]


class Killed(SweepCase):
    def test_killed_at_random_instants(self) -> None:
        began = time.monotonic()
        self.assertEqual(self.run_command("sweep", "s.py", *GRID, "--out", "straight").returncode, 0)
        longest_s = (time.monotonic() - began) / 2
        straight = contents(self.folder / "straight")
        results = [name for name in straight if name.endswith("result.json")]
        draw = random.Random(20120904)
        done: dict[str, int] = {}
        kept = 0
        for _ in range(KILLS):
            folder = self.folder / "killed"
            process = self._start()
            time.sleep(draw.uniform(0.0, longest_s))
            # Either everything, or the sweep alone, whose points then do not outlive it.
            draw.choice([os.kill, os.killpg])(process.pid, signal.SIGKILL)
            process.wait()
            self._assert_whole(folder)
            now = self.noted()
            # What was done stays done, and is not run again; what is lost was under way.
            self.assertLessEqual(len(self.changed("killed")) - len(now), JOBS)
            self.assertEqual({name: now.get(name) for name in done}, done)
            kept += len(now.keys() - done.keys())
            done = now
            if len(done) == len(results):
                # It had come to its end: from the start again, so that later kills still meet work.
                done = {}
                subprocess.run(["rm", "-rf", str(folder)], check=True)
        self.assertGreater(kept, 0)
        last = self.run_command("sweep", "s.py", *GRID, "--out", "killed")
        self.assertEqual((last.returncode, last.stderr), (0, ""))
        self.assertEqual(contents(self.folder / "killed"), straight)

    def test_no_point_outlives_its_sweep(self) -> None:
        """Not even one that has just begun when the sweep alone is killed or interrupted."""
        slow = ["sweep", "s.py", "--over", "delay=1..3", "--set", "slow=60", "--jobs", "2", "--out", "killed"]
        for kill in [signal.SIGKILL, signal.SIGINT, signal.SIGTERM] * max(1, KILLS // 3):
            process = self.start(*slow, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
            self.wait_for(process, children.read_text)
            process.send_signal(kill)
            _, error = process.communicate(timeout=60)
            interrupted = (130, "verdigris: interrupted; 0 of 3 points are done, the same command goes on\n")
            self.assertEqual((process.returncode, error), (-kill, "") if kill == signal.SIGKILL else interrupted)
            self._assert_nobody_at_work()

    def _assert_nobody_at_work(self) -> None:
        """Running points hold the sweep's lock."""
        until = time.monotonic() + 10
        with open(self.folder / "killed/.sweep/lock", "rb") as lock:
            while True:
                try:
                    return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self.assertLess(time.monotonic(), until, "a point lives on")
                    time.sleep(0.01)

    def test_interrupted_at_random_instants(self) -> None:
        draw = random.Random(20120904)
        for _ in range(KILLS):
            process = self._start(stderr=subprocess.PIPE, text=True)
            # From when the package is there.
            self.wait_for(process, (self.folder / "killed/.sweep/lock").exists)
            time.sleep(draw.uniform(0.0, 0.5))
            draw.choice([os.kill, os.killpg])(process.pid, draw.choice([signal.SIGINT, signal.SIGTERM]))
            _, error = process.communicate(timeout=60)
            # With the work done it may end without a word, by the signal itself too.
            ended = "(0|-2|-15) |" if (self.folder / "killed/sweep.json").exists() else ""
            self.assertRegex(f"{process.returncode} {error}", rf"\A({ended}130 verdigris: interrupted(; \d+ of 16 points are done, the same command goes on)?\n)\Z")
            subprocess.run(["rm", "-rf", str(self.folder / "killed")], check=True)

    def noted(self) -> dict[str, int]:
        """When the results were written of the points whose end was noted."""
        when = self.changed("killed")
        markers = {path.name.removesuffix(".json"): json.loads(path.read_text()) for path in (self.folder / "killed/.sweep/points").glob("*.json")}
        return {name: when[name] for name, marker in markers.items() if "status" in marker}

    def _start(self, **options: Any) -> subprocess.Popen[Any]:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return self.start("sweep", "s.py", *GRID, "--out", "killed", start_new_session=True, **{**quiet, **options})

    def _assert_whole(self, folder: pathlib.Path) -> None:
        """Each file is whole, or its name says that it is not."""
        for path in folder.rglob("*"):
            if not path.is_file() or path.name.endswith(".partial"):
                continue
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".csv":
                self.assertTrue(path.read_text().endswith("\n"), path)
                self.assertTrue(path.read_text().startswith(("name,value,", "point,delay,", "delay,path,")), path)
