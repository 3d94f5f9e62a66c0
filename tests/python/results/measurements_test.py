"""What a scenario measures: what is refused, what result.json gets, what the terminal shows."""

from __future__ import annotations

import unittest

from sweeps import ScenarioCase
from verdigris import UserError
from verdigris.histogram import Histogram, highest_equivalent, percentiles
from verdigris.measured_tables import differences, measured_lines, sentence
from verdigris.measurements import Measurements

GOOD = (3, 10, 40, 70, [(10, 1), (20, 1), (40, 1)])

# name, call on a Measurements, line
WRONG = [
    ("no tuple", lambda m: m.latency("rr", 5), "measure.latency /rr: a histogram is (count, min, max, sum, buckets)"),
    ("no request", lambda m: m.latency("rr", (0, 0, 0, 0, [])), "measure.latency /rr: it holds no request"),
    ("another count", lambda m: m.latency("rr", (4, *GOOD[1:])), "measure.latency /rr: its buckets do not hold 4 requests"),
    ("not ascending", lambda m: m.latency("rr", (3, 10, 40, 70, [(20, 1), (10, 1), (40, 1)])), "measure.latency /rr: its buckets do not ascend"),
    ("impossible sum", lambda m: m.latency("rr", (3, 10, 40, 130, GOOD[4])), "measure.latency /rr: its sum 130 does not fit minimum and maximum"),
    ("maximum outside", lambda m: m.latency("rr", (3, 10, 41, 70, GOOD[4])), "measure.latency /rr: its minimum or maximum is outside"),
    ("a float", lambda m: m.latency("rr", (3, 10.0, 40, 70, GOOD[4])), "measure.latency /rr: 10.0 is not a whole number from 0 on"),
    ("twice", lambda m: (m.latency("rr", GOOD), m.latency("rr", GOOD)), "measure.latency /rr: it is measured already"),
    ("a variant's name", lambda m: m.latency("rr", GOOD, variant="a/b"), "measure.latency: 'a/b' is not a variant's name; it is a text without /"),
    ("no workload", lambda m: m.latency("", GOOD), "measure.latency: '' is not a workload's name"),
    ("no window", lambda m: m.throughput("x", bytes=1, count=1, window=0), "measure.throughput /x: it has no length"),
    ("bytes below zero", lambda m: m.throughput("x", bytes=-1, count=1, window=1), "measure.throughput /x: bytes: -1 is not a whole number from 0 on"),
    ("time missing", lambda m: m.cpu({"lp0": {"idle": 9}}, window=10), "measure.cpu: the causes of lp0 are 9 ps together, the window 10 ps"),
    ("time too much", lambda m: m.cpu({"lp0": {"idle": 10}, "lp1": {"idle": 9, "x": 2}}, window=10, variant="vf"), "measure.cpu vf: the causes of lp1 are 11 ps together, the window 10 ps"),
    ("a cause below zero", lambda m: m.cpu({"lp0": {"idle": 11, "x": -1}}, window=10), "measure.cpu: lp0: x: -1 is not a whole number from 0 on"),
    ("attribution short", lambda m: m.attribution("rr", count=1, total=5, causes={"nic": 4}), "measure.attribution /rr: the causes are 4 ps together, the total is 5 ps"),
    ("attribution of nothing", lambda m: m.attribution("rr", count=0, total=0, causes={}), "measure.attribution /rr: count: 0 is not a whole number from 1 on"),
    ("no name", lambda m: m.drops("switch", {"": 1}), "measure.drops switch: '' is not a name"),
    ("truth is no number", lambda m: m.drops("switch", {"x": True}), "measure.drops switch: x: True is not a whole number from 0 on"),
    ("a step of nothing", lambda m: m.timeline("x", [1], step=0), "measure.timeline x: step: it has no length"),
    ("an edge to nowhere", lambda m: m.machine([{"id": "a", "kind": "k", "label": "l"}], [{"from": "a", "to": "b", "label": ""}]), "measure.machine: there is no node b"),
    ("half a node", lambda m: m.machine([{"id": "a"}], []), "measure.machine: {'id': 'a'} is no node: texts id, kind, label"),
]  # fmt: skip

