"""What differs between two results of runs."""

from __future__ import annotations

from typing import Any

from .figures import Figure, figures
from .measured_tables import differences

_IDENTITY = ("scenario", "version", "seed", "ended")
# Groups of figures, in the order in which they are shown, by the beginning of their names.
GROUPS = ("sim_time", "instructions", "checks", "latency", "throughput", "cpu", "attribution", "drops", "stats")


def compare_results(before: dict[str, Any], after: dict[str, Any], tolerance: int, both_ways: bool = False) -> dict[str, Any]:
    """Everything that differs, grouped; `tolerance` in thousandths of a percent, for the regressions; `both_ways`: better is one, too."""
    old, new = figures(before), figures(after)
    groups: dict[str, list[dict[str, Any]]] = {group: [] for group in GROUPS}
    for name in dict.fromkeys([*old, *new]):
        a, b = old.get(name), new.get(name)
        if a is None or b is None or a.value != b.value:
            groups[group_of(name)].append(_entry(name, a, b))
    return {
        "kind": "run",
        "identity": [
            {"name": name, "a": before[name], "b": after[name]} for name in _IDENTITY if before[name] != after[name]
        ] + _profiles(before, after) + _mapping("sources", before, after) + _mapping("parameters", before, after),
        "trace_hash": {"a": before["trace_hash"], "b": after["trace_hash"], "same": before["trace_hash"] == after["trace_hash"]},
        "checks": _checks(before, after),
        "groups": {group: entries for group, entries in groups.items() if entries},
        "counts": {group: sum(group_of(name) == group for name in new) for group in GROUPS},
        "attribution": _attribution(before, after),
        "regressions": [*regressed_checks(before, after), *regressions(old, new, tolerance, both_ways)],
    }  # fmt: skip


def group_of(name: str) -> str:
    """The group of a figure."""
    return name.partition(".")[0]


def regressions(old: dict[str, Figure], new: dict[str, Figure], tolerance: int, both_ways: bool = False) -> list[dict[str, Any]]:
    """Figures that got worse by more than the tolerance, or are gone."""
    found = []
    for name, a in old.items():
        b = new.get(name)
        if a.worse == 0 or name == "checks.failed":
            continue
        if b is None:
            found.append({**_entry(name, a, None), "reason": "is gone"})
        elif is_worse(a.value, b.value, a.worse, tolerance):
            found.append({**_entry(name, a, b), "reason": "got worse"})
        elif both_ways and is_worse(a.value, b.value, -a.worse, tolerance):
            found.append({**_entry(name, a, b), "reason": "got better"})
    return found


def is_worse(before: Any, after: Any, worse: int, tolerance: int) -> bool:
    """Whether a figure got worse by more than so many thousandths of a percent."""
    return bool((after - before) * worse * 100_000 > tolerance * abs(before))


def regressed_checks(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """Checks that passed and do not any more."""
    now = {check["name"]: check["passed"] for check in after["checks"]}
    found = []
    for check in before["checks"]:
        if check["passed"] and not now.get(check["name"], False):
            reason = "fails" if check["name"] in now else "is gone"
            found.append({"name": f"check {check['name']}", "a": "passed", "b": "FAILED" if reason == "fails" else None, "unit": "", "reason": reason})
    failing = {check["name"] for check in before["checks"]}
    found += [
        {"name": f"check {name}", "a": None, "b": "FAILED", "unit": "", "reason": "fails"}
        for name, passed in now.items()
        if not passed and name not in failing
    ]
    return found


def _entry(name: str, a: Figure | None, b: Figure | None) -> dict[str, Any]:
    there = a or b
    entry = {"name": name, "a": a.value if a else None, "b": b.value if b else None, "unit": there.unit if there else ""}
    return {**entry, "difference": b.value - a.value} if a and b else entry


def _mapping(part: str, before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    a, b = before.get(part, {}), after.get(part, {})
    what = {"sources": "content of", "parameters": "parameter"}[part]
    names = dict.fromkeys([*a, *b])
    return [{"name": f"{what} {name}", "a": a.get(name), "b": b.get(name)} for name in names if a.get(name) != b.get(name)]


def _profiles(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """Timing profiles, with the constants that were given in the place of their own."""
    a, b = ((result.get("host") or {}).get("profile") for result in (before, after))
    return [{"name": "timing profile", "a": a, "b": b}] if a != b else []


def _checks(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    def by_name(result: dict[str, Any]) -> dict[str, str]:
        return {check["name"]: "passed" if check["passed"] else "FAILED" for check in result["checks"]}

    a, b = by_name(before), by_name(after)
    return [{"name": name, "a": a.get(name), "b": b.get(name)} for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)]


def _attribution(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """For a request of each workload: how much less it takes after, cause by cause; the causes sum to the whole."""
    a, b = before.get("attribution", {}), after.get("attribution", {})
    found = []
    for key in a:
        if key in b and a[key] != b[key]:
            whole, causes = differences(a[key], b[key], 1)
            found.append({"name": key, "saved_ps": whole, "causes": causes, "a": a[key], "b": b[key]})
    return found
