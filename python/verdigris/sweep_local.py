"""Points of a sweep as parallel processes of this machine, and the line that shows how far it is."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from .errors import UserError
from .grid import Point
from .sweep_plan import Plan

_BAR_COLUMNS = 24


@dataclasses.dataclass
class Process:
    """A point that runs."""

    point: Point
    popen: subprocess.Popen[bytes]
    pidfd: int


class Progress:
    """One line on a terminal that is written over and over; nothing elsewhere."""

    def __init__(self, total: int, done: int) -> None:
        self._total, self._before = total, done
        self._began = time.monotonic()
        self._wanted = sys.stderr.isatty()
        self._shown = 0.0

    def show(self, done: int, running: int, failed: int, at_once: bool = False) -> None:
        """Shows it, ten times a second at most."""
        now = time.monotonic()
        if not self._wanted or (not at_once and now - self._shown < 0.1):
            return
        self._shown = now
        filled = _BAR_COLUMNS * done // max(1, self._total)
        bar = "#" * filled + "-" * (_BAR_COLUMNS - filled)
        left = self._left(done, now)
        text = f"[{bar}] {done} of {self._total} points done, {running} running, {failed} failed{left}"
        print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Takes the line away."""
        if self._wanted and self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _left(self, done: int, now: float) -> str:
        fresh = done - self._before
        if fresh <= 0 or done >= self._total:
            return ""
        seconds = int((now - self._began) / fresh * (self._total - done))
        return f", {seconds // 60} min {seconds % 60} s left" if seconds >= 60 else f", {seconds} s left"


def run_points(plan: Plan, points: Sequence[Point], jobs: int, lock: int, done: int) -> dict[Point, str]:
    """Runs points, so many at once. Gives those without a result, each with a line that says why.

    SIGINT and SIGTERM end what runs, with KeyboardInterrupt. UserError ends it too, when a mistake concerns every point.
    """
    with _interrupts_noted() as noted:
        return _run_points(plan, points, jobs, lock, done, noted)


@contextlib.contextmanager
def _interrupts_noted() -> Iterator[list[int]]:
    """SIGINT and SIGTERM are only noted, and KeyboardInterrupt comes at the end.

    Raised at once it may come while a process begins, which would be lost then, or where Python drops it.
    """
    noted: list[int] = []
    before = {number: signal.signal(number, lambda which, _: noted.append(which)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if noted:
        raise KeyboardInterrupt


def _run_points(plan: Plan, points: Sequence[Point], jobs: int, lock: int, done: int, interrupts: list[int]) -> dict[Point, str]:
    progress = Progress(done + len(points), done)
    waiting = list(reversed(points))
    running: list[Process] = []
    failed: dict[Point, str] = {}
    try:
        while (waiting or running) and not interrupts:
            while waiting and len(running) < jobs and not interrupts:
                running.append(_start(plan, waiting.pop(), lock))
            progress.show(done, len(running), len(failed))
            _wait(running)
            for process in [process for process in running if process.popen.poll() is not None]:
                running.remove(process)
                os.close(process.pidfd)
                done += 1
                line = _finish(plan, process)
                if line:
                    failed[process.point] = line
                    _give_up_if_all_would_fail(line)
        return failed
    finally:
        progress.clear()
        for process in running:
            process.popen.kill()
        for process in running:
            process.popen.wait()
            os.close(process.pidfd)


def _wait(running: Sequence[Process]) -> None:
    """Until one of them has ended; not for long, so that interrupts and the time left are looked at."""
    ended = select.poll()
    for process in running:
        ended.register(process.pidfd, select.POLLIN)
    ended.poll(100)


def run_point(plan: Plan, point: Point) -> str:
    """Runs one point, and waits. Gives a line if it left no result."""
    process = _start(plan, point, None)
    try:
        process.popen.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.popen.kill()
        os.close(process.pidfd)
    return _finish(plan, process)


def _start(plan: Plan, point: Point, lock: int | None) -> Process:
    plan.begin(point)
    try:
        with open(plan.log(point), "wb") as log:
            popen = subprocess.Popen(
                plan.command(point), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[] if lock is None else [lock],
            )  # fmt: skip
        # If this fails, the sweep ends, and the process with it.
        return Process(point, popen, os.pidfd_open(popen.pid))
    except OSError as error:
        raise UserError(f"cannot start a run of {point.name}: {error.strerror}") from None


def _finish(plan: Plan, process: Process) -> str:
    status = process.popen.returncode
    line = ""
    if status not in (0, 1) or plan.left_by(process.point) is None:
        line = plan.complaint(process.point, status)
    plan.end(process.point, status, line)
    return line


def _give_up_if_all_would_fail(line: str) -> None:
    """A wrong parameter or a full disk is the same for every point."""
    if line.startswith(("--", "cannot read the scenario", "cannot write")):
        raise UserError(line)
