"""The figures of a result.json, one by one, as sweep tables and comparisons use them; and how figures are shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from .units import PICOSECONDS


@dataclasses.dataclass(frozen=True)
class Figure:
    """One number. `worse` says where it gets worse: 1 upwards, -1 downwards, 0 cannot be said."""

    value: int
    unit: str
    worse: int = 0


def figures(result: dict[str, Any]) -> dict[str, Figure]:
    """All figures of a result, by names that begin with their kind: latency.vf/rr.p99, stats.NAME."""
    found = {
        "sim_time": Figure(result["sim_time_ps"], "ps"),
        "instructions": Figure(result["instructions"], "count"),
        "checks.passed": Figure(sum(check["passed"] for check in result["checks"]), "count"),
        "checks.failed": Figure(sum(not check["passed"] for check in result["checks"]), "count", 1),
    }
    for key, latency in result.get("latency", {}).items():
        for percentile, value in latency["percentiles"].items():
            found[f"latency.{key}.p{percentile}"] = Figure(value, "ps", 1)
        for name in ("mean", "min", "max"):
            found[f"latency.{key}.{name}"] = Figure(latency[name], "ps", 1)
        found[f"latency.{key}.count"] = Figure(latency["count"], "count")
    for key, rate in result.get("throughput", {}).items():
        found[f"throughput.{key}.bits_per_second"] = Figure(rate["bits_per_second"], "bit/s", -1)
        found[f"throughput.{key}.per_second"] = Figure(rate["per_second"], "1/s", -1)
    for variant, cpu in result.get("cpu", {}).items():
        found |= _cpu(f"cpu.{variant}" if variant else "cpu", cpu)
    for key, parts in result.get("attribution", {}).items():
        found[f"attribution.{key}.total"] = Figure(parts["total"], "ps")
        found[f"attribution.{key}.per_request"] = Figure(parts["total"] // parts["count"], "ps", 1)
        found[f"attribution.{key}.count"] = Figure(parts["count"], "count")
        for cause, value in parts["causes"].items():
            found[f"attribution.{key}.cause.{cause}"] = Figure(value, "ps")
    for place, reasons in result.get("drops", {}).items():
        for reason, value in reasons.items():
            found[f"drops.{place}.{reason}"] = Figure(value, "count", 1)
    for name, entry in result["stats"].items():
        found[f"stats.{name}"] = Figure(entry["value"], entry["unit"])
    return found


def causes_of(cpu: dict[str, Any]) -> dict[str, int]:
    """Processor time by cause, over all processors."""
    causes: dict[str, int] = {}
    for processor in cpu["processors"].values():
        for cause, value in processor.items():
            causes[cause] = causes.get(cause, 0) + value
    return causes


def _cpu(name: str, cpu: dict[str, Any]) -> dict[str, Figure]:
    causes = causes_of(cpu)
    whole = sum(causes.values())
    busy = whole - causes.get("idle", 0)
    found = {f"{name}.busy": Figure(busy * 10**6 // whole if whole else 0, "ppm", 1)}
    found |= {f"{name}.cause.{cause}": Figure(value, "ps") for cause, value in causes.items()}
    for processor, parts in cpu["processors"].items():
        found |= {f"{name}.{processor}.{cause}": Figure(value, "ps") for cause, value in parts.items()}
    return found


def shares(parts: Sequence[Fraction], unit: int) -> list[int]:
    """Parts in whole units, rounded so that they sum to the rounded sum of the parts (largest remainders)."""
    floors = [int(part // unit) for part in parts]
    missing = rounded(sum(parts, Fraction(0)) / unit) - sum(floors)
    by_remainder = sorted(range(len(parts)), key=lambda index: (floors[index] - parts[index] / unit, index))
    for index in by_remainder[:missing]:
        floors[index] += 1
    return floors


def rounded(value: Fraction | int) -> int:
    """The nearest whole number; halves go up."""
    return int((2 * Fraction(value) + 1) // 2)


def decimal(value: Fraction | int, digits: int) -> str:
    """Text with so many digits after the point, exactly rounded."""
    scaled = rounded(Fraction(value) * 10**digits)
    whole, rest = divmod(abs(scaled), 10**digits)
    return f"{'-' if scaled < 0 else ''}{whole}" + (f".{rest:0{digits}d}" if digits else "")


def show(value: Fraction | int, unit: str) -> str:
    """A figure for people: 48.1 us, 9.41 Gb/s, 12345."""
    if unit == "ps":
        return _scaled(value, [(name, PICOSECONDS[name]) for name in ("s", "ms", "us", "ns", "ps")])
    if unit == "bit/s":
        return _scaled(value, [("Gb/s", 10**9), ("Mb/s", 10**6), ("kb/s", 10**3), ("b/s", 1)])
    if unit == "ppm":
        return f"{decimal(Fraction(value) / 10**4, 2)} %"
    text = str(int(value)) if Fraction(value).denominator == 1 else decimal(value, 1)
    return text if unit == "count" else f"{text}/s" if unit == "1/s" else f"{text} {unit}"


def _scaled(value: Fraction | int, units: list[tuple[str, int]]) -> str:
    """At least three significant digits, in the largest unit that leaves none before the point empty."""
    for name, scale in units:
        if abs(value) >= scale or scale == 1:
            number = Fraction(value) / scale
            digits = 0 if number.denominator == 1 else 2 if abs(number) < 10 else 1
            return f"{decimal(number, digits)} {name}"
    raise AssertionError("the smallest unit has the scale 1")


def percent(before: Fraction | int, after: Fraction | int) -> str:
    """The change in percent, with its sign; nothing if there was nothing."""
    if before == 0:
        return ""
    change = (Fraction(after) - before) * 100 / abs(before)
    text = decimal(change, 1)
    return f"{text if text.startswith('-') else '+' + text} %"
