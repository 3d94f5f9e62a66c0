"""Runs a scenario: loads the file, drives host and coroutines by turns, turns every end into results and an exit status."""

from __future__ import annotations

import dataclasses
import inspect
import pathlib
import sys
import time
import traceback
import types
from typing import Any

import _verdigris

from . import world as worlds
from .errors import Timeout, UserError
from .mistakes import described, takes_one
from .parameters import check_settings, parse_settings, print_parameters
from .results import Ending, Folder, print_summary
from .simulation import Check, Simulation
from .tasks import Task
from .trace_option import parse_trace
from .units import format_time, parse_time

PASSED, FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130


class _UntilReached(Exception):
    """The time that --until names has come before main returned."""


def run(
    scenario: str,
    settings: list[str],
    out: str,
    trace: str,
    until: str,
    images: str,
    host_time: bool,
    verbose: bool,
    point: bool = False,
    parameters: bool = False,
) -> int:
    """The command `run`; gives the exit status. `point`: it is a point of a sweep. `parameters`: only lists them."""
    place = pathlib.Path(scenario)
    try:
        world = worlds.begin(scenario, images, parse_settings(settings))
        until_ps = parse_time(until, "--until") if until else None
        wanted = parse_trace(trace)
        if parameters:
            out = trace = ""
            host_time = False
        if trace and not out:
            raise UserError("--trace writes into the folder of results: add --out DIR")
        if host_time and not out:
            raise UserError("--host-time writes host_time.csv into the folder of results: add --out DIR")
        source = _read(place)
        folder = Folder(pathlib.Path(out), point) if out else None
        world.out = folder.path if folder is not None else None
        if folder is not None:
            if wanted.pcap:
                world.machine.capture_into(str(folder.capture_folder()))
            if wanted.text:
                world.machine.write_trace(str(folder.growing("trace.txt")), wanted.text)
            if wanted.perfetto:
                world.machine.write_perfetto(str(folder.growing("trace.json")), wanted.perfetto)
            if wanted.vcd:
                world.machine.write_vcd(str(folder.growing("trace.vcd")))
    except UserError as error:
        return _complain(str(error))
    started = time.monotonic()
    sim = Simulation(world)
    try:
        module = _load(place, source)
        check_settings()
        main = getattr(module, "main", None)
        if not inspect.iscoroutinefunction(main):
            raise UserError(f"{scenario}: a scenario has an `async def main(sim)`; this one has none")
        if not takes_one(main):
            raise UserError(f"{scenario}: main takes one argument, the simulation: `async def main(sim)`")
        if world.host is None:
            raise UserError(f"{scenario}: the scenario has no host; make one with vg.Host(...) before main")
        if parameters:
            print_parameters()
            return PASSED
    except KeyboardInterrupt:
        print("verdigris: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BaseException as error:  # whatever a scenario raises
        return _complain(_explain(error, place), error if verbose else None)

    sampler = _verdigris.HostTime() if host_time else None
    ending, status, complaint, cause = _drive(world, main(sim), sim, until_ps, place)
    _verdigris.hold_interrupts()
    try:
        counts = world.machine.close_trace()
        result = dataclasses.replace(ending, wall_s=time.monotonic() - started)
        if folder is not None:
            if sampler is not None:
                folder.write_host_time(*sampler.shares())
            folder.write(world, sim, result, source)
    except (UserError, OSError) as error:
        return _complain(str(error))
    unseen = [kind for kind in dict.fromkeys(wanted.text + wanted.perfetto) if kind != "all" and kind not in counts]
    if unseen:
        print(f"verdigris: --trace: the run had no record of kind {', '.join(unseen)}", file=sys.stderr)
    if status != USER_ERROR or ending.ended == "until":
        print_summary(world, sim)
    if complaint:
        _complain(complaint, cause if verbose else None)
    if status == PASSED and not all(check.passed for check in sim.checks):
        status = FAILED
    return status


def _drive(
    world: worlds.World, coroutine: Any, sim: Simulation, until_ps: int | None, place: pathlib.Path
) -> tuple[Ending, int, str, BaseException | None]:
    """Runs main to its end: how it ended, the exit status, the line for the error output, the exception behind it."""
    scheduler = world.scheduler
    task = scheduler.start(coroutine, "main")
    try:
        _loop(world, task, until_ps)
        task.result()
        scheduler.cancel_all()
        if _verdigris.interrupted():
            raise KeyboardInterrupt
        return Ending("finished"), PASSED, "", None
    except KeyboardInterrupt:
        return Ending("interrupted", interrupted=True), INTERRUPTED, "interrupted; results so far are kept", None
    except _UntilReached:
        waits = scheduler.waits()
        line = f"{place}: the scenario has not ended by --until {format_time(until_ps or 0)}; it waits for {waits}"
        return Ending("until"), USER_ERROR, line, None
    except Timeout as error:
        sim.checks.append(Check(str(error), False, _place(error, place)))
        return Ending("timeout"), FAILED, "", None
    except BaseException as error:  # whatever a scenario raises
        return Ending("error"), USER_ERROR, _explain(error, place), error


def _loop(world: worlds.World, main: Task, until_ps: int | None) -> None:
    machine, scheduler = world.machine, world.scheduler

    def over(now_ps: int) -> bool:
        return until_ps is not None and now_ps >= until_ps

    # Also at a deadline at which nothing is ready: who only looks again then names the next one.
    deadline_ps: int | None = None

    def wake() -> bool:
        now = world.now_ps()
        return over(now) or scheduler.any_ready(now) or (deadline_ps is not None and now >= deadline_ps)

    while True:
        scheduler.step_all(world.now_ps, main)
        if main.done:
            return
        if _verdigris.interrupted():
            raise KeyboardInterrupt
        now_ps = world.now_ps()
        if over(now_ps):
            raise _UntilReached
        # --until is a deadline among the others, so that the host stands exactly there.
        deadlines = [time for time in (until_ps, scheduler.next_deadline(now_ps)) if time is not None]
        deadline_ps = min(deadlines, default=None)
        stopped = machine.run(None, wake, deadline_ps)
        if stopped == "interrupted":
            raise KeyboardInterrupt
        if stopped == "idle" and not scheduler.any_ready(world.now_ps()):
            reason = f"nothing is left to happen after {format_time(world.now_ps())}"
            scheduler.fail_waiting(reason)


def _read(place: pathlib.Path) -> bytes:
    try:
        return place.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the scenario {place}: {error.strerror}") from None


def _load(place: pathlib.Path, source: bytes) -> types.ModuleType:
    module = types.ModuleType("scenario")
    module.__file__ = str(place)
    sys.modules["scenario"] = module
    # What lies beside the scenario can be imported, but never hides a module of the library.
    sys.path.append(str(place.parent.resolve()))
    exec(compile(source, str(place), "exec", dont_inherit=True), module.__dict__)
    return module


def _scenario_frames(error: BaseException, place: pathlib.Path) -> list[traceback.FrameSummary]:
    """The frames of the scenario and of what it imports from its folder."""
    folder, package = place.parent.resolve(), pathlib.Path(__file__).resolve().parent

    def is_ours(filename: str) -> bool:
        path = pathlib.Path(filename).resolve()
        return path != place.resolve() and package in path.parents

    return [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")
        and folder in pathlib.Path(frame.filename).resolve().parents
        and not is_ours(frame.filename)
    ]


def _place(error: BaseException, place: pathlib.Path) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno or 1}"
    frames = _scenario_frames(error, place)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(place)


def _explain(error: BaseException, place: pathlib.Path) -> str:
    """One line: where in the scenario, and what."""
    if isinstance(error, UserError) and not _scenario_frames(error, place):
        return str(error)
    if isinstance(error, UserError):
        what = str(error)
    elif isinstance(error, Timeout):
        what = str(error)
    elif isinstance(error, SyntaxError):
        what = f"{type(error).__name__}: {error.msg}"
    elif isinstance(error, SystemExit):
        what = "the scenario called exit; return from main instead"
    else:
        what = f"{type(error).__name__}: {described(error)}".rstrip(": ")
    return f"{_place(error, place)}: {what}"


def _complain(message: str, error: BaseException | None = None) -> int:
    """One line on the error output; with an error also the scenario's calls that led to it."""
    sys.stdout.flush()
    print(f"verdigris: {' '.join(message.split())}", file=sys.stderr)
    if error is not None:
        frames = _scenario_frames(error, worlds.world().scenario)
        print("".join(traceback.format_list(frames)), end="", file=sys.stderr)
    return USER_ERROR
