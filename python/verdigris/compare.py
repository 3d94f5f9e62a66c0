"""`compare`: what changed between two folders of results, of runs or of sweeps; and the same as a gate against regressions.

Runs are deterministic: any difference between two is real. Between sweeps, figures of several seeds are compared with
Welch's test.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from typing import Any

from .compare_runs import compare_results
from .compare_sweeps import compare_sweeps
from .compare_text import lines
from .errors import UserError
from .result_file import read_result
from .sweep_results import SweepResults
from .units import parse_share

SAME, REGRESSED = 0, 1

_EPILOG = """\
Two folders of runs are compared exactly: a run is deterministic, so that any difference is a change of behaviour. Two
folders of sweeps are compared point by point, by the means over the seeds (Welch's t-test; of the figures that are named
one in twenty at most is expected to differ by chance), or, with one seed, exactly.

With --baseline the command is a gate: it prints what got worse by more than the tolerance (latency, throughput, busy
processors, drops, totals of attributions, checks) and ends with status 1 if there is anything. --both-ways is for a model that is
meant to stay as it is: whatever moved is listed, for better or worse.

exit status: 0; 1 something regressed (with --baseline); 2 wrong use.
"""


def make_parser() -> argparse.ArgumentParser:
    """The options of `compare`."""
    parser = argparse.ArgumentParser(
        prog="./verdigris compare",
        usage="./verdigris compare A B [--format table|json]\n"
        "       ./verdigris compare --baseline BASE NEW [--tolerance 2%%] [--both-ways] [--format table|json]",
        description="Tells what changed between two folders of results.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", metavar="DIR", help="what `run --out` or `sweep --out` left")
    parser.add_argument("--baseline", default="", metavar="BASE", help="compares with this folder, and ends with 1 if something got worse")
    parser.add_argument("--tolerance", default="", metavar="PERCENT", help="how much worse a figure may get: 2%%, 0.5%% (default 0%%)")
    parser.add_argument("--both-ways", action="store_true", help="what got better by more than the tolerance counts like what got worse")
    parser.add_argument("--format", choices=["table", "json"], default="table", help="table (default) or json")
    return parser


def compare(options: argparse.Namespace) -> int:
    """The command; gives the exit status. UserError for wrong use and for results that cannot be read."""
    folders = [*([options.baseline] if options.baseline else []), *options.folders]
    if len(folders) != 2:
        wanted = "--baseline BASE and one folder" if options.baseline else "two folders"
        raise UserError(f"compare takes {wanted} (./verdigris compare --help explains)")
    if options.tolerance and not options.baseline:
        raise UserError("--tolerance goes with --baseline")
    if options.both_ways and not options.baseline:
        raise UserError("--both-ways goes with --baseline")
    tolerance = parse_share(options.tolerance, "--tolerance") if options.tolerance else 0
    before, after = (_read(pathlib.Path(folder)) for folder in folders)
    if isinstance(before, SweepResults) != isinstance(after, SweepResults):
        kinds = ["a sweep" if isinstance(one, SweepResults) else "a run" for one in (before, after)]
        raise UserError(f"{folders[0]} holds the results of {kinds[0]}, {folders[1]} those of {kinds[1]}")
    if isinstance(before, SweepResults) and isinstance(after, SweepResults):
        comparison = compare_sweeps(before, after, tolerance, options.both_ways)
    else:
        comparison = compare_results(before, after, tolerance, options.both_ways)
    comparison = {"a": folders[0], "b": folders[1], **comparison}
    if not options.baseline:
        del comparison["regressions"]
    if options.format == "json":
        print(json.dumps(comparison, indent=2, ensure_ascii=False))
    else:
        for line in lines(comparison):
            print(line)
    return REGRESSED if comparison.get("regressions") else SAME


def _read(folder: pathlib.Path) -> dict[str, Any] | SweepResults:
    if (folder / "sweep.json").exists():
        return SweepResults(folder)
    if (folder / ".sweep").is_dir():
        raise UserError(f"{folder}: the sweep is not complete; go on with it first")
    return read_result(folder)
