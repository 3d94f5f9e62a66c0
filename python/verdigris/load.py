"""`vg.load(DIR)`: results of a run or of a sweep as pandas DataFrames. Works in any Python that has pandas:

    PYTHONPATH=python python3 -c "import verdigris as vg; print(vg.load('out/a').latency)"
"""

from __future__ import annotations

import functools
import pathlib
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from .confidence import estimate
from .errors import UserError
from .figures import Figure, figures
from .result_file import read_result, split_key
from .sweep_results import SweepResults

if TYPE_CHECKING:
    import pandas

Row = dict[str, Any]


def load(folder: str | pathlib.Path) -> Results:
    """What `run --out` or `sweep --out` left in a folder. UserError if there is nothing, or if it is damaged."""
    path = pathlib.Path(folder)
    if not (path / "sweep.json").exists():
        if (path / ".sweep").is_dir():
            raise UserError(f"{path}: the sweep is not complete; go on with it first")
        return Results(path, [({}, read_result(path))], {})
    whole = SweepResults(path)
    runs: list[tuple[Row, dict[str, Any]]] = []
    for point, result in whole.results.items():
        typed = {name: result["parameters"].get(name, value) for name, value in point.values}
        runs.append(({"point": point.name, **typed, "seed": point.seed}, result))
    return Results(path, runs, whole.sweep)


class Results:
    """Results as tables. Times are in ps, rates in bit/s. Those of a sweep have columns for point, parameters and seed."""

    def __init__(self, folder: pathlib.Path, runs: list[tuple[Row, dict[str, Any]]], sweep: dict[str, Any]) -> None:
        self.folder = folder
        self.sweep = sweep  # sweep.json; empty for a single run
        self._runs = runs

    def __repr__(self) -> str:
        kind = f"a sweep of {len(self._runs)} points" if self.sweep else "a run"
        return f"<results of {kind} in {self.folder}>"

    @property
    def results(self) -> list[dict[str, Any]]:
        """result.json of each run as it is."""
        return [result for _, result in self._runs]

    @functools.cached_property
    def runs(self) -> pandas.DataFrame:
        """One row a run: parameters, seed, how it ended, checks, simulated time, trace hash."""
        return self._frame(_runs, "")

    @functools.cached_property
    def summary(self) -> pandas.DataFrame:
        """metric, seeds, mean, ci95_low, ci95_high, min, max, unit: each figure over the seeds of a combination, as summary.csv.

        The 95 % confidence interval is Student's; NaN with one seed.
        """
        groups: dict[tuple[tuple[str, Any], ...], dict[str, list[Figure]]] = {}
        for at, result in self._runs:
            values = tuple((name, value) for name, value in at.items() if name not in ("point", "seed"))
            for metric, figure in figures(result).items():
                groups.setdefault(values, {}).setdefault(metric, []).append(figure)
        rows = (
            {**dict(values), **_summary(metric, found)} for values, metrics in groups.items() for metric, found in metrics.items()
        )
        return self._table(list(rows), "metric, seeds, mean, ci95_low, ci95_high, min, max, unit", ("point", "seed"))

    @functools.cached_property
    def checks(self) -> pandas.DataFrame:
        """name, passed, detail."""
        return self._frame(lambda result: iter(result["checks"]), "name, passed, detail")

    @functools.cached_property
    def stats(self) -> pandas.DataFrame:
        """name, value, unit, description."""
        return self._frame(lambda result: ({"name": name, **entry} for name, entry in result["stats"].items()), "name, value, unit, description")

    @functools.cached_property
    def latency(self) -> pandas.DataFrame:
        """variant, workload, count, min, max, mean, sum, p50, p90, p99, p99.9, p99.99."""
        return self._frame(_latency, "variant, workload, count, min, max, mean, sum, p50, p90, p99, p99.9, p99.99")

    @functools.cached_property
    def histogram(self) -> pandas.DataFrame:
        """variant, workload, upper_ps, count, cumulative: the buckets behind `latency`."""
        return self._frame(_histogram, "variant, workload, upper_ps, count, cumulative")

    @functools.cached_property
    def throughput(self) -> pandas.DataFrame:
        """variant, workload, bits_per_second, per_second, bytes, count, window_ps."""
        return self._frame(
            lambda result: ({**_keyed(key), **entry} for key, entry in result.get("throughput", {}).items()),
            "variant, workload, bits_per_second, per_second, bytes, count, window_ps",
        )

    @functools.cached_property
    def cpu(self) -> pandas.DataFrame:
        """variant, processor, cause, ps, window_ps, share."""
        return self._frame(_cpu, "variant, processor, cause, ps, window_ps, share")

    @functools.cached_property
    def attribution(self) -> pandas.DataFrame:
        """variant, workload, cause, ps (sum over the requests), count, per_request_ps."""
        return self._frame(_attribution, "variant, workload, cause, ps, count, per_request_ps")

    @functools.cached_property
    def timeline(self) -> pandas.DataFrame:
        """series, time_ps, value, unit."""
        return self._frame(_timeline, "series, time_ps, value, unit")

    @functools.cached_property
    def drops(self) -> pandas.DataFrame:
        """place, reason, count."""
        return self._frame(_drops, "place, reason, count")

    def _frame(self, rows: Callable[[dict[str, Any]], Iterator[Row]], columns: str) -> pandas.DataFrame:
        return self._table([{**at, **row} for at, result in self._runs for row in rows(result)], columns)

    def _table(self, rows: list[Row], columns: str, without: tuple[str, ...] = ()) -> pandas.DataFrame:
        try:
            import pandas
        except ImportError:
            hint = "install Debian's python3-pandas, and use /usr/bin/python3, whose package it is"
            raise UserError(f"vg.load needs pandas for its tables, and {sys.executable or 'this Python'} has none: {hint}") from None
        # Also a table without rows has its columns.
        first = [name for at, _ in self._runs[:1] for name in at if name not in without]
        return pandas.DataFrame(rows, columns=None if rows else [*first, *filter(None, columns.split(", "))])


