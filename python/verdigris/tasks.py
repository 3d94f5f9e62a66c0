"""Coroutines that await simulated time and events, run one at a time in a fixed order."""

from __future__ import annotations

import collections
import inspect
import sys
from collections.abc import Callable, Coroutine, Generator
from opcode import opmap
from typing import Any

from .errors import Cancelled, Timeout, UserError
from .units import format_time

# So many steps without simulated time going on are a scenario that spins.
MAXIMUM_STEPS = 1_000_000


class Event:
    """Something that a coroutine can await. Subclasses say when it is there and what awaiting it gives.

    `label` says what is awaited, for messages; `deadline_ps` is when the wait ends at the latest, or None.
    """

    def __init__(self, label: str, deadline_ps: int | None = None) -> None:
        self.label = label
        self.deadline_ps = deadline_ps
        self._used = False

    def ready(self, now_ps: int) -> bool:
        """Whether awaiting it would go on now. Must depend on nothing outside the simulated world."""
        raise NotImplementedError

    def result(self) -> Any:
        """What `await` gives, once it is ready; may raise."""
        return None

    def watched_deadline(self, now_ps: int) -> int | None:
        """When to look at it again at the latest, if nothing else happens."""
        return self.deadline_ps

    def __await__(self) -> Generator[Event, None, Any]:
        self._used = True
        yield self
        return self.result()


# Waits that a scenario has made and thrown away at once, each as a message: it forgot to write `await`.
_forgotten: list[str] = []


class Wait(Event):
    """An event that is made only to be awaited. A statement that makes one and does not is a mistake of the scenario."""

    def __del__(self) -> None:
        try:
            if self._used:
                return
            frame = sys._getframe(1)
        except (AttributeError, ValueError):  # half made, or at the interpreter's end
            return
        # The value of an expression statement goes by this instruction, while the frame is still at its line.
        if frame.f_lasti >= 0 and frame.f_code.co_code[frame.f_lasti] == opmap["POP_TOP"]:
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            _forgotten.append(f"{place}: nothing waits for {self.label}: write await before it")


class TimeReached(Wait):
    """A point in simulated time."""

    def __init__(self, at_ps: int) -> None:
        super().__init__(f"time {format_time(at_ps)}", at_ps)
        self.at_ps = at_ps

    def ready(self, now_ps: int) -> bool:
        return now_ps >= self.at_ps


class Condition(Event):
    """Waits until `happened()` is true, at most until a deadline; then raises Timeout."""

    def __init__(self, label: str, deadline_ps: int | None) -> None:
        super().__init__(label, deadline_ps)
        self._met = False

    def happened(self) -> bool:
        """Whether it is so. Asked again and again until it is."""
        raise NotImplementedError

    def value(self) -> Any:
        """What `await` gives when it has happened."""
        return None

    def ready(self, now_ps: int) -> bool:
        self._met = self._met or self.happened()
        return self._met or (self.deadline_ps is not None and now_ps >= self.deadline_ps)

    def result(self) -> Any:
        if not self._met:
            raise Timeout(f"no {self.label} by {format_time(self.deadline_ps or 0)}")
        return self.value()


class Task(Event):
    """A coroutine that runs beside others; awaiting it gives its result or raises its exception."""

    def __init__(self, scheduler: Scheduler, coroutine: Coroutine[Event, None, Any], name: str) -> None:
        super().__init__(f"task {name}")
        self.name = name
        self.done = False
        self._scheduler = scheduler
        self._coroutine = coroutine
        self._waits_for: Event | None = None
        self._value: Any = None
        self._exception: BaseException | None = None

    def ready(self, now_ps: int) -> bool:
        return self.done

    def result(self) -> Any:
        """The coroutine's result; raises what it raised. Only once it is done."""
        if self._exception is not None:
            raise self._exception
        return self._value

    def cancel(self) -> None:
        """Ends the task at its present `await`, if it has not ended yet."""
        self._scheduler.cancel(self)

    def step(self, exception: BaseException | None = None) -> None:
        """Runs the coroutine up to its next `await`."""
        self._waits_for = None
        try:
            awaited = self._coroutine.throw(exception) if exception else self._coroutine.send(None)
        except StopIteration as stop:
            self.done, self._value = True, stop.value
        except Cancelled:
            self.done = True
            self._exception = Timeout(f"the task {self.name} was cancelled")
        except BaseException as raised:
            self.done, self._exception = True, raised
            if not isinstance(raised, Exception):
                raise
        else:
            if not isinstance(awaited, Event):
                self.step(UserError(f"{awaited!r} cannot be awaited in a scenario"))
            else:
                self._waits_for = awaited


def _used(events: list[Event]) -> list[Event]:
    for event in events:
        event._used = True
    return events


class FirstOf(Event):
    """The first of several events: gives (index, result)."""

    def __init__(self, events: list[Event]) -> None:
        super().__init__(" or ".join(event.label for event in events))
        self.events = _used(events)
        self._index: int | None = None

    def ready(self, now_ps: int) -> bool:
        if self._index is None:
            self._index = next((index for index, event in enumerate(self.events) if event.ready(now_ps)), None)
        return self._index is not None

    def result(self) -> tuple[int, Any]:
        assert self._index is not None
        return self._index, self.events[self._index].result()

    def watched_deadline(self, now_ps: int) -> int | None:
        return min((d for event in self.events if (d := event.watched_deadline(now_ps)) is not None), default=None)


