"""`vg.load`: in the executable and in a plain Python, with pandas and without."""

from __future__ import annotations

import os
import pathlib
import subprocess

import verdigris
from sweeps import GRID, SweepCase

PACKAGE = pathlib.Path(verdigris.__file__).resolve().parents[1]
PYTHON = "/usr/bin/python3"

MEASURES = """\
sim.measure.latency("rr", vg.Histogram([10, 20, 3000]), variant="vf")
sim.measure.throughput("rr", bytes=1000, count=2, window="1us", variant="vf")
sim.measure.cpu({"host.lp0": {"idle": 250, "root": 750}}, window=1000, variant="vf")
sim.measure.attribution("rr", count=3, total=3030, causes={"nic": 30, "wire": 3000}, variant="vf")
sim.measure.timeline("vf", [5, 6], step=10, start=100)
sim.measure.drops("switch", {"no room": 3})
sim.check("good", True, "very")
sim.record("n", 7, "us", "a figure")
"""

# NumPy 2 shows a number of its own as np.int64(1), NumPy 1 as 1.
PLAIN = """\
def plain(x):
    return [plain(y) for y in x] if isinstance(x, list) else x.item() if hasattr(x, "item") else x
"""

# An expression on the loaded results, and what it gives.
EXPRESSIONS = [
    ("r.latency.to_dict('records')", "[{'variant': 'vf', 'workload': 'rr', 'count': 3, 'min': 10, 'max': 3000, 'mean': 1010, 'sum': 3030, 'p50': 20, 'p90': 3000, 'p99': 3000, 'p99.9': 3000, 'p99.99': 3000}]"),
    ("r.histogram[['upper_ps', 'count']].values.tolist()", "[[10, 1], [20, 1], [3001, 1]]"),
    ("r.histogram.cumulative.iloc[-1]", "1.0"),
    ("r.throughput.bits_per_second.tolist()", "[8000000000]"),
    ("r.cpu[['processor', 'cause', 'ps', 'share']].values.tolist()", "[['host.lp0', 'idle', 250, 0.25], ['host.lp0', 'root', 750, 0.75]]"),
    ("r.attribution[['cause', 'ps', 'per_request_ps']].values.tolist()", "[['nic', 30, 10.0], ['wire', 3000, 1000.0]]"),
    ("r.timeline[['series', 'time_ps', 'value']].values.tolist()", "[['vf', 100, 5], ['vf', 110, 6]]"),
    ("r.summary.set_index('metric').loc['latency.vf/rr.p50', ['seeds', 'mean', 'min', 'unit']].tolist()", "[1, 20.0, 20, 'ps']"),
    ("r.summary.ci95_low.isna().all()", "True"),
    ("r.drops.values.tolist()", "[['switch', 'no room', 3]]"),
    ("r.checks.values.tolist()", "[['good', True, 'very']]"),
    ("r.stats.set_index('name').loc['scenario.n'].tolist()", "[7, 'us', 'a figure']"),
    ("r.runs[['seed', 'ended', 'checks', 'failed_checks']].values.tolist()", "[[1, 'finished', 1, 0]]"),
    ("r.results[0]['seed'], r", "1 <results of a run in out>"),
]  # fmt: skip


def pandas_is_here() -> bool:
    return subprocess.run([PYTHON, "-I", "-c", "import pandas"], capture_output=True).returncode == 0


class Load(SweepCase):
    def plain(self, code: str, isolated: bool = False) -> subprocess.CompletedProcess[str]:
        """A plain Python with the package; `isolated`: without the distribution's packages."""
        options = ["-S"] if isolated else []
        environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(PACKAGE)}
        return subprocess.run([PYTHON, "-B", *options, "-c", code], cwd=self.folder, capture_output=True, text=True, env=environment)

    def test_a_run(self) -> None:
        if not pandas_is_here():
            self.skipTest("Debian's python3-pandas is not installed")
        self.run_main(MEASURES, "--out", "out")
        lines = "".join(f"print(*map(plain, ({expression},)))\n" for expression, _ in EXPRESSIONS)
        done = self.plain(f"import verdigris as vg\nr = vg.load('out')\n{PLAIN}{lines}")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout.split("\n")[:-1], [value for _, value in EXPRESSIONS])

    def test_a_sweep(self) -> None:
        if not pandas_is_here():
            self.skipTest("Debian's python3-pandas is not installed")
        self.run_command("sweep", "s.py", *GRID, "--out", "out")
        code = (
            "import verdigris as vg\nr = vg.load('out')\n"
            "print(r)\n"
            "print(list(r.latency.columns[:6]), len(r.latency))\n"
            "print(r.latency.groupby(['delay', 'path']).seed.count().tolist())\n"
            "print(r.summary[r.summary.metric == 'checks.passed'].seeds.tolist(), list(r.timeline.columns))\n"
            "print(r.stats[r.stats.name == 'scenario.requests'].value.sum(), r.sweep['seeds'])\n"
        )
        done = self.plain(code)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(
            done.stdout,
            "<results of a sweep of 12 points in out>\n['point', 'delay', 'path', 'seed', 'variant', 'workload'] 12\n[2, 2, 2, 2, 2, 2]\n[2, 2, 2, 2, 2, 2] ['point', 'delay', 'path', 'seed', 'series', 'time_ps', 'value', 'unit']\n240 [1, 2]\n",
        )

    def test_in_a_scenario(self) -> None:
        """The embedded interpreter finds the distribution's pandas too."""
        if not pandas_is_here():
            self.skipTest("Debian's python3-pandas is not installed")
        self.run_main(MEASURES, "--out", "out")
        done = self.run_main("print(vg.load('out').latency.p50.tolist())")
        self.assertEqual((done.stdout.split("\n")[0], done.stderr), ("[20]", ""))

    def test_without_pandas(self) -> None:
        self.run_main(MEASURES, "--out", "out")
        code = "import verdigris as vg\nr = vg.load('out')\nprint(r.results[0]['variants'])\ntry:\n    r.latency\nexcept vg.UserError as error:\n    print(error)"
        done = self.plain(code, isolated=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout, "['vf']\nvg.load needs pandas for its tables, and /usr/bin/python3 has none: install Debian's python3-pandas, and use /usr/bin/python3, whose package it is\n")

    def test_wrong(self) -> None:
        self.run_command("run", "s.py", "--out", "out")
        (self.folder / "out/result.json").write_text("{")
        for folder, line in (
            ("nope", "there is no folder nope"),
            (".", ". holds no result.json: it is no run's folder, or the run did not come to its end"),
            ("out", "out/result.json is damaged at line 1 (Expecting property name enclosed in double quotes); repeat the run"),
        ):
            done = self.plain(f"import verdigris as vg\ntry:\n    vg.load({folder!r})\nexcept vg.UserError as error:\n    print(error)")
            self.assertEqual((done.stdout, done.stderr), (f"{line}\n", ""))

    def test_what_a_plain_python_has_not(self) -> None:
        done = self.plain("import verdigris as vg\ntry:\n    vg.Host()\nexcept AttributeError as error:\n    print(error)\nprint(hasattr(vg, 'nope'))")
        self.assertEqual(done.stdout, "verdigris.Host is there in a scenario only: ./verdigris run SCENARIO.py\nFalse\n")
