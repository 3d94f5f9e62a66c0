"""Dynamic memory: how much RAM a guest has, and what it says of it."""

from __future__ import annotations

import dataclasses
from typing import Any

from .errors import Refused, UserError
from .tasks import Condition
from .units import parse_size
from .waiting import Ready, Told
from .world import deadline

_PAGE = 4096


@dataclasses.dataclass(frozen=True)
class MemoryStatus:
    """In bytes: what the guest has; what is in the balloon; what it said last that it could use still, and has promised.

    committed: what it has promised to its programs, and what is in the balloon. pressure: the former, in percent of what
    it has.
    """

    assigned: int
    ballooned: int
    available: int
    committed: int

    @property
    def pressure(self) -> int:
        """What the guest needs, in percent of what it has; above 100 it has too little."""
        return max(0, self.committed - self.ballooned) * 100 // self.assigned if self.assigned else 0


class Memory:
    """A guest's memory while it runs; its balloon driver does the work."""

    def __init__(self, name: str, native: Any) -> None:
        self._name = name
        self._native = native

    @property
    def assigned(self) -> int:
        """Bytes of RAM that the guest has now."""
        return int(self._native.memory()["assigned"])

    @property
    def status(self) -> MemoryStatus:
        """What is known now; the guest reports once a second."""
        now = self._native.memory()
        return MemoryStatus(now["assigned"], now["ballooned"], now["available"] * _PAGE, now["committed"] * _PAGE)

    def ready(self, within: str | int | None = "30s") -> Condition:
        """Awaits that the guest's driver is there."""
        return Ready(f"balloon driver of guest {self._name}", deadline(within), lambda: self._native.memory()["ready"])

    def reported(self, within: str | int | None = "60s") -> Condition:
        """Awaits the guest's next report. Linux begins 45 s after its driver has come."""
        before = self._native.memory()["reported_ps"]
        return Told(
            f"report of memory of guest {self._name}", deadline(within), lambda: self._native.memory()["reported_ps"] != before
        )

    async def balloon(self, to: str | int, within: str | int | None = "60s") -> int:
        """Takes pages from the guest, or gives it pages back, until it has so much; gives what it has then.

        The guest keeps what it needs itself, so it may be more. Pages that come back are zero. Refused if the host has not
        got the memory.
        """
        wanted = parse_size(to, "memory")
        await self.ready(within)
        now = self.assigned
        if wanted < now:
            await self._run("balloon", self._native.memory_balloon(now - wanted), within)
        elif wanted > now and self._native.memory()["ballooned"]:
            await self._run("return of pages", self._native.memory_unballoon(wanted - now), within)
        return self.assigned

    def balance(self, minimum: str | int, maximum: str | int, reserve: int = 20) -> None:
        """From now on, after each report, the balloon gives the guest what its programs need and a reserve.

        reserve: in percent of what they need, 0 to 2000. The guest has never less than minimum and never more than maximum,
        nor more than the memory it was made with and was given by add(); differences below 16 MiB are left alone. UserError
        if a value is wrong.
        """
        least, most = parse_size(minimum, "minimum of memory"), parse_size(maximum, "maximum of memory")
        if least > most:
            raise UserError(f"memory of guest {self._name}: the minimum of {minimum} is above the maximum of {maximum}")
        if not isinstance(reserve, int) or isinstance(reserve, bool) or not 0 <= reserve <= 2000:
            raise UserError(f"memory of guest {self._name}: reserve: {reserve!r} is not a whole number from 0 to 2000")
        self._native.memory_balance(least, most, reserve)

    def stop_balancing(self) -> None:
        """The guest keeps what it has; balloon() and add() are the scenario's again."""
        self._native.memory_leave()

    async def add(self, size: str | int, within: str | int | None = "60s") -> int:
        """Adds memory behind all there is; gives what the guest has then.

        size: a multiple of what the guest's system adds at a time, 128 MiB on Linux. Refused if the guest does not take it
        or the host has not got it.
        """
        wanted = parse_size(size, "memory")
        await self.ready(within)
        step = int(self._native.memory()["add_step"])
        if wanted == 0 or wanted % step:
            raise UserError(f"memory: {size} is not a multiple of {step >> 20} MiB, in which this guest adds memory")
        before = self.assigned
        await self._run("new memory", self._native.memory_add(wanted), within)
        if self.assigned == before:
            raise Refused(f"new memory of guest {self._name}: the guest does not take it")
        return self.assigned

    async def _run(self, what: str, started: bool, within: str | int | None) -> None:
        if not started:
            raise Refused(f"{what} of guest {self._name}: not now, or the host has not got the memory")
        await Told(f"{what} of guest {self._name}", deadline(within), lambda: self._native.memory()["idle"])
