"""The `sim` that main gets: time, checks, concurrent tasks, random numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar, Union

from .errors import UserError
from .measurements import Measurements
from .tasks import AllOf, Event, FirstOf, Task, TimeReached
from .units import MAXIMUM_PS, parse_time
from .world import World

Item = TypeVar("Item")
Awaitable = Union[Event, Coroutine[Event, None, Any]]


@dataclasses.dataclass(frozen=True)
class Check:
    """A statement about the run that holds or not."""

    name: str
    passed: bool
    detail: str


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The whole machine at one instant."""

    time_ps: int
    data: bytes
    partitions: dict[str, str]  # their states
    read: dict[str, int]  # how far each console had been read


class RandomStream:
    """Random numbers of the scenario, from the run's seed; the same on every machine."""

    def __init__(self, native: Any) -> None:
        self._native = native

    def below(self, bound: int) -> int:
        """Uniform in 0..bound-1. UserError unless 1 <= bound < 2^64."""
        if not 1 <= bound < 2**64:
            raise UserError(f"random.below: {bound} is not in 1..2^64-1")
        return int(self._native.below(bound))

    def between(self, low: int, high: int) -> int:
        """Uniform in low..high, both included."""
        if low > high:
            raise UserError(f"random.between: {low} is above {high}")
        return low + self.below(high - low + 1)

    def choice(self, items: Sequence[Item]) -> Item:
        """One of the items. UserError if there is none."""
        if not items:
            raise UserError("random.choice: there is nothing to choose from")
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """The items in random order."""
        rest = list(items)
        return [rest.pop(self.below(len(rest))) for _ in range(len(rest))]

    def next_u64(self) -> int:
        """64 random bits."""
        return int(self._native.next_u64())


class Simulation:
    """The run, as main sees it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.checks: list[Check] = []
        self.random = RandomStream(world.machine.random())
        self.measure = Measurements()

    @property
    def now(self) -> int:
        """Simulated time in picoseconds."""
        return self._world.now_ps()

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self._world.machine.seed)

    def at(self, time: str | int) -> Event:
        """Awaits a point in simulated time ("35s", or picoseconds). One that has passed is there at once."""
        return TimeReached(parse_time(time, "at"))

    def after(self, delay: str | int) -> Event:
        """Awaits a delay from now ("1.5ms", or picoseconds)."""
        return TimeReached(min(self.now + parse_time(delay, "after"), MAXIMUM_PS))

    def check(self, name: str, condition: object, detail: str = "") -> bool:
        """Records whether a condition holds, and gives it as a bool. The run goes on; it ends with status 1 if one failed."""
        passed = bool(condition)
        self.checks.append(Check(str(name), passed, str(detail)))
        self._world.machine.record_check(str(name), passed)
        return passed

    def record(self, name: str, value: int, unit: str = "count", description: str = "") -> None:
        """A figure of the scenario's own for stats.csv and result.json, there as `scenario.NAME`; the last value counts.

        UserError unless it is a whole number from 0 to 2^64-1.
        """
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**64:
            raise UserError(f"record {name}: {value!r} is not a whole number from 0 to 2^64-1")
        self._world.machine.record_statistic(str(name), value, str(unit), str(description))

    def checkpoint(self) -> Checkpoint:
        """The whole machine as it is now: processors, memory, devices, network, what is under way."""
        partitions = self._world.partitions
        states = {partition.name: partition.state for partition in partitions}
        read = {partition.name: partition.console._position for partition in partitions}
        return Checkpoint(self.now, bytes(self._world.machine.save()), states, read)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Puts the machine back to a checkpoint of this run; it goes on from there exactly as it did.

        What the scenario itself has noted (checks, variables, tasks) stays. UserError if guests have ended or partitions or
        devices have come since.
        """
        partitions = self._world.partitions
        if {partition.name: partition.state for partition in partitions} != checkpoint.partitions:
            raise UserError("restore: partitions have come or ended since the checkpoint")
        self._world.machine.restore(checkpoint.data)
        for partition in partitions:
            partition.console._rewind(checkpoint.read[partition.name])

    def trace_hash(self) -> str:
        """The hash of all that has happened so far, 32 hexadecimal digits."""
        return str(self._world.machine.trace_hash())

    def start(self, coroutine: Coroutine[Event, None, Any], name: str | None = None) -> Task:
        """Runs a coroutine beside main; awaiting the task gives its result. What still runs when main returns is cancelled.

        An exception that nobody awaits at that time ends the run.
        """
        return self._world.scheduler.start(coroutine, name)

    async def first(self, *awaitables: Awaitable) -> tuple[int, Any]:
        """Awaits the first of several events or coroutines: gives its position and its result, or raises what it raised.

        Coroutines that are handed over and have not finished are cancelled.
        """
        events, own = self._events(awaitables, "first")
        try:
            return await FirstOf(events)
        finally:
            for task in own:
                task.cancel()

    async def all(self, *awaitables: Awaitable) -> list[Any]:
        """Awaits all of several events or coroutines: gives their results in order; raises as soon as one raises."""
        events, own = self._events(awaitables, "all")
        try:
            return await AllOf(events)
        finally:
            for task in own:
                task.cancel()

    def _events(self, awaitables: tuple[Awaitable, ...], what: str) -> tuple[list[Event], list[Task]]:
        if not awaitables:
            raise UserError(f"sim.{what}: nothing to wait for")
        events: list[Event] = []
        own: list[Task] = []
        for awaitable in awaitables:
            if isinstance(awaitable, Event):
                events.append(awaitable)
            else:
                own.append(self.start(awaitable))
                events.append(own[-1])
        return events, own
