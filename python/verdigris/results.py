"""What a run leaves behind: the folder of `--out`, and the lines on the standard output."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import pathlib
from typing import Any

import _verdigris

from .errors import UserError
from .simulation import Simulation
from .units import format_time
from .world import World


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a run ended: finished (main returned), timeout, until, interrupted or error; and how long it took."""

    ended: str
    interrupted: bool = False
    wall_s: float = 0.0


class Folder:
    """The folder that `--out` names. UserError if it cannot be written, before the run begins."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out: cannot make the folder {path}: {error.strerror}") from None
        if not os.access(path, os.W_OK | os.X_OK):
            raise UserError(f"--out: cannot write into {path}")
        # What an earlier run of perhaps another scenario left would be taken for this one's.
        if (path / "result.json").is_file():
            for stale in [path / "result.json", path / "stats.csv", path / "trace.txt", *path.glob("console-*.txt"), *path.glob("*.pcapng"), *path.glob("*.png")]:
                stale.unlink(missing_ok=True)

    def write(self, world: World, sim: Simulation, ending: Ending) -> None:
        """Writes everything but the trace. result.json comes last: where it is, the rest is complete."""
        statistics = world.machine.statistics()
        with open(self.path / "stats.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["name", "value", "unit", "description"])
            writer.writerows([name, *entry] for name, entry in statistics.items())
        for partition in world.host.partitions if world.host else []:
            (self.path / f"console-{partition.name}.txt").write_bytes(partition.console.raw)
        text = json.dumps(_result(world, sim, ending, statistics), indent=2, ensure_ascii=False)
        (self.path / "result.json").write_text(text + "\n", encoding="utf-8")


    def write_host_time(self, parts: dict[str, int], functions: dict[str, int]) -> None:
        """Writes samples of 1 ms each, by part of the program and by function, most first."""
        with open(self.path / "host_time.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["level", "name", "samples"])
            for level, shares in (("part", parts), ("function", functions)):
                for name, samples in sorted(shares.items(), key=lambda item: (-item[1], item[0])):
                    writer.writerow([level, name, samples])


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
        "wall_s": round(ending.wall_s, 3),
        "instructions": world.machine.instructions,
        "host": {
            "cores": host.cores,
            "memory_bytes": host.memory_bytes,
            "profile": host.profile,
            "fidelity": host.fidelity,
            "quantum_ps": host.quantum_ps,
        }
        if host
        else None,
        "partitions": {
            partition.name: {
                "state": partition.state,
                "exit_code": partition.exit_code,
                "crash_message": partition.crash_message,
                "instructions": partition.instructions,
            }
            for partition in (host.partitions if host else [])
        },
        "checks": [dataclasses.asdict(check) for check in sim.checks],
        "stats": {
            name: {"value": value, "unit": unit, "description": description}
            for name, (value, unit, description) in statistics.items()
        },
    }


def print_summary(world: World, sim: Simulation) -> None:
    """The checks, the time that was simulated, and last the trace hash. Nothing here depends on the host's speed."""
    for check in sim.checks:
        detail = f": {' '.join(check.detail.split())}" if check.detail else ""
        print(f"{'passed' if check.passed else 'FAILED'}  {check.name}{detail}")
    passed = sum(check.passed for check in sim.checks)
    print(
        f"{passed} of {len(sim.checks)} checks passed; {format_time(world.now_ps())} simulated, "
        f"{world.machine.instructions} instructions"
    )
    print(f"trace_hash={world.machine.trace_hash()}", flush=True)
