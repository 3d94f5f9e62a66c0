"""Waiting that something is so, or for what a guest's services answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import Refused
from .tasks import Condition

# Of what tells nobody when it is there: so often it is looked at.
_LOOK_PS = 10 * 10**9


class Told(Condition):
    """That something is so, which the machine tells of."""

    def __init__(self, label: str, deadline_ps: int | None, is_so: Callable[[], object]) -> None:
        super().__init__(label, deadline_ps)
        self._is_so = is_so

    def happened(self) -> bool:
        return bool(self._is_so())


class Ready(Told):
    """That something is so, looked at every 10 ms."""

    def watched_deadline(self, now_ps: int) -> int | None:
        again = now_ps + _LOOK_PS
        return again if self.deadline_ps is None else min(again, self.deadline_ps)


class Answer(Condition):
    """The answer to a question; gives it, or raises Refused."""

    def __init__(self, label: str, take: Callable[[], dict[str, Any] | None]) -> None:
        # The service itself answers "timed out" in the end.
        super().__init__(label, None)
        self._take = take
        self._answer: dict[str, Any] | None = None

    def happened(self) -> bool:
        if self._answer is None:
            self._answer = self._take()
        return self._answer is not None

    def value(self) -> dict[str, Any]:
        assert self._answer is not None
        if self._answer["outcome"] != "answered":
            raise Refused(f"{self.label}: {self._answer['outcome']}")
        if self._answer["status"] != 0:
            raise Refused(f"{self.label}: the guest says {self._answer['status']:#x}")
        return self._answer
