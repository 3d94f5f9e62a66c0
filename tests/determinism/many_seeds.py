"""Each of many seeds twice, the second time beside busy processors: EXECUTABLE FOLDER-OF-GUESTS [SEEDS].

By hand, for it takes minutes; the test does the same with one seed. Two runs of a seed must be the same, and no two seeds
may have one trace hash.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile

from determinism_test import arguments, run


def run_busily(folder: pathlib.Path, seed: str) -> dict[str, object]:
    """A run while every processor of this computer has something else to do."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        return run(folder, "--seed", seed)
    finally:
        for process in busy:
            process.kill()
            process.wait()


def main() -> int:
    """0 if each seed gave one run, and each another."""
    count = int(arguments[2]) if len(arguments) > 2 else 40
    hashes: dict[str, int] = {}
    different = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for seed in range(1, count + 1):
            alone, beside = run(folder, "--seed", str(seed)), run_busily(folder, str(seed))
            different += alone != beside
            hashes[str(alone["trace_hash"])] = seed
            print(f"seed {seed}: {alone['trace_hash']}{'' if alone == beside else ', and ' + str(beside['trace_hash'])}", flush=True)
    print(f"{count} seeds, {len(hashes)} trace hashes, {different} seeds whose two runs differ")
    return 0 if different == 0 and len(hashes) == count else 1


if __name__ == "__main__":
    sys.exit(main())
