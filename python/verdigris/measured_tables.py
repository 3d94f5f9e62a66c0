"""What a run prints of its measurements: the paths side by side, and what one saves against another, cause by cause."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from .figures import causes_of, decimal, shares, show
from .result_file import split_key

# One digit of a microsecond: to this the sentence is exact.
TENTH_OF_US = 100_000


def measured_lines(result: dict[str, Any]) -> list[str]:
    """The table of what was measured, and with variants the sentences on what one saves; nothing without measurements."""
    variants = result.get("variants", [])
    keys = [*result.get("latency", {}), *result.get("throughput", {})]
    alone = [""] if any(split_key(key)[0] == "" for key in keys) else []
    rows = _table(result, [*alone, *variants])
    table = aligned(rows if variants else [[row[0], *row[2:]] for row in rows], 2 if variants else 1) if rows else []
    return [*table, *_sentences(result, variants)]


def aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Rows as lines: the first columns to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    cells = [[text.ljust(width) if at < left else text.rjust(width) for at, (text, width) in enumerate(zip(row, widths))] for row in rows]
    return ["  ".join(line).rstrip() for line in cells]


def _table(result: dict[str, Any], variants: list[str]) -> list[list[str]]:
    latency, rates = result.get("latency", {}), result.get("throughput", {})
    workloads = list(dict.fromkeys(split_key(key)[1] for key in (*latency, *rates)))
    rows = [["workload", "path", "p50", "p99", "throughput", "requests/s", "CPU ns/B"]]
    for workload in workloads:
        for variant in variants:
            key = f"{variant}/{workload}"
            if key not in latency and key not in rates:
                continue
            points = latency[key]["percentiles"] if key in latency else {}
            rate = rates.get(key)
            rows.append([
                workload,
                variant,
                show(points["50"], "ps") if "50" in points else "-",
                show(points["99"], "ps") if "99" in points else "-",
                show(rate["bits_per_second"], "bit/s") if rate else "-",
                str(rate["per_second"]) if rate else "-",
                _cost(result, key),
            ])  # fmt: skip
    return rows if len(rows) > 1 else []


def _cost(result: dict[str, Any], key: str) -> str:
    """Busy time of all processors for each byte of the workloads that it was spent on; "-" if that cannot be told."""
    variant, workload = split_key(key)
    cpu, rates = result.get("cpu", {}).get(variant), result.get("throughput", {})
    if cpu is None or key not in rates:
        return "-"
    own = [name for name in map(split_key, rates) if name[0] == variant]
    # Where several were measured, perhaps one after the other, only who measured knows.
    names = cpu.get("workloads") or ([workload] if len(own) == 1 else [])
    there = [rates.get(f"{variant}/{name}") for name in names]
    if workload not in names or any(rate is None or rate["window_ps"] != cpu["window_ps"] for rate in there):
        return "-"
    together = sum(rate["bytes"] for rate in there if rate is not None)
    causes = causes_of(cpu)
    busy = sum(causes.values()) - causes.get("idle", 0)
    return decimal(Fraction(busy, 1000 * together), 3) if together else "-"


def _sentences(result: dict[str, Any], variants: list[str]) -> list[str]:
    attribution = result.get("attribution", {})
    lines = []
    for workload in dict.fromkeys(split_key(key)[1] for key in attribution):
        there = [variant for variant in variants if f"{variant}/{workload}" in attribution]
        for before, after in zip(there, there[1:]):
            slow, fast = attribution[f"{before}/{workload}"], attribution[f"{after}/{workload}"]
            lines.append(f"{workload}: {sentence(before, slow, after, fast)}")
    return lines


def differences(before: dict[str, Any], after: dict[str, Any], unit: int) -> tuple[int, dict[str, int]]:
    """How much less a request takes after than before, whole and by cause, in whole units; the causes sum to the whole."""
    names = list(dict.fromkeys([*before["causes"], *after["causes"]]))
    exact = [
        Fraction(before["causes"].get(name, 0), before["count"]) - Fraction(after["causes"].get(name, 0), after["count"])
        for name in names
    ]
    parts = shares(exact, unit)
    return sum(parts), dict(zip(names, parts))


def sentence(before_name: str, before: dict[str, Any], after_name: str, after: dict[str, Any]) -> str:
    """"vf saves 131.2 us against synthetic: 48.1 us vmbus.signal, ...". The parts as shown sum to the whole as shown."""
    whole, parts = differences(before, after, TENTH_OF_US)
    sign = -1 if whole < 0 else 1
    ordered = sorted(((name, sign * part) for name, part in parts.items() if part), key=lambda item: (-item[1], item[0]))
    causes = ", ".join(f"{_us(part)} us {name}" for name, part in ordered)
    verb = "costs" if whole < 0 else "saves"
    end = f": {causes}" if causes else ""
    than = f"more than {before_name}" if whole < 0 else f"against {before_name}"
    return f"{after_name} {verb} {_us(abs(whole))} us {than}{end}"


def _us(tenths: int) -> str:
    return decimal(Fraction(tenths, 10), 1)
