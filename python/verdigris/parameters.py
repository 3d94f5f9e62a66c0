"""Parameters of a scenario, which `--set NAME=VALUE` changes."""

from __future__ import annotations

from typing import TypeVar

from .errors import UserError, did_you_mean
from .grid import names_a_setting
from .world import Parameter, world

Value = TypeVar("Value", int, str, float, bool)

_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def parameter(name: str, default: Value, description: str) -> Value:
    """Declares a parameter, at module level, and gives its value: `--set NAME=VALUE`, or else the default.

    The value has the default's type: int, str, float or bool (true/false). Times and sizes are best kept as text.
    Raises UserError if the name is declared twice, declared after the start, or the value does not fit the type.
    """
    here = world()
    if not here.declaring:
        raise UserError(f"the parameter {name} must be declared at module level, before main runs")
    if not name.isidentifier():
        raise UserError(f"{name!r} is not a parameter's name: letters, digits and _")
    if name in here.parameters:
        raise UserError(f"the parameter {name} is declared twice")
    if not isinstance(default, (int, str, float)):
        raise UserError(f"the parameter {name} is a {type(default).__name__}; it may be int, str, float or bool")
    value = _convert(name, here.settings[name], default) if name in here.settings else default
    here.parameters[name] = Parameter(name, value, description)
    return value


def parse_settings(settings: list[str]) -> dict[str, str]:
    """NAME=VALUE pairs of the command line. Raises UserError if one is malformed or twice there."""
    parsed: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not names_a_setting(name):
            raise UserError(f"--set {setting}: write it as NAME=VALUE")
        if name in parsed:
            raise UserError(f"--set {name} is given twice")
        parsed[name] = value
    return parsed


def check_settings() -> None:
    """Raises UserError if --set names a parameter that the scenario has not declared."""
    here = world()
    here.declaring = False
    for name in here.settings:
        if name not in here.parameters:
            known = ", ".join(here.parameters) or "none"
            if "." in name:
                raise UserError(f"--set {name}: a constant of the timing profile is set for a host, and the scenario has none")
            meant = did_you_mean(name, here.parameters)
            raise UserError(f"--set {name}: the scenario has no such parameter; it has {known}{meant}")


def print_parameters() -> None:
    """What `--set` can change in the scenario, one line each: name, value, description."""
    parameters = list(world().parameters.values())
    width = max((len(f"{each.name}={each.value}") for each in parameters), default=0)
    for each in parameters:
        print(f"{f'{each.name}={each.value}':<{width}}  {each.description}".rstrip())
    if not parameters:
        print("this scenario has no parameters")


def _convert(name: str, text: str, default: Value) -> Value:
    if isinstance(default, str):
        return text
    try:
        if isinstance(default, bool):
            return _BOOLEANS[text.lower()]
        return type(default)(text, 0) if isinstance(default, int) else type(default)(text)
    except (ValueError, KeyError):
        kind = {int: "a whole number", float: "a number", bool: "true or false"}[type(default)]
        raise UserError(f"--set {name}={text}: {name} is {kind}") from None
