"""`sim.measure`: latency, throughput, processor time, attribution and so on into result.json, checked as they come.

Everything is whole numbers, times in picoseconds. What is called a variant is one of several ways compared inside one
run ("emulated", "synthetic", "vf"); a run that compares nothing leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .errors import UserError
from .histogram import Histogram, HistogramTuple, percentiles
from .units import PICOSECONDS, parse_time

SECOND_PS = PICOSECONDS["s"]


class Measurements:
    """What a run measured. Each method raises UserError for a value that cannot be right, or that is there already."""

    def __init__(self) -> None:
        self._variants: list[str] = []
        self._parts: dict[str, dict[str, Any]] = {}

    def variants(self, *names: str) -> None:
        """The order in which to show the variants; without it they come as they were first measured."""
        for name in names:
            self._variant("variants", name)
        self._variants = [*names, *(name for name in self._variants if name not in names)]

    def latency(self, workload: str, histogram: Histogram | HistogramTuple, variant: str = "") -> None:
        """How long requests took, as (count, min, max, sum, buckets) in ps; buckets are pairs (highest value, count)."""
        key = self._key("latency", workload, variant)
        whole = histogram.as_tuple() if isinstance(histogram, Histogram) else histogram
        try:
            count, minimum, maximum, total, buckets = whole
            pairs = [(upper, number) for upper, number in buckets if number != 0]
        except (TypeError, ValueError):
            raise UserError(f"measure.latency {key}: a histogram is (count, min, max, sum, buckets)") from None
        for number in (count, minimum, maximum, total, *(part for pair in pairs for part in pair)):
            _whole(number, f"measure.latency {key}")
        uppers = [upper for upper, _ in pairs]
        for wrong, what in (
            (count == 0, "it holds no request"),
            (sum(number for _, number in pairs) != count, f"its buckets do not hold {count} requests"),
            (any(b <= a for a, b in zip(uppers, uppers[1:])), "its buckets do not ascend"),
            (not count * minimum <= total <= count * maximum, f"its sum {total} does not fit minimum and maximum"),
            (bool(uppers) and (minimum > uppers[0] or maximum > uppers[-1]), "its minimum or maximum is outside"),
        ):
            if wrong:
                raise UserError(f"measure.latency {key}: {what}")
        self._put("latency", key, {
            "unit": "ps", "count": count, "min": minimum, "max": maximum, "mean": total // count,
            "sum": total, "percentiles": percentiles(count, maximum, pairs), "buckets": [list(pair) for pair in pairs],
        })  # fmt: skip

    def throughput(self, workload: str, *, bytes: int, count: int, window: str | int, variant: str = "") -> None:  # noqa: A002
        """What went through in a window of time: payload bytes, and requests or packets."""
        key = self._key("throughput", workload, variant)
        window_ps = _window(window, f"measure.throughput {key}")
        _whole(bytes, f"measure.throughput {key}: bytes")
        _whole(count, f"measure.throughput {key}: count")
        self._put("throughput", key, {
            "bits_per_second": bytes * 8 * SECOND_PS // window_ps, "per_second": count * SECOND_PS // window_ps,
            "bytes": bytes, "count": count, "window_ps": window_ps,
        })  # fmt: skip

    def cpu(
        self, processors: Mapping[str, Mapping[str, int]], *, window: str | int, variant: str = "", workloads: Sequence[str] = ()
    ) -> None:
        """What each logical processor did in a window: cause -> ps. The causes of one sum exactly to the window.

        `workloads` names those whose throughput is of the same window: their bytes are what the time was spent on.
        """
        self._variant("cpu", variant)
        what = f"measure.cpu {variant}".rstrip()
        window_ps = _window(window, what)
        for processor, causes in processors.items():
            together = _causes(causes, f"{what}: {processor}")
            if together != window_ps:
                raise UserError(f"{what}: the causes of {processor} are {together} ps together, the window {window_ps} ps")
        entry: dict[str, Any] = {"window_ps": window_ps, "processors": {name: dict(causes) for name, causes in processors.items()}}
        self._put("cpu", variant, {**entry, "workloads": list(workloads)} if workloads else entry)

    def attribution(self, workload: str, *, count: int, total: int, causes: Mapping[str, int], variant: str = "") -> None:
        """Where the time of `count` requests went, summed over them: cause -> ps. The causes sum exactly to the total."""
        key = self._key("attribution", workload, variant)
        _whole(count, f"measure.attribution {key}: count", 1)
        _whole(total, f"measure.attribution {key}: total")
        together = _causes(causes, f"measure.attribution {key}")
        if together != total:
            raise UserError(f"measure.attribution {key}: the causes are {together} ps together, the total is {total} ps")
        self._put("attribution", key, {"unit": "ps", "count": count, "total": total, "causes": dict(causes)})

    def timeline(self, series: str, values: Iterable[int], *, step: str | int, start: str | int = 0, unit: str = "bit/s") -> None:
        """A quantity over time: the first value is that of the step which begins at `start`."""
        points = list(values)
        for value in points:
            _whole(value, f"measure.timeline {series}")
        step_ps = _window(step, f"measure.timeline {series}: step")
        self._put("timeline", series, {"unit": unit, "step_ps": step_ps, "start_ps": parse_time(start, "start"), "values": points})

    def drops(self, place: str, reasons: Mapping[str, int]) -> None:
        """What was dropped at a place, by reason."""
        _causes(reasons, f"measure.drops {place}")
        self._put("drops", place, dict(reasons))

    def machine(self, nodes: Sequence[Mapping[str, str]], edges: Sequence[Mapping[str, str]]) -> None:
        """The machine as a diagram: nodes {id, kind, label}, edges {from, to, label} between ids of nodes."""
        ids = [node.get("id") for node in nodes]
        if len(set(ids)) != len(ids):
            raise UserError("measure.machine: two nodes have the same id")
        for what, parts, names in (("node", nodes, ("id", "kind", "label")), ("edge", edges, ("from", "to", "label"))):
            for part in parts:
                if set(part) != set(names) or not all(isinstance(part[name], str) for name in names):
                    raise UserError(f"measure.machine: {dict(part)!r} is no {what}: texts {', '.join(names)}")
        for edge in edges:
            for end in (edge["from"], edge["to"]):
                if end not in ids:
                    raise UserError(f"measure.machine: there is no node {end}")
        self._parts["machine"] = {"nodes": [dict(node) for node in nodes], "edges": [dict(edge) for edge in edges]}

    def as_result(self) -> dict[str, Any]:
        """The keys for result.json; none if nothing was measured."""
        order = ("latency", "throughput", "cpu", "attribution", "timeline", "drops", "machine")
        parts = {part: self._parts[part] for part in order if part in self._parts}
        return {"variants": list(self._variants), **parts} if self._variants else parts

    def _variant(self, method: str, variant: str) -> None:
        if not isinstance(variant, str) or "/" in variant:
            raise UserError(f"measure.{method}: {variant!r} is not a variant's name; it is a text without /")
        if variant and variant not in self._variants:
            self._variants.append(variant)

    def _key(self, method: str, workload: str, variant: str) -> str:
        if not isinstance(workload, str) or not workload:
            raise UserError(f"measure.{method}: {workload!r} is not a workload's name")
        self._variant(method, variant)
        return f"{variant}/{workload}"

    def _put(self, part: str, key: str, value: Any) -> None:
        entries = self._parts.setdefault(part, {})
        if key in entries:
            raise UserError(f"measure.{part} {key}: it is measured already")
        entries[key] = value


def _whole(value: object, what: str, least: int = 0) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f"{what}: {value!r} is not a whole number from {least} on")


def _window(value: str | int, what: str) -> int:
    ps = parse_time(value, what)
    if ps == 0:
        raise UserError(f"{what}: it has no length")
    return ps


def _causes(causes: Mapping[str, int], what: str) -> int:
    """The sum."""
    for cause, value in causes.items():
        if not isinstance(cause, str) or not cause:
            raise UserError(f"{what}: {cause!r} is not a name")
        _whole(value, f"{what}: {cause}")
    return sum(causes.values())
