"""`compare`: what it finds between runs and between sweeps, the gate, and results that it cannot read."""

from __future__ import annotations

import json
import sys

from sweeps import SweepCase

CHOICES = "table, json" if sys.version_info >= (3, 13) else "'table', 'json'"  # Python's own words

# Result files that are none: what is in result.json, the end of the line.
DAMAGED = [
    ("", "is damaged at line 1 (Expecting value); repeat the run"),
    ('{"scenario": "s.py",', "is damaged at line 1 (Expecting property name enclosed in double quotes); repeat the run"),
    ("[]", "is damaged: the file is no object; repeat the run"),
    ("{}", "is damaged: the file has no scenario; repeat the run"),
    ("[" * 100_000, "is damaged: it is not JSON; repeat the run"),
    ("\ufeff", "is damaged: it is not JSON; repeat the run"),
]

# Part of the result, what stands there instead, the reason in the line.
UNSOUND = [
    (("seed",), True, "seed is bool, not int"),
    (("checks",), {}, "checks is no list"),
    (("checks", 0, "passed"), 1, "checks[0].passed is int, not bool"),
    (("stats", "scenario.requests"), {"value": 1, "unit": "x"}, "stats.scenario.requests has no description"),
    (("latency", "/rr", "count"), 21, "the buckets of latency./rr do not hold its requests"),
    (("latency", "/rr", "buckets"), [[1, 20, 0]], "the buckets of latency./rr do not hold its requests"),
    (("attribution",), {"/rr": {"unit": "ps", "count": 1, "total": 5, "causes": {"a": 4}}}, "the causes of attribution./rr do not sum to its total"),
    (("attribution",), {"/rr": {"unit": "ps", "count": 0, "total": 0, "causes": {}}}, "the causes of attribution./rr do not sum to its total"),
    (("cpu",), {"vf": {"window_ps": 9, "processors": {"lp0": {"idle": 8}}}}, "the causes of cpu.vf.lp0 do not sum to the window"),
    (("variants",), [1], "variants[0] is int, not str"),
]

WRONG = [
    ([], "the following arguments are required: DIR (./verdigris compare --help explains)"),
    (["a"], "compare takes two folders (./verdigris compare --help explains)"),
    (["a", "b", "c"], "compare takes two folders (./verdigris compare --help explains)"),
    (["--baseline", "a", "b", "c"], "compare takes --baseline BASE and one folder (./verdigris compare --help explains)"),
    (["a", "b", "--both-ways"], "--both-ways goes with --baseline"),
    (["a", "b", "--tolerance", "2%"], "--tolerance goes with --baseline"),
    (["--baseline", "a", "b", "--tolerance", "2"], "--tolerance: '2' has no unit; units are %"),
    (["a", "b", "--format", "xml"], f"argument --format: invalid choice: 'xml' (choose from {CHOICES}) (./verdigris compare --help explains)"),
    (["nope", "a"], "there is no folder nope"),
    (["a", "."], ". holds no result.json: it is no run's folder, or the run did not come to its end"),
    (["a", "sweep"], "a holds the results of a run, sweep those of a sweep"),
]

MEASURED = """\
latencies = [us * 10**6 for us in ({latencies})]
sim.measure.latency("rr", vg.Histogram(latencies), variant="vf")
sim.measure.throughput("rr", bytes={bytes}, count=len(latencies), window="1ms", variant="vf")
sim.measure.attribution("rr", count=len(latencies), total=sum(latencies), causes={{"wire": {wire}, "nic": sum(latencies) - {wire}}}, variant="vf")
sim.measure.cpu({{"host.lp0": {{"idle": 10**9 - {busy}, "root": {busy}}}}}, window="1ms", variant="vf")
sim.measure.drops("switch", {{"no room": {drops}}})
sim.check("good", {good})
"""
BEFORE = {"latencies": "10, 20, 30", "bytes": 10**6, "wire": 9 * 10**6, "busy": 10**8, "drops": 0, "good": "True"}

# name, what is otherwise, tolerance, beginnings of the lines of the gate; none: it lets it through
GATE = [
    ("the same", {}, [], []),
    ("slower", {"latencies": "10, 20, 31"}, [], ["latency.vf/rr.p90", "latency.vf/rr.p99", "latency.vf/rr.p99.9", "latency.vf/rr.p99.99", "latency.vf/rr.mean", "latency.vf/rr.max", "attribution.vf/rr.per_request"]),
    ("slower within the tolerance", {"latencies": "10, 20, 31"}, ["--tolerance", "4%"], []),
    ("faster", {"latencies": "10, 20, 29"}, [], []),
    ("less through", {"bytes": 990_000}, [], ["throughput.vf/rr.bits_per_second"]),
    ("less through, by exactly the tolerance", {"bytes": 990_000}, ["--tolerance", "1%"], []),
    ("less through, by more", {"bytes": 989_000}, ["--tolerance", "1%"], ["throughput.vf/rr.bits_per_second"]),
    ("busier", {"busy": 2 * 10**8}, ["--tolerance", "50%"], ["cpu.vf.busy"]),
    ("drops", {"drops": 1}, ["--tolerance", "50%"], ["drops.switch.no room"]),
    ("a check", {"good": "False"}, [], ["check good fails"]),
    ("another cause only", {"wire": 5 * 10**6}, [], []),
]  # fmt: skip


