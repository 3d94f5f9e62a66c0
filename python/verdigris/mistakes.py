"""What may have been meant where a scenario's Python is wrong: names that are nearly right, and habits of other libraries."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from .errors import did_you_mean

_KEYWORD = re.compile(r"(\w+)\.?__init__\(\) got an unexpected keyword argument '(\w+)'|([\w.]+)\(\) got an unexpected keyword argument '(\w+)'")

_PYTHONS_GUESS = re.compile(r"\. Did you mean '\w+'\?$")


def takes_one(function: Callable[..., Any]) -> bool:
    """Whether a function can be called with one argument."""
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    return True


def described(error: BaseException) -> str:
    """An error's words, and which name may have been meant. From Python 3.13 on some words end with Python's own guess, in
    another form; ours goes before, so that a line is the same with every Python."""
    words = str(error)
    bare = _PYTHONS_GUESS.sub("", words) if isinstance(error, TypeError) else words
    meant = _hint(error, bare)
    return bare + meant if meant else words


def _hint(error: BaseException, words: str) -> str:
    """The end of an error's line; nothing if no name is near."""
    if isinstance(error, AttributeError) and error.name is not None and error.obj is not None:
        return did_you_mean(error.name, (name for name in dir(error.obj) if not name.startswith("_")))
    if isinstance(error, RuntimeError) and words == "no running event loop":
        return ": asyncio does not work here; await sim.after(...) and other events of the simulation"
    if isinstance(error, TypeError):
        return _arguments(words)
    return ""


def _arguments(message: str) -> str:
    """Those of a class or method of the package that was called with one that it has not."""
    match = _KEYWORD.fullmatch(message)
    if match is None:
        return ""
    import verdigris

    place, wrong = (match[1], match[2]) if match[1] else (match[3], match[4])
    found: Any = verdigris
    for part in place.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        return ""
    names = [name for name in inspect.signature(found).parameters if name != "self"]
    return did_you_mean(wrong, names) or f"; it has {', '.join(names)}"
