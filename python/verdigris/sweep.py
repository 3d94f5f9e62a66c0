"""`sweep`: a scenario over a grid of parameters and seeds, in parallel, to be interrupted and resumed at any moment."""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from .errors import UserError
from .grid import Point, names_a_setting, parse_over, parse_seeds, points_of
from .slurm import Slurm
from .sweep_local import run_points
from .sweep_plan import Plan, digest_of, locked, unfinished
from .sweep_tables import write_tables

ALL_WELL, CHECK_FAILED, WRONG_USE, NOT_YET = 0, 1, 2, 3
_MAXIMUM_JOBS = 512

_EPILOG = """\
values of --over:
  share=25,50,100        as they are                 cap=10%..50%+10%       10%, 20%, 30%, 40%, 50%
  vfs=1..8               1, 2, ... 8                 size=64..1024*2        64, 128, 256, 512, 1024
Several --over make a grid. Each point is one run in DIR/points/NAME=VALUE,...,seed=N.

An interrupted sweep goes on with the same command; points that are done are not run again. A larger grid in the same
folder takes what is there. The tables are DIR/results.csv (every figure of every point), DIR/summary.csv (means and 95 %
confidence intervals over the seeds) and DIR/sweep.json; the same points give the same bytes whatever --jobs was.

--engine slurm submits the points as an array job and returns; the same command later collects them, or --wait waits.

exit status: 0 every check of every point passed; 1 a check failed, or a run crashed; 2 wrong use; 3 (slurm) points are
still under way; 130 interrupted.
"""


def make_parser() -> argparse.ArgumentParser:
    """The options of `sweep`."""
    parser = argparse.ArgumentParser(
        prog="./verdigris sweep",
        description="Runs a scenario over a grid of parameters and seeds, in parallel processes or on a Slurm cluster.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", metavar="SCENARIO", help="Python file with `async def main(sim)`")
    parser.add_argument("--over", action="append", default=[], metavar="NAME=V1,V2,...", help="a parameter and its values; may be given several times")
    parser.add_argument("--seeds", default="1", help="seeds of each combination: 1-10, or 1,5,20-29 (default 1)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="sets a parameter for every point")
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="points at once (default: the processors there are; with Slurm: as many as it grants)")
    parser.add_argument("--out", default="", metavar="DIR", help="folder of the sweep (default: out/sweep-SCENARIO)")
    parser.add_argument("--until", default="", metavar="TIME", help="simulated time at which each run ends at the latest")
    parser.add_argument("--images", default="", metavar="DIR", help="folder with guest images")
    parser.add_argument("--engine", choices=["local", "slurm"], default="local", help="where the points run (default local)")
    parser.add_argument("--wait", action="store_true", help="slurm: waits until the array job has ended")
    parser.add_argument("--sbatch", action="append", default=[], metavar="OPTION", help="slurm: an option for sbatch, as --sbatch=--time=30; may be given several times")
    return parser


def sweep(options: argparse.Namespace, executable: str) -> int:
    """The command; gives the exit status. UserError for wrong use, KeyboardInterrupt when interrupted."""
    plan = _plan(options, executable)
    jobs = options.jobs or min(_MAXIMUM_JOBS, len(os.sched_getaffinity(0)))
    if not 1 <= jobs <= _MAXIMUM_JOBS:
        raise UserError(f"--jobs {options.jobs}: it is a whole number from 1 to {_MAXIMUM_JOBS}")
    if (options.wait or options.sbatch) and options.engine != "slurm":
        raise UserError("--wait and --sbatch go with --engine slurm")
    plan.prepare()
    with locked(plan.out) as lock:
        slurm = Slurm(plan, options.sbatch, options.jobs)
        if not slurm.submitted:
            plan.tidy()
        if options.engine == "slurm":
            failed = slurm.run(options.wait)
            if failed is None:
                return NOT_YET if slurm.submitted else ALL_WELL
        else:
            slurm.refuse_if_active()
            to_run, lines = unfinished(plan, plan.points)
            for line in lines:
                print(f"verdigris: {line}", file=sys.stderr)
            if to_run:
                # Where sweep.json is, the tables belong to what is in the folder.
                (plan.out / "sweep.json").unlink(missing_ok=True)
            try:
                failed = run_points(plan, to_run, jobs, lock, len(plan.points) - len(to_run))
            except KeyboardInterrupt:
                left, _ = unfinished(plan, plan.points)
                done = len(plan.points) - len(left)
                raise KeyboardInterrupt(f"interrupted; {done} of {len(plan.points)} points are done, the same command goes on") from None
        return _conclude(plan, failed)


def _plan(options: argparse.Namespace, executable: str) -> Plan:
    over, seeds = parse_over(options.over), parse_seeds(options.seeds)
    for setting in options.set:
        name, equals, _ = setting.partition("=")
        if not equals or not names_a_setting(name):
            raise UserError(f"--set {setting}: write it as NAME=VALUE")
        if name in (other for other, _ in over):
            raise UserError(f"--set {name}: --over gives it values already")
    scenario = options.scenario
    return Plan(
        scenario=scenario,
        over=tuple((name, tuple(values)) for name, values in over),
        seeds=tuple(seeds),
        points=tuple(points_of(over, seeds)),
        settings=tuple(options.set),
        until=options.until,
        images=options.images,
        executable=executable,
        out=pathlib.Path(options.out or f"out/sweep-{pathlib.Path(scenario).stem}"),
        digest=digest_of(scenario, executable, options.images),
    )


def _conclude(plan: Plan, failed: Mapping[Point, str]) -> int:
    """Writes the tables, prints what came out."""
    results: dict[Point, dict[str, Any]] = {}
    in_order: dict[Point, str] = {}
    for point in plan.points:
        result = plan.result(point) if point not in failed else None
        if result is not None:
            results[point] = result
        else:
            in_order[point] = failed.get(point, "its results are gone, or not those of this sweep")
    for line in write_tables(plan, results, in_order):
        print(line)
    bad = 0
    for point, result in results.items():
        names = [check["name"] for check in result["checks"] if not check["passed"]]
        bad += bool(names)
        if names:
            print(f"FAILED  {point.name}: {'; '.join(names)}")
    for point, line in in_order.items():
        print(f"no result  {point.name}: {line}")
    good = len(results) - bad
    print(f"{good} of {len(plan.points)} points passed, {bad} with failed checks, {len(in_order)} without a result; tables in {plan.out}", flush=True)
    if any(plan.status(point) == WRONG_USE for point in in_order):
        return WRONG_USE
    return CHECK_FAILED if bad or in_order else ALL_WELL