class AllOf(Event):
    """All of several events: gives their results in order, as soon as all are there or one has failed."""

    def __init__(self, events: list[Event]) -> None:
        super().__init__(" and ".join(event.label for event in events))
        self.events = _used(events)
        self._results: dict[int, Any] = {}
        self._exception: Exception | None = None

    def ready(self, now_ps: int) -> bool:
        for index, event in enumerate(self.events):
            if self._exception is None and index not in self._results and event.ready(now_ps):
                try:
                    self._results[index] = event.result()
                except Exception as raised:
                    self._exception = raised
        return self._exception is not None or len(self._results) == len(self.events)

    def result(self) -> list[Any]:
        if self._exception is not None:
            raise self._exception
        return [self._results[index] for index in range(len(self.events))]

    def watched_deadline(self, now_ps: int) -> int | None:
        left = (event for index, event in enumerate(self.events) if index not in self._results)
        return min((d for event in left if (d := event.watched_deadline(now_ps)) is not None), default=None)


class Scheduler:
    """Runs tasks. Order is fixed: ready tasks in the order in which they became ready, those of one instant by age."""

    def __init__(self) -> None:
        self._runnable: collections.deque[Task] = collections.deque()
        self._waiting: list[Task] = []
        self._started = 0
        self._steps = 0
        self._steps_at_ps = -1

    def start(self, coroutine: Coroutine[Event, None, Any], name: str | None = None) -> Task:
        """Makes a task of a coroutine; it takes its first step when the present one awaits."""
        if not inspect.iscoroutine(coroutine):
            raise UserError(f"{coroutine!r} is not a coroutine; call an `async def` function and hand over the result")
        self._started += 1
        task = Task(self, coroutine, name or coroutine.__qualname__)
        self._runnable.append(task)
        return task

    def cancel(self, task: Task) -> None:
        """Raises Cancelled inside the task and lets it clean up, without awaiting anything more."""
        if task.done:
            return
        if task in self._waiting:
            self._waiting.remove(task)
        if task in self._runnable:
            self._runnable.remove(task)
        if inspect.getcoroutinestate(task._coroutine) == inspect.CORO_CREATED:
            task._coroutine.close()
            task.done, task._exception = True, Timeout(f"the task {task.name} was cancelled")
            return
        task.step(Cancelled())
        if not task.done:
            task._coroutine.close()
            task.done, task._exception = True, Timeout(f"the task {task.name} was cancelled")

    def cancel_all(self) -> None:
        """Ends whatever still runs, newest first."""
        for task in [*self._waiting, *self._runnable][::-1]:
            self.cancel(task)

    def step_all(self, now: Callable[[], int], main: Task) -> None:
        """Runs every task until each waits for something that is not there yet, or `main` is done.

        A step may put the machine back to an earlier time. A task that fails while nobody waits for it raises here: an error must not get lost.
        """
        if now() != self._steps_at_ps:
            self._steps, self._steps_at_ps = 0, now()
        while not main.done:
            if not self._runnable:
                self._collect_ready(now())
                if not self._runnable:
                    return
            task = self._runnable.popleft()
            self._steps += 1
            if self._steps > MAXIMUM_STEPS:
                raise UserError(f"the scenario spins at {format_time(now())}: it awaits nothing that takes simulated time")
            task.step()
            if _forgotten:
                raise UserError(_forgotten.pop(0))
            if not task.done:
                self._waiting.append(task)
            elif task is not main and task._exception is not None and not self._is_awaited(task):
                raise task._exception

    def any_ready(self, now_ps: int) -> bool:
        """Whether some task could go on."""
        return any(task._waits_for is not None and task._waits_for.ready(now_ps) for task in self._waiting)

    def next_deadline(self, now_ps: int) -> int | None:
        """The earliest time at which some wait ends by itself."""
        events = (task._waits_for for task in self._waiting if task._waits_for is not None)
        return min((d for event in events if (d := event.watched_deadline(now_ps)) is not None), default=None)

    def fail_waiting(self, reason: str) -> None:
        """Nothing more can happen: every wait ends with Timeout. Called when the host is idle and no deadline is left."""
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            label = task._waits_for.label if task._waits_for is not None else "event"
            task.step(Timeout(f"no {label}: {reason}"))
            if not task.done:
                self._waiting.append(task)

    def waits(self) -> str:
        """What the tasks wait for, for a message."""
        return ", ".join(task._waits_for.label for task in self._waiting if task._waits_for is not None)

    def _collect_ready(self, now_ps: int) -> None:
        ready = [task for task in self._waiting if task._waits_for is not None and task._waits_for.ready(now_ps)]
        if ready:
            self._waiting = [task for task in self._waiting if task not in ready]
            self._runnable.extend(ready)

    def _is_awaited(self, task: Task) -> bool:
        def holds(event: Event | None) -> bool:
            if event is task:
                return True
            return isinstance(event, (FirstOf, AllOf)) and any(holds(part) for part in event.events)

        return any(holds(waiting._waits_for) for waiting in [*self._waiting, *self._runnable])
