"""The shape of result.json, which docs/results.md describes, and reading it."""

from __future__ import annotations

import pathlib
from typing import Any

from .errors import UserError
from .files import read_json

# In `files`, the name of one from the folder of guest images begins like this: where that folder is must not matter.
FROM_IMAGES = "images:"

_NUMBERS = {"*": int}

# Parts that measurements fill; a run without measurements has none of them.
MEASUREMENTS = {
    "variants?": [str],
    "latency?": {
        "*": {
            "unit": str, "count": int, "min": int, "max": int, "mean": int, "sum": int,
            "percentiles": _NUMBERS, "buckets": [[int]],
        }
    },
    "throughput?": {"*": {"bits_per_second": int, "per_second": int, "bytes": int, "count": int, "window_ps": int}},
    "cpu?": {"*": {"window_ps": int, "processors": {"*": _NUMBERS}, "workloads?": [str]}},
    "attribution?": {"*": {"unit": str, "count": int, "total": int, "causes": _NUMBERS}},
    "timeline?": {"*": {"unit": str, "step_ps": int, "start_ps": int, "values": [int]}},
    "drops?": {"*": _NUMBERS},
    "machine?": {
        "nodes": [{"id": str, "kind": str, "label": str}],
        "edges": [{"from": str, "to": str, "label": str}],
    },
}  # fmt: skip

RESULT = {
    "scenario": str,
    "sources?": {"*": str},
    "files?": {"*": str},
    "parameters": {"*": (int, str, float, bool)},
    "seed": int,
    "version": str,
    "ended": str,
    "interrupted": bool,
    "trace_hash": str,
    "sim_time_ps": int,
    "instructions": int,
    "checks": [{"name": str, "passed": bool, "detail": str}],
    "stats": {"*": {"value": int, "unit": str, "description": str}},
    **MEASUREMENTS,
}


def read_result(folder: pathlib.Path) -> dict[str, Any]:
    """result.json of a run's folder. UserError if there is none, or if it is damaged."""
    path = folder / "result.json"
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    if not path.exists():
        raise UserError(f"{folder} holds no result.json: it is no run's folder, or the run did not come to its end")
    result = read_json(path, RESULT)
    wrong = _unsound(result)
    if wrong is not None:
        raise UserError(f"{path} is damaged: {wrong}; repeat the run")
    return result


def _unsound(result: dict[str, Any]) -> str | None:
    """What cannot be, although its shape is right."""
    for key, entry in result.get("latency", {}).items():
        if any(len(pair) != 2 for pair in entry["buckets"]) or sum(pair[1] for pair in entry["buckets"]) != entry["count"]:
            return f"the buckets of latency.{key} do not hold its requests"
        if entry["count"] < 1:
            return f"latency.{key} holds no request"
    for key, entry in result.get("attribution", {}).items():
        if entry["count"] < 1 or sum(entry["causes"].values()) != entry["total"]:
            return f"the causes of attribution.{key} do not sum to its total"
    for variant, entry in result.get("cpu", {}).items():
        for processor, causes in entry["processors"].items():
            if sum(causes.values()) != entry["window_ps"]:
                return f"the causes of cpu.{variant}.{processor} do not sum to the window"
    return None


def split_key(key: str) -> tuple[str, str]:
    """(variant, workload) of a key like "vf/rr"; the variant of "/rr" is ""."""
    variant, _, workload = key.partition("/")
    return variant, workload
