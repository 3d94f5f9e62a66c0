"""A finished sweep's folder, read back."""

from __future__ import annotations

import pathlib
from typing import Any

from .errors import UserError
from .files import read_json
from .grid import Point
from .result_file import read_result

_SWEEP = {
    "scenario": str,
    "over": {"*": [str]},
    "seeds": [int],
    "settings": [str],
    "points": [
        {"name": str, "parameters": {"*": str}, "seed": int, "ended": str, "failed_checks": [str], "trace_hash": str}
    ],
    "failed": [{"name": str, "reason": str}],
}  # fmt: skip


class SweepResults:
    """What a sweep left. UserError if sweep.json or a point is not there or damaged."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.sweep = read_json(folder / "sweep.json", _SWEEP, "run the same sweep again")
        self.results: dict[Point, dict[str, Any]] = {}
        for entry in self.sweep["points"]:
            if "/" in entry["name"] or entry["name"].startswith("."):
                raise UserError(f"{folder / 'sweep.json'} is damaged: {entry['name']!r} is no point's name")
            result = read_result(folder / "points" / entry["name"])
            self.results[Point(tuple(entry["parameters"].items()), entry["seed"])] = result
