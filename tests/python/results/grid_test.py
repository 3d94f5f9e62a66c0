"""What --over and --seeds mean, and what is refused."""

from __future__ import annotations

import unittest

from verdigris import UserError
from verdigris.grid import Point, expand, parse_over, parse_seeds, points_of

RANGES = [
    ("1..4", ["1", "2", "3", "4"]),
    ("-2..1", ["-2", "-1", "0", "1"]),
    ("7..7", ["7"]),
    ("10%..50%+20%", ["10%", "30%", "50%"]),
    ("10..50%+20", ["10%", "30%", "50%"]),
    ("64..1000*2", ["64", "128", "256", "512"]),
    ("0.1us..0.4us+0.1us", ["0.1us", "0.2us", "0.3us", "0.4us"]),
    ("1Gb/s..3Gb/s", ["1Gb/s", "2Gb/s", "3Gb/s"]),
    (f"{10**40}..{10**40 + 1}", [str(10**40), str(10**40 + 1)]),
    (f"0..0.{'0' * 30}2+0.{'0' * 30}1", ["0", f"0.{'0' * 30}1", f"0.{'0' * 30}2"]),
    ("100..300+100", ["100", "200", "300"]),
    ("10%", ["10%"]),
    ("../x", ["../x"]),
    ("a..b", ["a..b"]),
]

# Arguments of a function, and the line.
WRONG = [
    (lambda: expand("4..1", "--over n"), "--over n: 4..1: a range goes upwards: FIRST..LAST, FIRST..LAST+STEP or FIRST..LAST*FACTOR"),
    (lambda: expand("1..4+0", "--over n"), "--over n: 1..4+0: a range goes upwards: FIRST..LAST, FIRST..LAST+STEP or FIRST..LAST*FACTOR"),
    (lambda: expand("0..4*2", "--over n"), "--over n: 0..4*2: a range goes upwards: FIRST..LAST, FIRST..LAST+STEP or FIRST..LAST*FACTOR"),
    (lambda: expand("1us..4ms", "--over n"), "--over n: 1us..4ms: the units differ"),
    (lambda: expand("1..9999999", "--over n"), "--over n: 1..9999999: these are more than 100000 values"),
    (lambda: parse_over(["n"]), "--over n: write it as NAME=V1,V2,... or NAME=FIRST..LAST"),
    (lambda: parse_over(["n="]), "--over n=: write it as NAME=V1,V2,... or NAME=FIRST..LAST"),
    (lambda: parse_over(["n=1,,2"]), "--over n=1,,2: there is an empty value"),
    (lambda: parse_over(["n=1", "n=2"]), "--over n is given twice"),
    (lambda: parse_over(["n=1,1..3"]), "--over n: 1 is there twice"),
    (lambda: parse_over(["seed=1,2"]), "--over seed: the seeds of a sweep are named with --seeds"),
    (lambda: parse_over(["unit=1,2"]), "--over unit: a column of results.csv has this name; give the parameter another"),
    (lambda: parse_over(["max=1,2"]), "--over max: a column of summary.csv has this name; give the parameter another"),
    (lambda: parse_seeds("x"), "--seeds x: write it as 1-10, or 1,5,20-29"),
    (lambda: parse_seeds("5-1"), "--seeds 5-1: 5-1 is no range of seeds, of which there are 0 to 2^64-1"),
    (lambda: parse_seeds("18446744073709551616"), "--seeds 18446744073709551616: 18446744073709551616 is no range of seeds, of which there are 0 to 2^64-1"),
    (lambda: parse_seeds("9" * 5000), f"--seeds {'9' * 5000}: write it as 1-10, or 1,5,20-29"),
    (lambda: parse_seeds("1,1-2"), "--seeds: 1 is there twice"),
    (lambda: points_of([("a", ["1"] * 1000)], range(101)), "the grid has 101000 points; a sweep has 100000 at most"),
]  # fmt: skip


class Grid(unittest.TestCase):
    def test_ranges(self) -> None:
        for text, values in RANGES:
            with self.subTest(text):
                self.assertEqual(expand(text, "--over n"), values)

    def test_wrong(self) -> None:
        for call, line in WRONG:
            with self.subTest(line), self.assertRaises(UserError) as raised:
                call()
            self.assertEqual(str(raised.exception), line)

    def test_seeds(self) -> None:
        self.assertEqual(parse_seeds("1-3"), [1, 2, 3])
        self.assertEqual(parse_seeds("1,5,20..21"), [1, 5, 20, 21])
        self.assertEqual(parse_seeds("18446744073709551615"), [2**64 - 1])

    def test_points(self) -> None:
        points = points_of(parse_over(["a=1,2", "b=x"]), [1, 7])
        self.assertEqual([point.name for point in points], ["a=1,b=x,seed=1", "a=1,b=x,seed=7", "a=2,b=x,seed=1", "a=2,b=x,seed=7"])
        self.assertEqual([point.name for point in points_of([], [3])], ["seed=3"])

    def test_names_are_safe_and_differ(self) -> None:
        self.assertEqual(Point((("p", "../a b"), ("q", "10%")), 1).name, "p=..~2fa~20b,q=10%,seed=1")
        self.assertNotEqual(Point((("p", "a~2f"),), 1).name, Point((("p", "a/"),), 1).name)
        self.assertEqual(Point((("p", "ü"),), 1).name, "p=~c3~bc,seed=1")
        long = [Point((("p", "x" * 300 + end),), 1).name for end in "ab"]
        self.assertNotEqual(*long)
        long.append(Point((("ü" * 150, "x"),), 1).name)
        self.assertTrue(all(len(name.encode()) < 200 for name in long))
