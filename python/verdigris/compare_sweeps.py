"""What differs between two sweeps: means over the seeds, with significance.

A sweep has many figures, and of many tests some find a difference by chance. So the figures that count as changed are
chosen together: at most one in twenty of them is expected to be there by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .compare_runs import group_of, is_worse
from .confidence import estimate, false_discovery_limit, mean_and_variance, welch
from .figures import Figure, figures
from .sweep_results import SweepResults
from .sweep_tables import Combination, summarized

Group = dict[str, list[Figure]]


def compare_sweeps(before: SweepResults, after: SweepResults, tolerance: int, both_ways: bool = False) -> dict[str, Any]:
    """Everything that differs significantly, by combination of parameters; `tolerance` and `both_ways` as of runs."""
    old, new = (_groups(one) for one in (before, after))
    common = [values for values in old if values in new]
    limit = false_discovery_limit([p for values in common for p in _chances(old[values], new[values])])
    hashes = [
        (result["trace_hash"], after.results[point]["trace_hash"])
        for point, result in before.results.items()
        if point in after.results
    ]
    return {
        "kind": "sweep",
        "identity": [
            {"name": name, "a": before.sweep[name], "b": after.sweep[name]}
            for name in ("scenario", "settings")
            if before.sweep[name] != after.sweep[name]
        ],
        "only_a": [dict(values) for values in old if values not in new],
        "only_b": [dict(values) for values in new if values not in old],
        "hashes": {"compared": len(hashes), "same": sum(one == other for one, other in hashes)},
        "p_limit": float(f"{limit:.3g}"),
        "points": [_combination(values, old[values], new[values], limit) for values in common],
        "regressions": [
            *(entry for values in common for entry in _regressions(values, old[values], new[values], limit, tolerance, both_ways)),
            *(_gone(values) for values in old if values not in new),
            *({"at": {}, "name": entry["name"], "a": None, "b": None, "unit": "", "reason": entry["reason"]} for entry in after.sweep["failed"]),
        ],
    }


def _groups(sweep: SweepResults) -> dict[Combination, Group]:
    return summarized({point: figures(result) for point, result in sweep.results.items()})


def _values(found: list[Figure]) -> list[int]:
    return [figure.value for figure in found]


def _chances(old: Group, new: Group) -> list[float]:
    """p of each figure for which there is a question."""
    pairs = [(_values(old[name]), _values(new[name])) for name in old if name in new]
    tested = [significance(a, b) for a, b in pairs if sorted(a) != sorted(b)]
    return [p for p in tested if p is not None]


def significance(a: Sequence[int], b: Sequence[int]) -> float | None:
    """Welch's p; None if a side has a single value, which then is compared exactly."""
    return welch(a, b) if min(len(a), len(b)) > 1 else None


def _changed(a: Sequence[int], b: Sequence[int], limit: float) -> bool:
    """Whether the means differ, as far as the seeds can tell."""
    p = significance(a, b)
    return mean_and_variance(a)[0] != mean_and_variance(b)[0] and (p is None or p <= limit)


def _combination(values: Combination, old: Group, new: Group, limit: float) -> dict[str, Any]:
    groups: dict[str, list[dict[str, Any]]] = {}
    unclear = 0
    for name in dict.fromkeys([*old, *new]):
        if name not in old or name not in new:
            # A figure that is not there on one side is of another experiment, not of another mean.
            groups.setdefault(group_of(name), []).append(_entry(name, old.get(name), new.get(name)))
            continue
        a, b = _values(old[name]), _values(new[name])
        if _changed(a, b, limit):
            groups.setdefault(group_of(name), []).append(_entry(name, old[name], new[name]))
        elif a != b:
            unclear += 1
    return {"at": dict(values), "compared": len(old.keys() & new.keys()), "unclear": unclear, "groups": groups}


def _entry(name: str, old: list[Figure] | None, new: list[Figure] | None) -> dict[str, Any]:
    a, b = (_values(side) if side else [] for side in (old, new))
    entry: dict[str, Any] = {"name": name, "a": _side(a), "b": _side(b), "unit": (old or new or [Figure(0, "")])[0].unit}
    p = significance(a, b)
    return entry if p is None else {**entry, "p": float(f"{p:.3g}")}


def _side(values: Sequence[int]) -> dict[str, Any] | None:
    if not values:
        return None
    whole = estimate(values)
    half = None if whole.half_width is None else float(f"{whole.half_width:.6g}")
    return {"seeds": whole.count, "mean": float(whole.mean), "ci95": half}


def _regressions(values: Combination, old: Group, new: Group, limit: float, tolerance: int, both_ways: bool) -> list[dict[str, Any]]:
    found = []
    for name, before in old.items():
        worse = before[0].worse
        if worse == 0:
            continue
        if name not in new:
            found.append({"at": dict(values), **_entry(name, before, None), "reason": "is gone"})
            continue
        a, b = _values(before), _values(new[name])
        if not _changed(a, b, limit):
            continue
        for sign, reason in ((worse, "got worse"), (-worse, "got better"))[: 2 if both_ways else 1]:
            if is_worse(mean_and_variance(a)[0], mean_and_variance(b)[0], sign, tolerance):
                found.append({"at": dict(values), **_entry(name, before, new[name]), "reason": reason})
    return found


def _gone(values: Combination) -> dict[str, Any]:
    return {"at": dict(values), "name": "the point", "a": None, "b": None, "unit": "", "reason": "is gone"}