def _keyed(key: str) -> Row:
    variant, workload = split_key(key)
    return {"variant": variant, "workload": workload}


def _summary(metric: str, found: list[Figure]) -> Row:
    numbers = [figure.value for figure in found]
    whole = estimate(numbers)
    mean = float(whole.mean)
    half = float("nan") if whole.half_width is None else float(whole.half_width)
    return {
        "metric": metric, "seeds": len(numbers), "mean": mean, "ci95_low": mean - half, "ci95_high": mean + half,
        "min": _number(min(numbers)), "max": _number(max(numbers)), "unit": found[0].unit,
    }  # fmt: skip


def _number(value: int | Fraction) -> int | float:
    return int(value) if value == int(value) else float(value)


def _runs(result: dict[str, Any]) -> Iterator[Row]:
    failed = sum(not check["passed"] for check in result["checks"])
    yield {
        **result["parameters"], "seed": result["seed"], "ended": result["ended"], "checks": len(result["checks"]),
        "failed_checks": failed, "sim_time_ps": result["sim_time_ps"], "instructions": result["instructions"],
        "trace_hash": result["trace_hash"],
    }  # fmt: skip


def _latency(result: dict[str, Any]) -> Iterator[Row]:
    for key, entry in result.get("latency", {}).items():
        points = {f"p{name}": value for name, value in entry["percentiles"].items()}
        yield {**_keyed(key), **{name: entry[name] for name in ("count", "min", "max", "mean", "sum")}, **points}


def _histogram(result: dict[str, Any]) -> Iterator[Row]:
    for key, entry in result.get("latency", {}).items():
        below = 0
        for upper, count in entry["buckets"]:
            below += count
            yield {**_keyed(key), "upper_ps": upper, "count": count, "cumulative": below / entry["count"]}


def _cpu(result: dict[str, Any]) -> Iterator[Row]:
    for variant, entry in result.get("cpu", {}).items():
        window = entry["window_ps"]
        for processor, causes in entry["processors"].items():
            for cause, ps in causes.items():
                row = {"variant": variant, "processor": processor, "cause": cause, "ps": ps}
                yield {**row, "window_ps": window, "share": ps / window if window else 0.0}


def _attribution(result: dict[str, Any]) -> Iterator[Row]:
    for key, entry in result.get("attribution", {}).items():
        count = entry["count"]
        for cause, ps in entry["causes"].items():
            yield {**_keyed(key), "cause": cause, "ps": ps, "count": count, "per_request_ps": ps / count if count else 0.0}


def _timeline(result: dict[str, Any]) -> Iterator[Row]:
    for series, entry in result.get("timeline", {}).items():
        for index, value in enumerate(entry["values"]):
            time_ps = entry["start_ps"] + index * entry["step_ps"]
            yield {"series": series, "time_ps": time_ps, "value": value, "unit": entry["unit"]}


def _drops(result: dict[str, Any]) -> Iterator[Row]:
    for place, reasons in result.get("drops", {}).items():
        for reason, count in reasons.items():
            yield {"place": place, "reason": reason, "count": count}
