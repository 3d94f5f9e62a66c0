#!/usr/bin/python3
"""Runs a test program of the sanitizer build; says so and skips (77) where that build is not there."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

SKIPPED = 77


def main() -> int:
    """The program's exit status, or 77."""
    program = pathlib.Path(sys.argv[1])
    if not program.exists():
        print(f"{program} is not built: ./verdigris test builds it, ./verdigris test NAME does not")
        return SKIPPED
    # The engine's library keeps one small array of its own for ever.
    environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
    return subprocess.run([program, "--no-version"], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
