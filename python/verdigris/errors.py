"""What a scenario may catch."""

from __future__ import annotations

import sys
from collections.abc import Iterable

# The executable has the C++ side built in. A plain Python that only reads results has not.
EMBEDDED = "_verdigris" in sys.builtin_module_names

if EMBEDDED:
    from _verdigris import UserError
else:

    class UserError(Exception):  # type: ignore[no-redef]
        """A mistake in an option or a file: what is wrong, and how to mend it, in one line."""


__all__ = ["Cancelled", "Refused", "Timeout", "UserError"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about a name that is not known: "; did you mean load?", or nothing."""
    import difflib  # only where something is wrong

    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


class Timeout(Exception):
    """What was awaited did not come within its limit, or never can. Uncaught, it is a failed check; exit status 1."""


class Refused(Timeout):
    """A guest, or the host for it, did not do what it was asked. Uncaught, it is a failed check; exit status 1."""


class Cancelled(BaseException):
    """Raised inside a task that is cancelled, at its present `await`."""
