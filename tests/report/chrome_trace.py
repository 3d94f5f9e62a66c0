"""Chrome's JSON trace format, as far as we write it: what each kind of event must have, and that slices fit into each other.

After "Trace Event Format" of the Chromium project.
"""

from __future__ import annotations

import json
import pathlib
from decimal import Decimal
from typing import Any

_COMMON = {"ph": str, "pid": int, "tid": int, "ts": Decimal, "name": str}
_EXTRA = {
    "M": {"args": dict},
    "i": {"cat": str, "s": str, "args": dict},
    "X": {"cat": str, "dur": Decimal, "args": dict},
    "b": {"cat": str, "id": str},
    "e": {"cat": str, "id": str},
    "C": {"args": dict},
}
_OPTIONAL = {"args"}


def read(path: pathlib.Path) -> list[dict[str, Any]]:
    """The events of a file. Times are exact decimals of microseconds. ValueError if it is no such file."""
    whole = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    if set(whole) != {"displayTimeUnit", "traceEvents"} or whole["displayTimeUnit"] not in ("ns", "ms"):
        raise ValueError(f"{path} is no trace")
    return whole["traceEvents"]


def complaints(events: list[dict[str, Any]]) -> list[str]:
    """What is wrong with events; empty if nothing is."""
    wrong: list[str] = []
    named: dict[str, set[Any]] = {"process_name": set(), "thread_name": set()}
    slices: dict[tuple[int, int], list[tuple[Decimal, Decimal]]] = {}
    stacks: dict[tuple[str, str], list[tuple[str, Decimal]]] = {}
    for number, event in enumerate(events):
        phase = event.get("ph")
        if phase not in _EXTRA:
            wrong.append(f"{number}: there is no phase {phase!r}")
            continue
        shape = _COMMON | _EXTRA[phase]
        for name, kind in shape.items():
            if name not in event:
                if name not in _OPTIONAL or phase in "MiXC":
                    wrong.append(f"{number}: {phase} has no {name}")
            elif not isinstance(event[name], kind):
                wrong.append(f"{number}: {name} is {event[name]!r}")
        if extra := set(event) - set(shape) - _OPTIONAL:
            wrong.append(f"{number}: {phase} has {extra}")
        if wrong:
            break
        track = (event["pid"], event["tid"])
        if phase == "M":
            named[event["name"]].add(event["pid"] if event["name"] == "process_name" else track)
            continue
        if event["ts"] < 0:
            wrong.append(f"{number}: before the beginning")
        if event["pid"] not in named["process_name"] or track not in named["thread_name"]:
            wrong.append(f"{number}: nothing says what {track} is")
        if phase == "i" and event["s"] not in ("t", "p", "g"):
            wrong.append(f"{number}: the scope {event['s']}")
        if phase == "C" and not all(isinstance(value, (int, Decimal)) for value in event["args"].values()):
            wrong.append(f"{number}: a counter without a number")
        if phase == "X":
            slices.setdefault(track, []).append((event["ts"], event["dur"]))
        key = (event.get("cat", ""), event.get("id", ""))
        if phase == "b":
            stacks.setdefault(key, []).append((event["name"], event["ts"]))
        if phase == "e":
            name, begun = stacks.get(key, [("", Decimal(-1))])[-1]
            if name != event["name"] or event["ts"] < begun:
                wrong.append(f"{number}: {event['name']} ends, but {name} is open")
            else:
                stacks[key].pop()
    for track, found in slices.items():
        end = Decimal(-1)
        for begin, length in sorted(found):
            if begin < end:
                wrong.append(f"slices of {track} overlap at {begin}")
            end = max(end, begin + length)
    return wrong
