"""What a scenario may catch."""

from __future__ import annotations

from _verdigris import UserError

__all__ = ["Cancelled", "Refused", "Timeout", "UserError"]


class Timeout(Exception):
    """What was awaited did not come within its limit, or never can. Uncaught, it is a failed check; exit status 1."""


class Refused(Timeout):
    """A guest, or the host for it, did not do what it was asked. Uncaught, it is a failed check; exit status 1."""


class Cancelled(BaseException):
    """Raised inside a task that is cancelled, at its present `await`."""
