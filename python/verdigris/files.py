"""Files of results: each appears under its name only when it is whole, and what is read is looked at before it is used."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from typing import Any

from .errors import UserError

# What is still being written ends like this. A killed run may leave one; the next run into the same folder takes it away.
PARTIAL = ".partial"


def write_whole(path: pathlib.Path, content: bytes | str) -> None:
    """Writes a file so that at no moment a part of it lies under its name. UserError if it cannot be written."""
    try:
        data = content.encode("utf-8") if isinstance(content, str) else content
    except UnicodeEncodeError as error:
        raise UserError(f"{path} cannot be written: {error.object[error.start]!a} is no character of UTF-8") from None
    partial = path.with_name(path.name + PARTIAL)
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def make_folder(path: pathlib.Path, what: str) -> None:
    """Makes a folder, and sees that one can write into it. UserError otherwise; `what` begins its line."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{what}: cannot make the folder {path}: {error.strerror}") from None
    # Only trying tells: permissions, read-only file systems and their like differ.
    probe = path / f"probe{PARTIAL}"
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT, 0o644))
        probe.unlink(missing_ok=True)  # another may look at the same moment
    except OSError as error:
        raise UserError(f"{what}: cannot write into {path}: {error.strerror}") from None


def json_text(value: Any) -> str:
    """The text of a JSON file as we write it."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def read_json(path: pathlib.Path, shape: Any, hint: str = "repeat the run") -> dict[str, Any]:
    """The content of a JSON file that has this shape (see `fits`). UserError if it is not there, damaged or another."""
    try:
        text = path.read_bytes().decode("utf-8")
        value = json.loads(text)
        if "\\u" in text:  # half of a pair of surrogates passes as JSON, but no file can hold it
            json_text(value).encode("utf-8")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged at line {error.lineno} ({error.msg}); {hint}") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path} is damaged: it is not JSON; {hint}") from None
    wrong = misfit(value, shape)
    if wrong is not None:
        raise UserError(f"{path} is damaged: {wrong}; {hint}")
    return dict(value)


def misfit(value: Any, shape: Any, place: str = "") -> str | None:
    """What of a JSON value does not have a shape, or None.

    A shape is a type, a tuple of types, [shape of each item], {"name": shape, "name?": shape if it is there,
    "*": shape of every other one}.
    """
    here = place or "the file"
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{here} is no object"
        for name, inner in shape.items():
            if name == "*":
                continue
            if name.rstrip("?") in value:
                wrong = misfit(value[name.rstrip("?")], inner, f"{place}.{name.rstrip('?')}".lstrip("."))
                if wrong is not None:
                    return wrong
            elif not name.endswith("?"):
                return f"{here} has no {name}"
        if "*" in shape:
            named = {name.rstrip("?") for name in shape}
            others = ((name, inner) for name, inner in value.items() if name not in named)
            wrongs = (misfit(inner, shape["*"], f"{place}.{name}".lstrip(".")) for name, inner in others)
            return next((wrong for wrong in wrongs if wrong is not None), None)
        return None
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{here} is no list"
        wrongs = (misfit(item, shape[0], f"{place}[{index}]") for index, item in enumerate(value))
        return next((wrong for wrong in wrongs if wrong is not None), None)
    # JSON's true is no number, although Python's is.
    types = shape if isinstance(shape, tuple) else (shape,)
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types and object not in types):
        return f"{here} is {type(value).__name__}, not {' or '.join(one.__name__ for one in types)}"
    return None
