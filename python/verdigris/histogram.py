"""Histograms with sub-buckets of three significant digits, as of an HdrHistogram, in whole numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# (count, min, max, sum, buckets); a bucket is (the highest value in it, how many).
HistogramTuple = tuple[int, int, int, int, Sequence[tuple[int, int]]]
PERCENTILES = ("50", "90", "99", "99.9", "99.99")

# A value's eleven leading bits choose its bucket: a bucket is at most a thousandth of its values wide.
_LEADING_BITS = 11


class Histogram:
    """Counts of values. It never forgets count, minimum, maximum and sum; each value it knows to one part in a thousand."""

    def __init__(self, values: Iterable[int] = ()) -> None:
        self._counts: dict[int, int] = {}
        self._minimum = self._maximum = self._sum = 0
        for value in values:
            self.add(value)

    def add(self, value: int, count: int = 1) -> None:
        """Counts a value, a whole number from 0 on; ValueError otherwise."""
        if value < 0 or count < 1:
            raise ValueError(f"a histogram counts whole numbers from 0 on, not {value} ({count} times)")
        self._minimum = min(self._minimum, value) if self._counts else value
        self._maximum = max(self._maximum, value)
        self._sum += value * count
        upper = highest_equivalent(value)
        self._counts[upper] = self._counts.get(upper, 0) + count

    def as_tuple(self) -> HistogramTuple:
        """(count, min, max, sum, buckets), as `sim.measure.latency` takes it."""
        buckets = sorted(self._counts.items())
        return sum(self._counts.values()), self._minimum, self._maximum, self._sum, buckets


def highest_equivalent(value: int) -> int:
    """The highest value of the bucket in which a value lies."""
    shift = max(0, value.bit_length() - _LEADING_BITS)
    return (((value >> shift) + 1) << shift) - 1


def percentiles(count: int, maximum: int, buckets: Iterable[tuple[int, int]]) -> dict[str, int]:
    """For each of PERCENTILES the value that this share of the requests does not exceed (nearest rank)."""
    pairs = list(buckets)
    found: dict[str, int] = {}
    for percentile in PERCENTILES:
        whole, _, fraction = percentile.partition(".")
        scale = 100 * 10 ** len(fraction)
        rank = -(-count * int(whole + fraction) // scale)
        below = 0
        for upper, number in pairs:
            below += number
            if below >= rank:
                found[percentile] = min(upper, maximum)
                break
    return found
