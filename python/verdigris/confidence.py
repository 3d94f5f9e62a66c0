"""What several seeds say together: means, Student's confidence intervals, Welch's test; and when a warm-up is over.

Sums, means and variances are exact fractions. Only quantiles of Student's distribution are floating point, and what is
written of them is rounded far above their error.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over seeds, and half the width of its confidence interval; None with a single value."""

    count: int
    mean: Fraction
    half_width: float | None


def estimate(values: Sequence[int | Fraction], level: float = 0.95) -> Estimate:
    """Mean and confidence interval (Student's t) of independent values. ValueError without a value."""
    mean, variance = mean_and_variance(values)
    if len(values) < 2:
        return Estimate(len(values), mean, None)
    quantile = student_quantile(0.5 + level / 2, len(values) - 1)
    return Estimate(len(values), mean, quantile * math.sqrt(variance / len(values)))


def mean_and_variance(values: Sequence[int | Fraction]) -> tuple[Fraction, Fraction]:
    """Exact mean and variance (n-1); the variance of a single value is 0. ValueError without a value."""
    if not values:
        raise ValueError("there is no mean of nothing")
    count = len(values)
    mean = Fraction(sum(values)) / count
    squares = sum((value - mean) ** 2 for value in values)
    return mean, Fraction(squares) / (count - 1) if count > 1 else Fraction(0)


def welch(a: Sequence[int | Fraction], b: Sequence[int | Fraction]) -> float:
    """The probability of means at least this far apart if both come from distributions with the same mean.

    Values that do not scatter at all differ surely or not at all: 0 or 1. ValueError with less than two on a side.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError("Welch's test needs two values on each side")
    (mean_a, variance_a), (mean_b, variance_b) = mean_and_variance(a), mean_and_variance(b)
    part_a, part_b = variance_a / len(a), variance_b / len(b)
    if part_a + part_b == 0:
        return 1.0 if mean_a == mean_b else 0.0
    t = float(mean_a - mean_b) / math.sqrt(part_a + part_b)
    freedom = (part_a + part_b) ** 2 / (part_a**2 / (len(a) - 1) + part_b**2 / (len(b) - 1))
    return _two_tails(abs(t), float(freedom))


def false_discovery_limit(chances: Sequence[float], rate: float = 0.05) -> float:
    """The p up to which, of many tests at once, those that find something are wrong in this share of cases at most.

    Benjamini and Hochberg, "Controlling the false discovery rate" (1995). 0 if nothing is found, or p that are 0.
    """
    limit = 0.0
    for rank, p in enumerate(sorted(chances), start=1):
        if p <= rank / len(chances) * rate:
            limit = p
    return limit


def student_quantile(probability: float, freedom: float) -> float:
    """The quantile of Student's t distribution for a probability from 0.5 to 1."""
    low, high = 0.0, 1.0
    while 1 - _two_tails(high, freedom) / 2 < probability:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if 1 - _two_tails(middle, freedom) / 2 < probability else (low, middle)
    return (low + high) / 2


def warm_up(values: Sequence[int], batch: int = 5) -> int | None:
    """How many values at the start belong to the warm-up, by MSER-5; None if the series has not settled.

    White, "An effective truncation heuristic for bias reduction in simulation output" (1997): batches of five are
    averaged, and cut where the standard error of what is left is least. A cut in the second half means that the series
    is too short to tell.
    """
    sums = [sum(values[at : at + batch]) for at in range(0, len(values) - batch + 1, batch)]
    if len(sums) < 4:
        return None
    best: Fraction | None = None
    cut = 0
    total = squares = count = 0
    for index in range(len(sums) - 1, -1, -1):
        total += sums[index]
        squares += sums[index] ** 2
        count += 1
        # A mean over two batches or three says nothing yet.
        if count < 4:
            continue
        error = Fraction(count * squares - total**2, count**3)
        if best is None or error <= best:
            best, cut = error, index
    return None if 2 * cut > len(sums) else cut * batch


def without_warm_up(values: Sequence[int], skip: int | None = None) -> Sequence[int]:
    """The values after the warm-up: after `skip` of them, or where MSER-5 says. ValueError if that says nothing."""
    cut = warm_up(values) if skip is None else skip
    if cut is None:
        raise ValueError(f"the series of {len(values)} values has not settled; run for longer, or name a fixed warm-up")
    return values[cut:]


def _two_tails(t: float, freedom: float) -> float:
    """The probability that |T| is at least t."""
    return _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularized incomplete beta function (Abramowitz and Stegun 26.5.8, evaluated by Lentz's method)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    value = d
    for m in range(1, 1000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / ((1 + numerator * d) or tiny)
            c = (1 + numerator / c) or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * value
