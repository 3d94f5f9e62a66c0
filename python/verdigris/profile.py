"""Timing profiles: their constants, and others in their place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import _verdigris

from .errors import UserError, did_you_mean
from .world import Parameter, world


@dataclasses.dataclass(frozen=True)
class Constant:
    """A constant of a timing profile. docs/timing.md lists all."""

    value: int
    unit: str  # cycles, millicycles, ns, Hz, ...
    origin: str  # published, second-hand, calibrated or assumed
    meaning: str
    source: str


def profile_constants(profile: str = "sandy-bridge-ep") -> dict[str, Constant]:
    """The constants of a timing profile by name, as docs/timing.md lists them. UserError if there is no such profile."""
    return {name: Constant(*row) for name, *row in _verdigris.profile_constants(profile)}


def with_constants(profile: str, constants: Mapping[str, int]) -> str:
    """The name of the profile with these constants, and those of `--set`, in the place of its own."""
    here = world()
    settings = {name: value for name, value in here.settings.items() if "." in name}
    if not constants and not settings:
        return profile
    known = profile_constants(profile)
    for name, value in constants.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise UserError(f"constants: {name}: {value!r} is not a whole number")
    for name, text in settings.items():
        if not text.isdigit():
            raise UserError(f"--set {name}={text}: a constant of the timing profile is a whole number")
    given = {**constants, **{name: int(text) for name, text in settings.items()}}
    for name in given:
        if name not in known:
            raise UserError(f"the timing profile has no constant {name}; docs/timing.md lists all{did_you_mean(name, known)}")
    for name in settings:
        description = f"{known[name].meaning}, in {known[name].unit}; a constant of the timing profile"
        here.parameters[name] = Parameter(name, given[name], description)
    return profile + "".join(f":{name}={given[name]}" for name in sorted(given))
