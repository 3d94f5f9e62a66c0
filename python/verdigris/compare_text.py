"""A comparison as lines for a terminal."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from .figures import percent, show
from .measured_tables import aligned, sentence

_TITLES = {
    "sim_time": "simulated time", "instructions": "instructions", "checks": "checks", "latency": "latency",
    "throughput": "throughput", "cpu": "processor time", "attribution": "attribution", "drops": "drops", "stats": "counters",
}  # fmt: skip
# So many counters are named; there may be thousands. The JSON form has all.
_MOST_COUNTERS = 40


def lines(comparison: dict[str, Any]) -> list[str]:
    """The whole comparison."""
    text = [f"a: {comparison['a']}", f"b: {comparison['b']}"]
    text += _run(comparison) if comparison["kind"] == "run" else _sweep(comparison)
    if "regressions" in comparison:
        text += _regressions(comparison["regressions"])
    return text


def _run(comparison: dict[str, Any]) -> list[str]:
    text = [f"{entry['name']}: {_text(entry['a'])} -> {_text(entry['b'])}" for entry in comparison["identity"]]
    hashes = comparison["trace_hash"]
    text.append(f"trace hash: the same, {hashes['a']}" if hashes["same"] else f"trace hash: {hashes['a']} -> {hashes['b']}")
    for check in comparison["checks"]:
        text.append(f"check {check['name']}: {_text(check['a'])} -> {_text(check['b'])}")
    for group, entries in comparison["groups"].items():
        if group in ("checks", "attribution"):
            continue
        text += [f"{_TITLES[group]}: {len(entries)} of {max(len(entries), comparison['counts'][group])} differ"]
        text += _rows(entries, lambda entry: [entry["a"], entry["b"]])
    for entry in comparison["attribution"]:
        text.append(f"attribution of {entry['name'].lstrip('/')}, a request: {sentence('a', entry['a'], 'b', entry['b'])}")
    if len(text) == 1 and hashes["same"]:
        text.append("nothing differs")
    return text


def _sweep(comparison: dict[str, Any]) -> list[str]:
    hashes = comparison["hashes"]
    text = [f"{entry['name']}: {_words(entry['a'])} -> {_words(entry['b'])}" for entry in comparison["identity"]]
    text += [f"trace hashes: {hashes['same']} of {hashes['compared']} common points have the same"]
    for side in ("a", "b"):
        for values in comparison[f"only_{side}"]:
            text.append(f"only in {side}: {_at(values)}")
    for point in comparison["points"]:
        entries = [entry for group in point["groups"].values() for entry in group]
        unclear = f", {point['unclear']} more differ by less than the seeds scatter" if point["unclear"] else ""
        text.append(f"{_at(point['at'])}: {len(entries)} of {point['compared']} figures changed{unclear}")
        text += _rows(entries, _means)
    return text


def _rows(entries: list[dict[str, Any]], values: Any) -> list[str]:
    shown = [entry for entry in entries if not entry["name"].startswith("stats.")]
    counters = [entry for entry in entries if entry["name"].startswith("stats.")]
    rows = []
    for entry in [*shown, *counters[:_MOST_COUNTERS]]:
        a, b = values(entry)
        change = percent(Fraction(a), Fraction(b)) if a is not None and b is not None else ""
        chance = f"p={entry['p']:.2g}" if "p" in entry else ""
        unit = entry["unit"]
        rows.append([f"  {entry['name'].removeprefix('stats.')}", _shown(a, unit), "->", _shown(b, unit), change, chance])
    more = len(counters) - _MOST_COUNTERS
    return [*(aligned(rows, 1) if rows else []), *([f"  and {more} more counters"] if more > 0 else [])]


def _means(entry: dict[str, Any]) -> list[Any]:
    return [side and side["mean"] for side in (entry["a"], entry["b"])]


def _regressions(entries: list[dict[str, Any]]) -> list[str]:
    if not entries:
        return ["nothing got worse"]
    what = "moved" if any(entry["reason"] == "got better" for entry in entries) else "regressed"
    text = [f"{len(entries)} {'figure' if len(entries) == 1 else 'figures'} {what}:"]
    for entry in entries:
        a, b = (side["mean"] if isinstance(side, dict) else side for side in (entry["a"], entry["b"]))
        values = f": {_shown(a, entry['unit'])} -> {_shown(b, entry['unit'])}" if a is not None or b is not None else ""
        change = f" ({percent(Fraction(a), Fraction(b))})" if isinstance(a, (int, float)) and isinstance(b, (int, float)) and a else ""
        at = f"{_at(entry['at'])}: " if entry.get("at") else ""
        text.append(f"  {at}{entry['name']} {entry['reason']}{values}{change}")
    return text


def _at(values: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items()) or "all seeds"


def _shown(value: Any, unit: str) -> str:
    if value is None:
        return "-"
    return show(Fraction(value), unit) if isinstance(value, (int, float)) else str(value)


def _words(value: Any) -> str:
    return " ".join(value) or "-" if isinstance(value, list) else _text(value)


def _text(value: Any) -> str:
    return "-" if value is None else str(value)
