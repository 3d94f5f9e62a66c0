#!/usr/bin/python3
"""Campaigns of the libFuzzer targets: ./verdigris fuzz [TARGET] [--runs N]; see tests/fuzz/README.md.

What a campaign found reaches new code and is kept beside the build, so that the next one goes on from there. An input
that fails is kept too, and the campaign of its target ends.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SEEDS = ROOT / "tests/fuzz/seeds"
BUILD = ROOT / "build/fuzz"
# What no input may need: MiB in all, MiB at once, seconds.
MEMORY, ALLOCATION, PATIENCE = 1024, 64, 20
# Freed memory is watched for a while, not for long: campaigns are short of caches, not of memory.
SANITIZER = "detect_leaks=1:quarantine_size_mb=1:thread_local_quarantine_size_kb=64:malloc_context_size=2"
LONGEST_KEPT = 600
# Bytes of an input. The NIC's are acts of a few bytes that set many frames going.
LONGEST, LONGEST_OF = 512, {"nic_registers": 96, "nic_descriptors": 96, "nic_mailbox": 96}


class FuzzError(Exception):
    """Why there is no campaign, in one line."""


def target_names() -> list[str]:
    return sorted(path.stem.removeprefix("fuzz_") for path in (ROOT / "tests/fuzz").glob("fuzz_*.cpp"))


def read_seeds(target: str) -> list[bytes]:
    """The kept inputs: one in each line, in hexadecimal."""
    file = SEEDS / f"{target}.txt"
    if not file.exists():
        return []
    return [bytes.fromhex(line) for line in file.read_text(encoding="ascii").split("\n") if line and line[0] != "#"]


def run(target: str, runs: int, longest: int) -> bool:
    """One campaign. True if every input was taken well."""
    corpus, found = BUILD / "corpus" / target, BUILD / "found" / target
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(read_seeds(target)):
        (corpus / f"seed-{number}").write_bytes(seed)
    command = [
        str(BUILD / f"tests/fuzz/fuzz_{target}"), str(corpus), f"-runs={runs}", f"-max_len={longest}", f"-timeout={PATIENCE}",
        f"-rss_limit_mb={MEMORY}", f"-malloc_limit_mb={ALLOCATION}", f"-artifact_prefix={found}/", "-print_final_stats=1",
        # Weighing inputs by their entropy took half of the time.
        "-entropic=0", "-reload=0",
    ]  # fmt: skip
    begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    log = BUILD / f"{target}.log"
    with open(log, "w", encoding="utf-8", errors="replace") as file:
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                                env={**os.environ, "ASAN_OPTIONS": SANITIZER}).returncode
    seconds, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    text = log.read_text(encoding="utf-8", errors="replace")
    units = re.search(r"stat::number_of_executed_units: +(\d+)", text)
    peak = re.search(r"stat::peak_rss_mb: +(\d+)", text)
    coverage = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", text)
    ended = "ok" if status == 0 else "interrupted" if "run interrupted" in text else f"FAILED, see {log}"
    edges, _, kept = coverage[-1] if coverage else ("?", "?", "?")
    print(
        f"{target:20} {units.group(1) if units else '?':>9} inputs {seconds:8.1f} s ({worked:.1f} of a processor)  {edges:>6} edges  {kept:>5} kept"
        f"  {peak.group(1) if peak else '?':>5} MiB  {ended}",
        flush=True,
    )
    return status == 0


def keep(target: str, most: int) -> None:
    """The shortest inputs of the corpus that together reach all that it reaches become the target's seeds."""
    corpus, least = BUILD / "corpus" / target, BUILD / "least" / target
    if not corpus.is_dir():
        raise FuzzError(f"there is no corpus of {target}: run a campaign first")
    shutil.rmtree(least, ignore_errors=True)
    least.mkdir(parents=True)
    command = [str(BUILD / f"tests/fuzz/fuzz_{target}"), "-merge=1", "-use_counters=0", f"-max_len={LONGEST_KEPT}",
               str(least), str(corpus)]  # fmt: skip
    if subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode != 0:
        raise FuzzError(f"the corpus of {target} could not be merged")
    inputs = sorted((path.read_bytes() for path in least.iterdir()), key=lambda data: (len(data), data))
    # Failures of former times stay first, with the lines that say what they were.
    file = SEEDS / f"{target}.txt"
    former = file.read_text(encoding="ascii").split("\n") if file.exists() else []
    fixed = [f"{line}\n" for line in former[: former.index("# reached")]] if "# reached" in former else []
    SEEDS.mkdir(exist_ok=True)
    file.write_text("".join(fixed) + "# reached\n" + "".join(f"{data.hex()}\n" for data in inputs[:most]), encoding="ascii")
    print(f"{target}: {min(most, len(inputs))} of {len(inputs)} inputs, {file.stat().st_size} bytes", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./verdigris fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("target", nargs="?", metavar="TARGET", help="one of: " + ", ".join(target_names()))
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs to each target (default 1000000)")
    parser.add_argument("--longest", type=int, help=f"bytes of an input (default {LONGEST}, the NIC's 96)")
    parser.add_argument("--keep", type=int, metavar="N", help="no campaign: N inputs of the corpus become seeds")
    parser.add_argument("--list", action="store_true", help="names the build's targets, for the launcher")
    chosen = parser.parse_args()
    names = target_names()
    if chosen.target is not None and chosen.target not in names:
        raise FuzzError(f"there is no target {chosen.target}: {', '.join(names)}")
    if chosen.runs < 1 or (chosen.longest is not None and chosen.longest < 1):
        raise FuzzError("give --runs and --longest above 0")
    targets = [chosen.target] if chosen.target else names
    if chosen.list:
        print(*(f"fuzz_{name}" for name in targets))
        return 0
    os.nice(2)
    if chosen.keep is not None:
        for target in targets:
            keep(target, chosen.keep)
        return 0
    longest = {target: chosen.longest or LONGEST_OF.get(target, LONGEST) for target in targets}
    return 0 if all([run(target, chosen.runs, longest[target]) for target in targets]) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FuzzError as error:
        print(f"verdigris: fuzz: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
