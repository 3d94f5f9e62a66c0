# `./verdigris fuzz [TARGET] [--runs N]`: long campaigns of the fuzz targets. Sourced by the launcher.
# shellcheck shell=bash

# fuzz_targets ARGUMENT...: what to build for these arguments; or says what is wrong with them.
fuzz_targets() { /usr/bin/python3 -B "$VG_ROOT/setup/fuzz.py" "$@" --list; }

run_fuzz() { exec /usr/bin/python3 -B "$VG_ROOT/setup/fuzz.py" "$@"; }
