"""Confidence intervals, Welch's test and warm-up against values from tables and textbooks; rounding that keeps sums."""

from __future__ import annotations

import unittest
from fractions import Fraction

from verdigris.confidence import estimate, false_discovery_limit, mean_and_variance, student_quantile, warm_up, welch, without_warm_up
from verdigris.figures import decimal, percent, shares, show

# Quantiles of Student's t as printed in statistical tables: probability, degrees of freedom, quantile.
QUANTILES = [
    (0.975, 1, 12.706), (0.975, 2, 4.303), (0.975, 4, 2.776), (0.975, 9, 2.262), (0.975, 29, 2.045), (0.975, 120, 1.980),
    (0.95, 1, 6.314), (0.95, 10, 1.812), (0.995, 5, 4.032), (0.9995, 3, 12.924), (0.5, 7, 0.0), (0.975, 100000, 1.960),
]  # fmt: skip

# Samples, and the p of Welch's test as R's t.test gives it (its example data sets "sleep" and two plain ones).
SLEEP = [7, -16, -2, -12, -1, 34, 37, 8, 0, 20], [19, 8, 11, 1, -1, 44, 55, 16, 46, 34]
WELCH = [
    (*SLEEP, 0.07939),
    ([1, 2, 3, 4], [3, 4, 5, 6], 0.07099),
    ([5, 5, 5], [5, 5, 5], 1.0),
    ([5, 5, 5], [6, 6, 6], 0.0),
    ([1, 2], [1, 2], 1.0),
]

# Series, and how many values are warm-up.
SERIES = [
    ("level from the start", [10, 11, 9, 10, 10] * 8, 0),
    ("twelve values above", [100] * 12 + [10, 11, 9, 10, 10] * 20, 15),
    ("rising to the end", list(range(100)), None),
    ("too short to tell", [1, 2, 3], None),
    ("constant", [7] * 50, 0),
]

# Parts, unit, and the parts in whole units: they sum to the rounded sum.
SHARES = [
    ([Fraction(1, 3)] * 3, 1, [1, 0, 0]),
    ([Fraction(5, 10), Fraction(5, 10)], 1, [1, 0]),
    ([Fraction(14, 10), Fraction(14, 10), Fraction(14, 10)], 1, [2, 1, 1]),
    ([Fraction(-15, 10), Fraction(36, 10)], 1, [-2, 4]),
    ([Fraction(149_999), Fraction(151_000)], 100_000, [1, 2]),
    ([], 1, []),
]

SHOWN = [
    (48_123_456, "ps", "48.1 us"), (1_000_000_000, "ps", "1 ms"), (9_410_000_000, "bit/s", "9.41 Gb/s"), (999, "ps", "999 ps"),
    (1_499, "ps", "1.50 ns"), (-48_123_456, "ps", "-48.1 us"), (0, "ps", "0 ps"), (7, "count", "7"), (7, "1/s", "7/s"),
    (123_456, "ppm", "12.35 %"), (Fraction(1, 3), "count", "0.3"), (0, "bit/s", "0 b/s"), (Fraction(1, 3), "ps", "0.33 ps"),
]  # fmt: skip


class Confidence(unittest.TestCase):
    def test_quantiles(self) -> None:
        for probability, freedom, quantile in QUANTILES:
            with self.subTest((probability, freedom)):
                self.assertAlmostEqual(student_quantile(probability, freedom), quantile, delta=0.0006)

    def test_estimate(self) -> None:
        # Mean 10, standard deviation 2, n = 5: 2.776 * 2 / sqrt(5).
        whole = estimate([8, 8, 10, 12, 12])
        self.assertEqual((whole.count, whole.mean), (5, 10))
        self.assertAlmostEqual(whole.half_width or 0, 2.776 * 2 / 5**0.5, delta=0.001)
        self.assertEqual(estimate([3]), estimate([Fraction(3)]))
        self.assertIsNone(estimate([3]).half_width)
        self.assertEqual(estimate([4, 4, 4]).half_width, 0.0)
        with self.assertRaises(ValueError):
            estimate([])

    def test_large_values_stay_exact(self) -> None:
        mean, variance = mean_and_variance([2**62, 2**62 + 1, 2**62 + 2])
        self.assertEqual((mean, variance), (2**62 + 1, 1))

    def test_welch(self) -> None:
        for a, b, p in WELCH:
            with self.subTest((a, b)):
                self.assertAlmostEqual(welch(a, b), p, delta=0.00002)
        with self.assertRaises(ValueError):
            welch([1], [1, 2])

    def test_many_tests_at_once(self) -> None:
        # The example of Benjamini and Hochberg's paper: of fifteen tests, four are rejected at 5 %.
        chances = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
        self.assertEqual(false_discovery_limit(chances[::-1]), 0.0095)
        self.assertEqual((false_discovery_limit([0.06, 0.5]), false_discovery_limit([]), false_discovery_limit([0.0, 1.0])), (0.0, 0.0, 0.0))

    def test_warm_up(self) -> None:
        for name, series, cut in SERIES:
            with self.subTest(name):
                self.assertEqual(warm_up(series), cut)
        self.assertEqual(list(without_warm_up([9, 9, 1, 1], 2)), [1, 1])
        self.assertEqual(len(without_warm_up(SERIES[1][1])), 97)
        with self.assertRaises(ValueError):
            without_warm_up([1, 2, 3])

    def test_shares(self) -> None:
        for parts, unit, whole in SHARES:
            with self.subTest(parts):
                self.assertEqual(shares(parts, unit), whole)

    def test_show(self) -> None:
        for value, unit, text in SHOWN:
            with self.subTest(text):
                self.assertEqual(show(value, unit), text)
        self.assertEqual((percent(100, 102), percent(100, 50), percent(0, 5), percent(-4, -2)), ("+2.0 %", "-50.0 %", "", "+50.0 %"))
        self.assertEqual((decimal(Fraction(-1, 2), 0), decimal(Fraction(5, 1000), 2), decimal(12, 2)), ("0", "0.01", "12.00"))
