"""The runs below a folder, reduced to what curves need: parameters, seed, and one figure for each measure."""

from __future__ import annotations

import os
import pathlib
from typing import Any

from .errors import UserError
from .result_file import read_result, split_key

# What is shown first, the most telling first.
_MAIN = ("latency p50", "throughput", "rate")
_PERCENTILES = ("50", "90", "99", "99.9", "99.99")


def collect(folders: list[pathlib.Path], base: pathlib.Path) -> dict[str, Any]:
    """All points by their place from `base`, the unit of each measure, and the folders whose result could not be read.

    UserError if no point is left.
    """
    points: list[dict[str, Any]] = []
    units: dict[str, str] = {}
    variants: list[str] = []
    skipped: list[str] = []
    for place in sorted({path.parent for folder in folders for path in folder.rglob("result.json")}):
        name = _relative(place, base)
        try:
            result = read_result(place)
        except UserError:
            skipped.append(name)
            continue
        point, of_point = _point(result, name)
        point["report"] = f"{name}/report.html" if (place / "report.html").is_file() else ""
        points.append(point)
        units.update(of_point)
        variants += [variant for variant in result.get("variants", []) if variant not in variants]
    if not points:
        what = f"; {len(skipped)} could not be read" if skipped else ""
        raise UserError(f"there is no result.json below {', '.join(map(str, folders))}{what}")
    main = next((measure for first in _MAIN for measure in units if measure.startswith(first)), "")
    return {"points": points, "units": units, "variants": variants, "main": main, "skipped": skipped, "version": points[0]["version"]}


def _relative(place: pathlib.Path, base: pathlib.Path) -> str:
    return pathlib.PurePath(os.path.relpath(place.resolve(), base.resolve())).as_posix()


def _point(result: dict[str, Any], name: str) -> tuple[dict[str, Any], dict[str, str]]:
    measures: list[tuple[str, str, int | float]] = []
    units: dict[str, str] = {}

    def add(measure: str, variant: str, value: Any, unit: str) -> None:
        if value is not None:
            measures.append((measure, variant, value))
            units[measure] = unit

    for key, histogram in result.get("latency", {}).items():
        variant, workload = split_key(key)
        for percentile in _PERCENTILES:
            add(f"latency p{percentile}, {workload}", variant, histogram["percentiles"].get(percentile), "ps")
        add(f"latency mean, {workload}", variant, histogram["mean"], "ps")
    for key, figures in result.get("throughput", {}).items():
        variant, workload = split_key(key)
        if figures["bits_per_second"]:
            add(f"throughput, {workload}", variant, figures["bits_per_second"], "bit/s")
        if figures["per_second"]:
            add(f"rate, {workload}", variant, figures["per_second"], "/s")
    for variant, record in result.get("cpu", {}).items():
        processors, window = record["processors"].values(), record["window_ps"]
        if window and processors:
            add("processors busy", variant, sum(window - causes.get("idle", 0) for causes in processors) / window, "")
    if "drops" in result:
        add("drops", "", sum(count for reasons in result["drops"].values() for count in reasons.values()), "")
    for statistic, entry in result["stats"].items():
        if statistic.startswith("scenario."):
            add(statistic, "", entry["value"], entry["unit"])
    add("simulated time", "", result["sim_time_ps"], "ps")
    checks = result["checks"]
    point = {
        "path": name,
        "scenario": result["scenario"],
        "parameters": result["parameters"],
        "seed": result["seed"],
        "hash": result["trace_hash"],
        "ended": result["ended"],
        "passed": sum(check["passed"] for check in checks),
        "checks": len(checks),
        "version": result["version"],
        "measures": measures,
    }
    return point, units