MEASURES = """\
for variant, us in (("emulated", 180), ("vf", 49)):
    histogram = vg.Histogram([us * 10**6, (us + 1) * 10**6])
    sim.measure.latency("rr", histogram, variant=variant)
    sim.measure.throughput("bulk", bytes=10**6, count=700, window="1ms", variant=variant)
    sim.measure.cpu({"host.lp0": {"idle": 10**9 - us * 10**6, "root.network": us * 10**6}}, window="1ms", variant=variant)
    total = 2 * us * 10**6 + 10**6
    sim.measure.attribution("rr", count=2, total=total, causes={"wire": 20 * 10**6, "vmbus.signal": total - 20 * 10**6}, variant=variant)
sim.measure.drops("switch", {"no room": 3})
"""

TABLE = """\
workload  path           p50     p99  throughput  requests/s  CPU ns/B
rr        emulated  180.1 us  181 us           -           -         -
rr        vf         49.0 us   50 us           -           -         -
bulk      emulated         -       -      8 Gb/s      700000     0.180
bulk      vf               -       -      8 Gb/s      700000     0.049
rr: vf saves 131.0 us against emulated: 131.0 us vmbus.signal
"""


class Measured(ScenarioCase):
    def test_wrong(self) -> None:
        for name, call, line in WRONG:
            with self.subTest(name), self.assertRaises(UserError) as raised:
                call(Measurements())
            self.assertEqual(str(raised.exception), line)

    def test_latency(self) -> None:
        measurements = Measurements()
        measurements.latency("rr", GOOD, variant="vf")
        self.assertEqual(
            measurements.as_result(),
            {
                "variants": ["vf"],
                "latency": {
                    "vf/rr": {
                        "unit": "ps", "count": 3, "min": 10, "max": 40, "mean": 23, "sum": 70,
                        "percentiles": {"50": 20, "90": 40, "99": 40, "99.9": 40, "99.99": 40},
                        "buckets": [[10, 1], [20, 1], [40, 1]],
                    }
                },
            },
        )  # fmt: skip

    def test_the_rest(self) -> None:
        measurements = Measurements()
        measurements.throughput("bulk", bytes=1_500_000, count=1000, window="1ms")
        measurements.timeline("vf", (5, 6), step="1ms", start="2ms")
        measurements.machine([{"id": "a", "kind": "nic", "label": "A"}], [])
        self.assertEqual(
            measurements.as_result(),
            {
                "throughput": {"/bulk": {"bits_per_second": 12 * 10**9, "per_second": 10**6, "bytes": 1_500_000, "count": 1000, "window_ps": 10**9}},
                "timeline": {"vf": {"unit": "bit/s", "step_ps": 10**9, "start_ps": 2 * 10**9, "values": [5, 6]}},
                "machine": {"nodes": [{"id": "a", "kind": "nic", "label": "A"}], "edges": []},
            },
        )
        self.assertEqual(Measurements().as_result(), {})

    def test_order_of_variants(self) -> None:
        measurements = Measurements()
        measurements.drops("x", {})
        measurements.latency("rr", GOOD, variant="vf")
        measurements.variants("emulated", "vf")
        self.assertEqual(measurements.as_result()["variants"], ["emulated", "vf"])

    def test_run(self) -> None:
        done = self.run_main(MEASURES, "--out", "out")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue(done.stdout.startswith(TABLE), done.stdout)
        result = self.result()
        self.assertEqual(result["variants"], ["emulated", "vf"])
        self.assertEqual(list(result)[-6:], ["variants", "latency", "throughput", "cpu", "attribution", "drops"])
        done = self.run_main('sim.measure.cpu({"lp0": {"idle": 9}}, window=10)')
        self.assert_one_line(done, "s.py:5: measure.cpu: the causes of lp0 are 9 ps together, the window 10 ps")