class Compare(SweepCase):
    def measured(self, folder: str, **other: object) -> None:
        """A run with these measurements."""
        self.run_main(MEASURED.format(**{**BEFORE, **other}), "--out", folder)

    def test_the_same(self) -> None:
        self.measured("a")
        self.measured("b")
        done = self.run_command("compare", "a", "b")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout, f"a: a\nb: b\ntrace hash: the same, {self.result('a')['trace_hash']}\nnothing differs\n")

    def test_what_differs(self) -> None:
        self.measured("a")
        self.measured("b", latencies="10, 20, 24", wire=6 * 10**6, good="False", bytes=1_100_000)
        done = self.run_command("compare", "a", "b")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        hashes = [self.result(folder)["trace_hash"] for folder in "ab"]
        source = [self.result(folder)["sources"]["s.py"] for folder in "ab"]
        self.assertEqual(
            done.stdout,
            f"""\
a: a
b: b
content of s.py: {source[0]} -> {source[1]}
trace hash: {hashes[0]} -> {hashes[1]}
check good: passed -> FAILED
latency: 6 of 9 differ
  latency.vf/rr.p90     30 us  ->  24 us  -20.0 %
  latency.vf/rr.p99     30 us  ->  24 us  -20.0 %
  latency.vf/rr.p99.9   30 us  ->  24 us  -20.0 %
  latency.vf/rr.p99.99  30 us  ->  24 us  -20.0 %
  latency.vf/rr.mean    20 us  ->  18 us  -10.0 %
  latency.vf/rr.max     30 us  ->  24 us  -20.0 %
throughput: 1 of 2 differ
  throughput.vf/rr.bits_per_second  8 Gb/s  ->  8.80 Gb/s  +10.0 %
attribution of vf/rr, a request: b saves 2.0 us against a: 1.0 us nic, 1.0 us wire
""",
        )
        found = json.loads(self.run_command("compare", "a", "b", "--format", "json").stdout)
        self.assertEqual(found["attribution"][0]["saved_ps"], 2 * 10**6)
        self.assertEqual(found["attribution"][0]["causes"], {"wire": 10**6, "nic": 10**6})
        self.assertEqual(found["groups"]["latency"][0], {"name": "latency.vf/rr.p90", "a": 30 * 10**6, "b": 24 * 10**6, "unit": "ps", "difference": -6 * 10**6})
        self.assertNotIn("regressions", found)

    def test_gate(self) -> None:
        self.measured("base")
        for name, other, options, lines in GATE:
            with self.subTest(name):
                self.measured("new", **other)
                done = self.run_command("compare", "--baseline", "base", "new", *options)
                self.assertEqual((done.returncode, done.stderr), (1 if lines else 0, ""))
                text = done.stdout.split("\n")[:-1]
                if lines:
                    found = [line.strip() for line in text[-len(lines) :]]
                    self.assertEqual([line.startswith(start) for line, start in zip(found, lines)], [True] * len(lines), found)
                    self.assertEqual(text[-len(lines) - 1], f"{len(lines)} figure{'s' if len(lines) > 1 else ''} regressed:")
                else:
                    self.assertEqual(text[-1], "nothing got worse")
                found = json.loads(self.run_command("compare", "--baseline", "base", "new", *options, "--format", "json").stdout)
                self.assertEqual(len(found["regressions"]), len(lines))
        self.run_main("pass", "--out", "new")
        done = self.run_command("compare", "--baseline", "base", "new")
        self.assertEqual(done.returncode, 1)
        self.assertIn("  check good is gone: passed -> -\n", done.stdout)
        self.assertIn("  throughput.vf/rr.bits_per_second is gone: 8 Gb/s -> -\n", done.stdout)

    def test_gate_both_ways(self) -> None:
        self.measured("base")
        self.measured("new", bytes=11 * 10**5)
        one, both = (self.run_command("compare", "--baseline", "base", "new", *options) for options in ([], ["--both-ways"]))
        self.assertEqual((one.returncode, both.returncode), (0, 1))
        self.assertTrue(both.stdout.endswith("1 figure moved:\n  throughput.vf/rr.bits_per_second got better: 8 Gb/s -> 8.80 Gb/s (+10.0 %)\n"), both.stdout)
        within = self.run_command("compare", "--baseline", "base", "new", "--both-ways", "--tolerance", "10%")
        self.assertEqual(within.returncode, 0)

    def test_wrong_use(self) -> None:
        self.run_command("run", "s.py", "--out", "a")
        self.run_command("run", "s.py", "--out", "b")
        self.run_command("sweep", "s.py", "--out", "sweep")
        for arguments, line in WRONG:
            with self.subTest(arguments):
                self.assert_one_line(self.run_command("compare", *arguments), line)
        (self.folder / "sweep/sweep.json").unlink()
        self.assert_one_line(self.run_command("compare", "sweep", "a"), "sweep: the sweep is not complete; go on with it first")

    def test_damaged(self) -> None:
        self.run_command("run", "s.py", "--out", "a")
        self.run_command("run", "s.py", "--out", "b")
        good = self.result("b")
        path = self.folder / "b/result.json"
        for content, line in DAMAGED:
            with self.subTest(content[:50]):
                path.write_text(content, encoding="utf-16" if content == "\ufeff" else "utf-8")
                self.assert_one_line(self.run_command("compare", "a", "b"), f"b/result.json {line}")
        for place, value, reason in UNSOUND:
            with self.subTest(reason):
                whole = json.loads(json.dumps(good))
                part = whole
                for step in place[:-1]:
                    part = part[step]
                part[place[-1]] = value
                path.write_text(json.dumps(whole))
                self.assert_one_line(self.run_command("compare", "a", "b"), f"b/result.json is damaged: {reason}; repeat the run")


