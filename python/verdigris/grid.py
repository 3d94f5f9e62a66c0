"""The points of a sweep: values of `--over`, seeds, and a readable name for each point."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import re
from collections.abc import Sequence
from decimal import Decimal, localcontext

from .errors import UserError

_RANGE = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?)([A-Za-z%/]*)\.\.(-?[0-9]+(?:\.[0-9]+)?)([A-Za-z%/]*)(?:([+*])([0-9]+(?:\.[0-9]+)?)([A-Za-z%/]*))?")
_SAFE = re.compile(r"[^A-Za-z0-9._=+%-]")
MAXIMUM_POINTS = 100_000
_LONGEST_NAME = 180
# What columns of the tables are called, beside those of parameters.
_COLUMNS = {
    **dict.fromkeys(("seeds", "mean", "ci95_low", "ci95_high", "min", "max"), "summary.csv"),
    **dict.fromkeys(("point", "metric", "value", "unit"), "results.csv"),
}
MAXIMUM_SEED = 2**64 - 1


@dataclasses.dataclass(frozen=True)
class Point:
    """One run of a sweep: values of parameters, in the order of the command line, and the seed."""

    values: tuple[tuple[str, str], ...]
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder: share=25,seed=1. What a file's name should not contain is written as ~ and its code."""
        whole = ",".join(_SAFE.sub(_escaped, f"{name}={value}") for name, value in (*self.values, ("seed", str(self.seed))))
        if len(whole) <= _LONGEST_NAME:
            return whole
        return f"{whole[: _LONGEST_NAME - 20]}...{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


def names_a_setting(name: str) -> bool:
    """Whether it is a name that --set and --over take: a parameter's, or a timing constant's, which has dots."""
    return all(part.isidentifier() or (part.isalnum() and "." in name) for part in name.split("."))


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"~{byte:02x}" for byte in match[0].encode())


def points_of(over: Sequence[tuple[str, Sequence[str]]], seeds: Sequence[int]) -> list[Point]:
    """The grid: the last parameter changes fastest, then the seed. UserError if it is too large."""
    size = len(seeds)
    for _, values in over:
        size *= len(values)
    if size > MAXIMUM_POINTS:
        raise UserError(f"the grid has {size} points; a sweep has {MAXIMUM_POINTS} at most")
    names = [name for name, _ in over]
    combinations = itertools.product(*(values for _, values in over))
    return [Point(tuple(zip(names, values)), seed) for values in combinations for seed in seeds]


def parse_over(options: Sequence[str]) -> list[tuple[str, list[str]]]:
    """NAME=V1,V2,... of the command line, ranges expanded. UserError for what is malformed or twice there."""
    parsed: list[tuple[str, list[str]]] = []
    for option in options:
        name, equals, text = option.partition("=")
        if not equals or not names_a_setting(name) or not text:
            raise UserError(f"--over {option}: write it as NAME=V1,V2,... or NAME=FIRST..LAST")
        if name in _COLUMNS:
            raise UserError(f"--over {name}: a column of {_COLUMNS[name]} has this name; give the parameter another")
        if name == "seed":
            raise UserError("--over seed: the seeds of a sweep are named with --seeds")
        if name in (other for other, _ in parsed):
            raise UserError(f"--over {name} is given twice")
        values = [value for item in text.split(",") for value in expand(item, f"--over {name}")]
        if "" in values:
            raise UserError(f"--over {option}: there is an empty value")
        _no_value_twice(values, f"--over {name}")
        parsed.append((name, values))
    return parsed


def parse_seeds(text: str) -> list[int]:
    """Seeds like 1-10, 3 or 1,5,20-29. UserError for anything else."""
    seeds: list[int] = []
    for item in text.split(","):
        match = re.fullmatch(r"([0-9]{1,20})(?:(?:-|\.\.)([0-9]{1,20}))?", item.strip())
        if match is None:
            raise UserError(f"--seeds {text}: write it as 1-10, or 1,5,20-29")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last or last > MAXIMUM_SEED or last - first >= MAXIMUM_POINTS:
            raise UserError(f"--seeds {text}: {item} is no range of seeds, of which there are 0 to 2^64-1")
        seeds.extend(range(first, last + 1))
    _no_value_twice([str(seed) for seed in seeds], "--seeds")
    return seeds


def expand(item: str, what: str) -> list[str]:
    """The values of a range such as 1..8, 10%..50%+10%, 64..1024*2, 0.1us..0.5us+0.1us; of anything else itself."""
    match = _RANGE.fullmatch(item)
    if match is None:
        return [item]
    unit = match[2] or match[4]
    if any(other not in ("", unit) for other in (match[2], match[4], match[7] or "")):
        raise UserError(f"{what}: {item}: the units differ")
    first, last, step = Decimal(match[1]), Decimal(match[3]), Decimal(match[6] or 1)
    grows = match[5] == "*"
    if first > last or step <= (1 if grows else 0) or (grows and first <= 0):
        raise UserError(f"{what}: {item}: a range goes upwards: FIRST..LAST, FIRST..LAST+STEP or FIRST..LAST*FACTOR")
    values = []
    value = first
    with localcontext() as context:
        # Sums are exact, products have 28 digits at least.
        context.prec = max(28, len(item))
        while value <= last:
            values.append(f"{value.normalize():f}{unit}")
            if len(values) > MAXIMUM_POINTS:
                raise UserError(f"{what}: {item}: these are more than {MAXIMUM_POINTS} values")
            value = value * step if grows else value + step
    return values


def _no_value_twice(values: Sequence[str], what: str) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise UserError(f"{what}: {value} is there twice")
        seen.add(value)