class Sentences(unittest.TestCase):
    def test_parts_sum_to_the_whole_as_shown(self) -> None:
        before = {"count": 3, "total": 400_000_000, "causes": {"a": 133_333_333, "b": 133_333_333, "c": 133_333_334}}
        after = {"count": 7, "total": 70_000_000, "causes": {"a": 0, "b": 60_000_000, "d": 10_000_000}}
        for unit in (1, 100_000):
            whole, parts = differences(before, after, unit)
            self.assertEqual(sum(parts.values()), whole)
        # 133.333 us against 10 us.
        self.assertEqual(sentence("x", before, "y", after), "y saves 123.3 us against x: 44.4 us a, 44.4 us c, 35.9 us b, -1.4 us d")
        self.assertEqual(sentence("y", after, "x", before), "x costs 123.3 us more than y: 44.4 us a, 44.4 us c, 35.9 us b, -1.4 us d")
        self.assertEqual(sentence("x", before, "y", before), "y saves 0.0 us against x")

    def test_cost_of_a_byte(self) -> None:
        """Only of workloads that the processors' time is known to be of."""
        for workloads, costs in ((["a"], ["0.005", "-"]), (["a", "b"], ["0.004", "0.004"]), ([], ["-", "-"]), (["nope"], ["-", "-"])):
            measurements = Measurements()
            for name, size in (("a", 1000), ("b", 250)):
                measurements.throughput(name, bytes=size, count=1, window=10_000, variant="vf")
            measurements.cpu({"lp0": {"idle": 5000, "root": 5000}}, window=10_000, variant="vf", workloads=workloads)
            self.assertEqual([line.split()[-1] for line in measured_lines(measurements.as_result())[1:]], costs)

    def test_one_way_only(self) -> None:
        measurements = Measurements()
        self.assertEqual(measured_lines(measurements.as_result()), [])
        measurements.latency("rr", (1, 7, 7, 7, [(7, 1)]))
        measurements.cpu({"lp0": {"idle": 10}}, window=10)
        self.assertEqual(
            measured_lines(measurements.as_result()),
            ["workload   p50   p99  throughput  requests/s  CPU ns/B", "rr        7 ps  7 ps           -           -         -"],
        )


class Histograms(unittest.TestCase):
    def test_buckets(self) -> None:
        for value, upper in [(0, 0), (2047, 2047), (2048, 2049), (2049, 2049), (4095, 4095), (4096, 4099), (10**12, 10**12 + 191_999_999)]:
            width = highest_equivalent(value)
            self.assertEqual(width, upper) if value < 5000 else self.assertLess(width - value, value // 1000)
            self.assertEqual(highest_equivalent(width), width)
            self.assertEqual(highest_equivalent(width + 1) > width, True)

    def test_tuple(self) -> None:
        histogram = Histogram([5, 3, 5])
        histogram.add(2049, 2)
        self.assertEqual(histogram.as_tuple(), (5, 3, 2049, 4111, [(3, 1), (5, 2), (2049, 2)]))
        for value, count in ((-1, 1), (1, 0)):
            with self.assertRaises(ValueError):
                histogram.add(value, count)

    def test_nearest_rank(self) -> None:
        hundred = [(value, 1) for value in range(1, 101)]
        self.assertEqual(percentiles(100, 100, hundred), {"50": 50, "90": 90, "99": 99, "99.9": 100, "99.99": 100})
        ten_thousand = [(value, 1) for value in range(1, 10_001)]
        self.assertEqual(percentiles(10_000, 10_000, ten_thousand), {"50": 5000, "90": 9000, "99": 9900, "99.9": 9990, "99.99": 9999})
        self.assertEqual(percentiles(1, 7, [(9, 1)])["99.99"], 7)
