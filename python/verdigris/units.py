"""Times and sizes as people write them, to exact integers and back. No floating point is involved."""

from __future__ import annotations

import re

from .errors import UserError

PICOSECONDS = {
    "ps": 1,
    "ns": 10**3,
    "us": 10**6,
    "ms": 10**9,
    "s": 10**12,
    "min": 60 * 10**12,
    "h": 3600 * 10**12,
}
BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
RATES = {"b": 1, "kb": 10**3, "Mb": 10**6, "Gb": 10**9}
MAXIMUM_PS = 2**63 - 1
MAXIMUM_BYTES = 2**64 - 1

_NUMBER = re.compile(r"\s*([0-9]+)(?:\.([0-9]+))?\s*([A-Za-z%]*)\s*")


def _parse(value: object, units: dict[str, int], unitless: str, what: str, example: str, maximum: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        if match is None:
            raise UserError(f"{what}: {value!r} is not understood; write it like {example}")
        whole, fraction, unit = match[1], match[2] or "", match[3]
        if unit not in units and not (unit == "" and int(whole + fraction) == 0):
            known = ", ".join(units)
            problem = f"has the unknown unit {unit!r}" if unit else "has no unit"
            raise UserError(f"{what}: {value!r} {problem}; units are {known}")
        number, rest = divmod(int(whole + fraction) * units.get(unit, 1), 10 ** len(fraction))
        if rest:
            raise UserError(f"{what}: {value!r} is not a whole number of {unitless}")
    else:
        raise UserError(f"{what}: {value!r} is neither text like {example} nor a whole number of {unitless}")
    if not 0 <= number <= maximum:
        raise UserError(f"{what}: {value!r} is out of range")
    return number


def parse_time(value: str | int, what: str = "time") -> int:
    """Picoseconds from text with a unit (ps, ns, us, ms, s, min, h), or from a whole number of picoseconds.

    Raises UserError for anything else, for a negative time, and for one that is not a whole number of picoseconds.
    `what` is named in the message.
    """
    return _parse(value, PICOSECONDS, "picoseconds", what, "30s or 1.5ms", MAXIMUM_PS)


def parse_size(value: str | int, what: str = "size") -> int:
    """Bytes from text with a binary unit (B, KiB, MiB, GiB, TiB), or from a whole number of bytes.

    Raises UserError for anything else and for a size that is not a whole number of bytes.
    """
    return _parse(value, BYTES, "bytes", what, "512MiB", MAXIMUM_BYTES)


def parse_rate(value: str | int, what: str = "rate") -> int:
    """Bits per second from text with a unit (b/s, kb/s, Mb/s, Gb/s; powers of ten), or from a whole number of them.

    Raises UserError for anything else.
    """
    text = value.removesuffix("/s") if isinstance(value, str) and value.endswith("b/s") else value
    return _parse(text, RATES, "bits per second", what, "10Gb/s", MAXIMUM_PS)


def parse_share(value: str | int, what: str) -> int:
    """Thousandths of a percent from text like "12.5%", or from a whole number of them. Raises UserError otherwise."""
    return _parse(value, {"%": 1000}, "thousandths of a percent", what, "25%", 100_000)


def whole_number(value: object, what: str, low: int, high: int) -> int:
    """The value, if it is an int from low to high. Raises UserError otherwise."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UserError(f"{what}: {value!r} is not a whole number from {low} to {high}")
    return value


def format_time(ps: int) -> str:
    """Exact text of a time in picoseconds, in the largest unit up to seconds that leaves no leading zero: 1.5 ms."""
    for unit in ("s", "ms", "us", "ns"):
        scale = PICOSECONDS[unit]
        if ps >= scale:
            whole, rest = divmod(ps, scale)
            fraction = f"{rest:0{len(str(scale)) - 1}d}".rstrip("0")
            return f"{whole}.{fraction} {unit}" if fraction else f"{whole} {unit}"
    return f"{ps} ps"