class CompareSweeps(SweepCase):
    def sweep(self, folder: str, seeds: str, change: tuple[str, str] = ("", "")) -> None:
        """A sweep of the scenario, changed."""
        text = (self.folder / "s.py").read_text()
        (self.folder / "changed.py").write_text(text.replace(*change) if change[0] else text)
        self.run_command("sweep", "changed.py", "--over", "delay=10,20", "--seeds", seeds, "--out", folder)

    def test_significance(self) -> None:
        self.sweep("a", "1-5")
        self.sweep("same", "11-15")
        self.sweep("slower", "1-5", ("delay * 10**6 +", "delay * 10**6 + (delay == 20) * 10**6 +"))
        done = self.run_command("compare", "a", "same")
        self.assertEqual(done.returncode, 0)
        # Other seeds give other numbers, but no other means.
        self.assertIn("trace hashes: 0 of 0 common points have the same\n", done.stdout)
        found = json.loads(self.run_command("compare", "a", "slower", "--format", "json").stdout)
        self.assertEqual(found["hashes"], {"compared": 10, "same": 5})
        self.assertEqual([point["at"] for point in found["points"]], [{"delay": "10"}, {"delay": "20"}])
        self.assertEqual(found["points"][0]["groups"], {})
        means = {entry["name"]: entry for entry in found["points"][1]["groups"]["latency"]}
        self.assertEqual(round((means["latency./rr.mean"]["b"]["mean"] - means["latency./rr.mean"]["a"]["mean"]) / 10**6, 6), 1.0)
        self.assertLess(means["latency./rr.mean"]["p"], 0.001)

    def test_gate(self) -> None:
        self.sweep("a", "1-5")
        self.sweep("slower", "1-5", ("delay * 10**6 +", "delay * 10**6 + (delay == 20) * 10**6 +"))
        done = self.run_command("compare", "--baseline", "a", "slower")
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertRegex(done.stdout, r"\n  delay=20: latency\./rr\.mean got worse: 20\.\d us -> 21\.\d us \(\+4\.\d %\)\n")
        self.assertNotIn("  delay=10: ", done.stdout)
        self.assertEqual(self.run_command("compare", "--baseline", "a", "slower", "--tolerance", "6%").returncode, 0)
        self.assertEqual(self.run_command("compare", "--baseline", "slower", "a").returncode, 0)

    def test_single_seeds_are_compared_exactly(self) -> None:
        self.sweep("a", "1")
        self.sweep("b", "1", ("below(10**6)", "below(10**6) + 1"))
        done = self.run_command("compare", "--baseline", "a", "b")
        self.assertEqual(done.returncode, 1)
        self.assertIn("delay=10: latency./rr.mean got worse: 10.5 us -> 10.5 us (+0.0 %)", done.stdout)

    def test_points_of_one_side(self) -> None:
        self.sweep("a", "1")
        self.run_command("sweep", "s.py", "--over", "delay=20,99", "--out", "b")
        done = self.run_command("compare", "--baseline", "a", "b")
        self.assertEqual(done.returncode, 1)
        self.assertIn("\nscenario: changed.py -> s.py\n", done.stdout)
        self.assertIn("\nonly in a: delay=10\n", done.stdout)
        self.assertIn("\n  delay=10: the point is gone\n", done.stdout)
        self.assertIn("\n  delay=99,seed=1 s.py:21: ValueError: a delay that nobody can bear\n", done.stdout)
