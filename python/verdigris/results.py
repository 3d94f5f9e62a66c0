"""What a run leaves behind: the folder of `--out`, and the lines on the standard output."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import shutil
import sys
from typing import TYPE_CHECKING, Any

import _verdigris

from .csv_file import csv_text
from .errors import UserError
from .files import PARTIAL, json_text, make_folder, write_whole
from .measured_tables import measured_lines
from .simulation import Simulation
from .units import format_time
from .world import World

if TYPE_CHECKING:
    from .host import Host

# What is there before the end of the run, under names with `.partial`.
_GROWING = ("trace.txt", "trace.json", "trace.vcd", "host_time.csv")
_STATISTICS = ["name", "value", "unit", "description"]


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a run ended: finished (main returned), timeout, until, interrupted or error; and how long it took."""

    ended: str
    interrupted: bool = False
    wall_s: float = 0.0


class Folder:
    """The folder that `--out` names. UserError if it cannot be written, before the run begins.

    Files appear in it under their names only when they are whole. What grows during the run (trace, captures) does so
    under names with `.partial`.
    """

    def __init__(self, path: pathlib.Path, point: bool = False) -> None:
        self.path = path
        self._captures = path / f"captures{PARTIAL}"
        self._point = point
        make_folder(path, "--out")
        if (path / "result.json").is_dir():
            raise UserError(f"--out: {path / 'result.json'} is a folder; name another place")
        # What an earlier run of perhaps another scenario left would be taken for this one's, also if it did not come as far as
        # result.json. That goes first, and last stats.csv, so that also who is killed here leaves a folder that is known.
        known = ["result.json", *_GROWING, "report.html", "console-*.txt", "*.pcapng", "*.png", "stats.csv"]
        ours = (path / "result.json").exists() or _is_statistics(path / "stats.csv")
        stale = [found for pattern in known for found in sorted(path.glob(pattern))] if ours else []
        stale += sorted(path.glob(f"*{PARTIAL}"))
        try:
            if self._captures.is_dir():
                shutil.rmtree(self._captures)
            for file in stale:
                if not file.is_dir():
                    file.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"--out: cannot write into {path}: {error.strerror}") from None

    def growing(self, name: str) -> pathlib.Path:
        """Where a file lies while it grows."""
        return self.path / f"{name}{PARTIAL}"

    def capture_folder(self) -> pathlib.Path:
        """Where captures grow."""
        make_folder(self._captures, "--out")
        return self._captures

    def write(self, world: World, sim: Simulation, ending: Ending, source: bytes) -> None:
        """Writes everything. stats.csv comes first: it tells that the others are a run's. result.json comes last: where it is,
        the rest is complete. UserError if that fails."""
        statistics = world.machine.statistics()
        rows = ([name, *entry] for name, entry in statistics.items())
        write_whole(self.path / "stats.csv", csv_text(_STATISTICS, rows))
        try:
            for name in _GROWING:
                if self.growing(name).exists():
                    os.replace(self.growing(name), self.path / name)
            if self._captures.is_dir():
                for capture in sorted(self._captures.iterdir()):
                    os.replace(capture, self.path / capture.name)
                self._captures.rmdir()
        except OSError as error:
            raise UserError(f"cannot write into {self.path}: {error.strerror}") from None
        for partition in world.partitions:
            write_whole(self.path / f"console-{partition.name}.txt", partition.console.raw)
        result = {**_result(world, sim, ending, statistics), "sources": _sources(world.scenario, source)}
        if world.files:
            result["files"] = dict(sorted(world.files.items()))
        # Points of a sweep are compared byte by byte; how long one took is in the sweep's own records.
        if not self._point:
            result["wall_s"] = round(ending.wall_s, 3)
        write_whole(self.path / "result.json", json_text({**result, **sim.measure.as_result()}))
        if not self._point:
            _write_report(self.path)

    def write_host_time(self, parts: dict[str, int], functions: dict[str, int]) -> None:
        """Writes samples of 1 ms each, by part of the program and by function, most first."""
        rows = [
            (level, name, samples)
            for level, shares in (("part", parts), ("function", functions))
            for name, samples in sorted(shares.items(), key=lambda item: (-item[1], item[0]))
        ]
        write_whole(self.growing("host_time.csv"), csv_text(["level", "name", "samples"], rows))


def _is_statistics(path: pathlib.Path) -> bool:
    """Whether a run wrote this stats.csv."""
    if not path.is_file():
        return False
    try:
        with open(path, "rb") as file:
            return file.readline(100) == csv_text(_STATISTICS, []).encode()
    except OSError:
        return False


def _write_report(folder: pathlib.Path) -> None:
    try:
        from . import report
    except ImportError:
        return
    report.write(folder)


def _sources(scenario: pathlib.Path, source: bytes) -> dict[str, str]:
    """SHA-256 of the scenario, and of what it imported from beside it, by path from its folder."""
    folder, package = scenario.parent.resolve(), pathlib.Path(__file__).resolve().parent
    found = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or module.__name__ == "scenario":
            continue
        # A module may lie beside the scenario as a link to elsewhere, or be imported by another name of the folder.
        path = pathlib.Path(file)
        if folder not in path.parents:
            path = path.resolve()
        if folder in path.parents and package not in path.resolve().parents and path.is_file():
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return {scenario.name: hashlib.sha256(source).hexdigest(), **dict(sorted(found.items()))}


def _result(world: World, sim: Simulation, ending: Ending, statistics: dict[str, tuple[int, str, str]]) -> dict[str, Any]:
    host = world.host
    return {
        "scenario": str(world.scenario),
        "parameters": {parameter.name: parameter.value for parameter in world.parameters.values()},
        "seed": sim.seed,
        "version": _verdigris.version,
        "ended": ending.ended,
        "interrupted": ending.interrupted,
        "trace_hash": world.machine.trace_hash(),
        "sim_time_ps": world.now_ps(),
        "instructions": world.machine.instructions,
        "host": _host(host) if host else None,
        **({"hosts": {host.name: _host(host) for host in world.hosts}} if len(world.hosts) > 1 else {}),
        "partitions": {
            partition.name: {
                "state": partition.state,
                "exit_code": partition.exit_code,
                "crash_message": partition.crash_message,
                "instructions": partition.instructions,
            }
            for partition in world.partitions
        },
        **({"migrations": [each.as_result() for each in world.migrations]} if world.migrations else {}),
        "checks": [dataclasses.asdict(check) for check in sim.checks],
        "stats": {
            name: {"value": value, "unit": unit, "description": description}
            for name, (value, unit, description) in statistics.items()
        },
    }


def _host(host: Host) -> dict[str, Any]:
    return {
        "cores": host.cores,
        "memory_bytes": host.memory_bytes,
        "profile": host.profile,
        "fidelity": host.fidelity,
        "quantum_ps": host.quantum_ps,
    }


def print_summary(world: World, sim: Simulation) -> None:
    """The checks, the time that was simulated, and last the trace hash. Nothing here depends on the host's speed."""
    for check in sim.checks:
        detail = f": {' '.join(check.detail.split())}" if check.detail else ""
        print(f"{'passed' if check.passed else 'FAILED'}  {check.name}{detail}")
    for migration in world.migrations:
        for line in migration.lines():
            print(line)
    for line in measured_lines(sim.measure.as_result()):
        print(line)
    passed = sum(check.passed for check in sim.checks)
    print(
        f"{passed} of {len(sim.checks)} checks passed; {format_time(world.now_ps())} simulated, "
        f"{world.machine.instructions} instructions"
    )
    print(f"trace_hash={world.machine.trace_hash()}", flush=True)
