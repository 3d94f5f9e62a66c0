"""The tables of a sweep: results.csv, summary.csv and sweep.json. The same points give the same bytes, in whatever order
and on whatever machine they ran."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from .confidence import Estimate, estimate
from .csv_file import csv_text
from .figures import Figure, decimal, figures, show
from .files import json_text, write_whole
from .grid import Point
from .measured_tables import aligned
from .sweep_plan import Plan

# What the terminal shows of a summary; the rest is in the file.
_SHOWN_ROWS = 40
_SHOWN_ENDS = (".p50", ".p99", ".bits_per_second")

Results = Mapping[Point, dict[str, Any]]
Combination = tuple[tuple[str, str], ...]


def write_tables(plan: Plan, results: Results, failed: Mapping[Point, str]) -> list[str]:
    """Writes all of them, sweep.json last: where it is, the others belong to it. Gives the lines for the terminal."""
    (plan.out / "sweep.json").unlink(missing_ok=True)
    names = [name for name, _ in plan.over]
    all_figures = {point: figures(result) for point, result in results.items()}
    rows = (
        [point.name, *(value for _, value in point.values), point.seed, metric, figure.value, figure.unit]
        for point, found in all_figures.items()
        for metric, figure in found.items()
    )
    write_whole(plan.out / "results.csv", csv_text(["point", *names, "seed", "metric", "value", "unit"], rows))
    groups = summarized(all_figures)
    header = [*names, "metric", "seeds", "mean", "ci95_low", "ci95_high", "min", "max", "unit"]
    write_whole(plan.out / "summary.csv", csv_text(header, _summary_rows(groups)))
    write_whole(plan.out / "sweep.json", json_text(_sweep(plan, results, failed)))
    return _lines(groups)


def summarized(all_figures: Mapping[Point, Mapping[str, Figure]]) -> dict[Combination, dict[str, list[Figure]]]:
    """The figures of all seeds, by values of the parameters and metric."""
    groups: dict[Combination, dict[str, list[Figure]]] = {}
    for point, found in all_figures.items():
        group = groups.setdefault(point.values, {})
        for metric, figure in found.items():
            group.setdefault(metric, []).append(figure)
    return groups


def _summary_rows(groups: Mapping[Combination, Mapping[str, list[Figure]]]) -> Iterable[list[object]]:
    for values, metrics in groups.items():
        for metric, found in metrics.items():
            numbers = [figure.value for figure in found]
            whole = estimate(numbers)
            low, high = _interval(whole)
            mean = _mean(whole.mean)
            yield [*(value for _, value in values), metric, len(numbers), mean, low, high, min(numbers), max(numbers), found[0].unit]


def _mean(value: Fraction) -> str:
    return decimal(value, 0 if value.denominator == 1 else 3)


def _interval(whole: Estimate) -> tuple[str, str]:
    if whole.half_width is None:
        return "", ""
    # Six digits: far from what the last bits of a quantile may differ in.
    half = Fraction(f"{whole.half_width:.6g}")
    return _mean(whole.mean - half), _mean(whole.mean + half)


def _sweep(plan: Plan, results: Results, failed: Mapping[Point, str]) -> dict[str, Any]:
    return {
        "scenario": plan.scenario,
        "over": {name: list(values) for name, values in plan.over},
        "seeds": list(plan.seeds),
        "settings": list(plan.settings),
        "points": [
            {
                "name": point.name,
                "parameters": dict(point.values),
                "seed": point.seed,
                "ended": result["ended"],
                "failed_checks": [check["name"] for check in result["checks"] if not check["passed"]],
                "trace_hash": result["trace_hash"],
            }
            for point, result in results.items()
        ],
        "failed": [{"name": point.name, "reason": line} for point, line in failed.items()],
    }


def _lines(groups: Mapping[Combination, Mapping[str, list[Figure]]]) -> list[str]:
    def chosen(metric: str) -> bool:
        return metric.endswith(_SHOWN_ENDS) or metric.startswith("stats.scenario.")

    anything = any(chosen(metric) for metrics in groups.values() for metric in metrics)
    rows = []
    for values, metrics in groups.items():
        for metric, found in metrics.items():
            if not (chosen(metric) if anything else metric == "sim_time"):
                continue
            whole = estimate([figure.value for figure in found])
            unit = found[0].unit
            spread = "" if whole.half_width is None else f"± {show(round(whole.half_width), unit)}"
            at = " ".join(f"{name}={value}" for name, value in values)
            rows.append([at, metric.removeprefix("stats."), show(whole.mean, unit), spread])
    if not rows:
        return []
    more = len(rows) - _SHOWN_ROWS
    return [*aligned(rows[:_SHOWN_ROWS], 2), *([f"and {more} more, in summary.csv"] if more > 0 else [])]
