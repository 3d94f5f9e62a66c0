"""The commands that work on results rather than on a machine: `sweep`, `compare` and `report`."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from . import compare, report, slurm, sweep
from .errors import UserError

WRONG_USE = 2


def main(arguments: list[str], executable: str) -> int:
    """Runs a command with its arguments; gives the exit status. `executable` is the program that runs scenarios."""
    command, *rest = arguments
    # `> FILE` gets its lines in order with those of the error output, also when killed.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        if command == "sweep-task":
            return slurm.run_task(*rest)
        parser = {"sweep": sweep, "compare": compare, "report": report}[command].make_parser()
        options = _parse(parser, rest)
        if isinstance(options, int):
            return options
        if command == "report":
            return report.report(options)
        return sweep.sweep(options, executable) if command == "sweep" else compare.compare(options)
    except UserError as error:
        print(f"verdigris: {' '.join(str(error).split())}", file=sys.stderr)
        return WRONG_USE


def _parse(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace | int:
    """The options; or the exit status, when help was asked for."""

    def wrong(message: str) -> NoReturn:
        raise UserError(f"{message} ({parser.prog} --help explains)")

    parser.error = wrong  # type: ignore[method-assign]
    parser.allow_abbrev = False
    try:
        return parser.parse_args(arguments)
    except SystemExit as end:
        return int(end.code or 0)
