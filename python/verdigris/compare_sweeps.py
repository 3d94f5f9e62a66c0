"""What differs between two sweeps: means over the seeds, with significance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .compare_runs import group_of, is_worse
from .confidence import estimate, mean_and_variance, welch
from .figures import Figure, figures
from .sweep_results import SweepResults
from .sweep_tables import Combination, summarized

SIGNIFICANT = 0.05


def compare_sweeps(before: SweepResults, after: SweepResults, tolerance: int) -> dict[str, Any]:
    """Everything that differs significantly, by combination of parameters; `tolerance` in thousandths of a percent."""
    old, new = (_groups(one) for one in (before, after))
    points = [_combination(values, old[values], new[values]) for values in old if values in new]
    return {
        "kind": "sweep",
        "only_a": [dict(values) for values in old if values not in new],
        "only_b": [dict(values) for values in new if values not in old],
        "hashes": {
            "compared": len(before.results.keys() & after.results.keys()),
            "same": sum(
                after.results[point]["trace_hash"] == result["trace_hash"]
                for point, result in before.results.items()
                if point in after.results
            ),
        },
        "points": points,
        "regressions": [
            *(entry for values in old if values in new for entry in _regressions(values, old[values], new[values], tolerance)),
            *(_gone(values) for values in old if values not in new),
            *({"at": {}, "name": entry["name"], "a": None, "b": None, "unit": "", "reason": entry["reason"]} for entry in after.sweep["failed"]),
        ],
    }


def _groups(sweep: SweepResults) -> dict[Combination, dict[str, list[Figure]]]:
    return summarized({point: figures(result) for point, result in sweep.results.items()})


def significance(a: Sequence[int], b: Sequence[int]) -> float | None:
    """Welch's p; None if a side has a single value, which then is compared exactly."""
    return welch(a, b) if min(len(a), len(b)) > 1 else None


def changed(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether the means differ, as far as the seeds can tell."""
    p = significance(a, b)
    if p is None:
        return mean_and_variance(a)[0] != mean_and_variance(b)[0]
    return p < SIGNIFICANT


def _combination(values: Combination, old: dict[str, list[Figure]], new: dict[str, list[Figure]]) -> dict[str, Any]:
    groups: dict[str, list[dict[str, Any]]] = {}
    unclear = 0
    for name in dict.fromkeys([*old, *new]):
        if name not in old or name not in new:
            # A figure that is not there on one side is of another experiment, not of another mean.
            groups.setdefault(group_of(name), []).append(_entry(name, old.get(name), new.get(name)))
            continue
        a, b = ([figure.value for figure in side[name]] for side in (old, new))
        if changed(a, b):
            groups.setdefault(group_of(name), []).append(_entry(name, old[name], new[name]))
        elif a != b:
            unclear += 1
    return {"at": dict(values), "compared": len(old.keys() & new.keys()), "unclear": unclear, "groups": groups}


def _entry(name: str, old: list[Figure] | None, new: list[Figure] | None) -> dict[str, Any]:
    a, b = ([figure.value for figure in side] if side else [] for side in (old, new))
    entry: dict[str, Any] = {"name": name, "a": _side(a), "b": _side(b), "unit": (old or new or [Figure(0, "")])[0].unit}
    p = significance(a, b)
    return entry if p is None else {**entry, "p": float(f"{p:.3g}")}


def _side(values: Sequence[int]) -> dict[str, Any] | None:
    if not values:
        return None
    whole = estimate(values)
    half = None if whole.half_width is None else float(f"{whole.half_width:.6g}")
    return {"seeds": whole.count, "mean": float(whole.mean), "ci95": half}


def _regressions(values: Combination, old: dict[str, list[Figure]], new: dict[str, list[Figure]], tolerance: int) -> list[dict[str, Any]]:
    found = []
    for name, figures_before in old.items():
        worse = figures_before[0].worse
        if worse == 0:
            continue
        if name not in new:
            found.append({"at": dict(values), **_entry(name, figures_before, None), "reason": "is gone"})
            continue
        a, b = ([figure.value for figure in side[name]] for side in (old, new))
        means = mean_and_variance(a)[0], mean_and_variance(b)[0]
        if changed(a, b) and is_worse(*means, worse, tolerance):
            found.append({"at": dict(values), **_entry(name, figures_before, new[name]), "reason": "got worse"})
    return found


def _gone(values: Combination) -> dict[str, Any]:
    return {"at": dict(values), "name": "the point", "a": None, "b": None, "unit": "", "reason": "is gone"}
