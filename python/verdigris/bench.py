"""`bench boot`: the same kernel and initramfs on Verdigris and on QEMU's emulator, by turns, each a process of its own."""

from __future__ import annotations

import csv
import json
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import _verdigris

from .archive import archive
from .guests import LINUX_COMMAND_LINE

MEMORY_MIB = 512
SCRIPT = "uname -a\ncat /proc/interrupts\n"
DONE = "verdigris: script exit 0"
TIME_LIMIT_S = 600
TARGET = 0.7
Seconds = tuple[float, float]  # on the wall, of processor time
# The processor model that our engine shows too. QEMU has no AVX-512 and so on to offer and says so on its error output.
QEMU_OPTIONS = [
    "-accel", "tcg", "-icount", "shift=0,sleep=off", "-cpu", "EPYC", "-smp", "1", "-m", f"{MEMORY_MIB}M",
    "-nodefaults", "-display", "none", "-monitor", "none", "-no-reboot", "-append", LINUX_COMMAND_LINE,
]  # fmt: skip


class BenchError(Exception):
    """Why no comparison is possible, in one line."""


def boot(images: str, turns: int) -> int:
    """Runs the comparison and prints it. 0 if Verdigris takes less time than QEMU, 1 if more, 2 if it cannot be made."""
    try:
        return _boot(pathlib.Path(images), turns)
    except BenchError as error:
        print(f"verdigris: bench boot: {error}", file=sys.stderr)
        return 2


def _boot(images: pathlib.Path, turns: int) -> int:
    qemu = shutil.which("qemu-system-x86_64")
    if qemu is None:
        raise BenchError("there is no qemu-system-x86_64; ./verdigris setup installs it")
    kernel, initramfs = images / "linux/vmlinuz", images / "linux/initramfs.cpio"
    for image in (kernel, initramfs):
        if not image.is_file():
            raise BenchError(f"there is no {image}; run ./verdigris setup, or name another folder with --images")
    version = subprocess.run([qemu, "--version"], capture_output=True, text=True).stdout.split("\n")[0]
    print(f"Linux from {kernel}, one processor, {MEMORY_MIB} MiB; peer: {version}, TCG, icount", flush=True)
    with tempfile.TemporaryDirectory(prefix="verdigris-bench-") as name:
        folder = pathlib.Path(name)
        # QEMU's loader takes one file: what the scenario's partition gets as two.
        whole = folder / "initramfs.cpio"
        whole.write_bytes(initramfs.read_bytes() + archive({"vg/script.sh": (0o755, SCRIPT.encode())}))
        ours: list[Seconds] = []
        theirs: list[Seconds] = []
        for turn in range(1, turns + 1):
            ours.append(_run_verdigris(images, folder))
            theirs.append(_run_qemu(qemu, kernel, whole, folder))
            print(f"turn {turn}: Verdigris {_shown(ours[-1])}, QEMU {_shown(theirs[-1])}", flush=True)
        result = json.loads((folder / "out/result.json").read_text(encoding="utf-8"))
        _run_verdigris(images, folder, "--host-time")
        with open(folder / "out/host_time.csv", encoding="utf-8", newline="") as file:
            host_time = list(csv.DictReader(file))
    return _report(_medians(ours), _medians(theirs), result, host_time)


def _run_verdigris(images: pathlib.Path, folder: pathlib.Path, *options: str) -> Seconds:
    scenario = pathlib.Path(__file__).with_name("bench_boot.py")
    command = [_verdigris.executable, "run", str(scenario), "--images", str(images), "--out", str(folder / "out"), *options]
    seconds, done = _timed(command)
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").split("\n")
        raise BenchError(f"Verdigris ended with status {done.returncode}: {last[0]}")
    return seconds


def _run_qemu(qemu: str, kernel: pathlib.Path, initramfs: pathlib.Path, folder: pathlib.Path) -> Seconds:
    console = folder / "console.txt"
    command = [qemu, *QEMU_OPTIONS, "-serial", f"file:{console}", "-kernel", str(kernel), "-initrd", str(initramfs)]
    seconds, done = _timed(command)
    text = console.read_text(encoding="utf-8", errors="replace") if console.exists() else ""
    if done.returncode != 0 or DONE not in text:
        last = ([*done.stderr.strip().split("\n"), *text.strip().split("\n")])[-1]
        raise BenchError(f"QEMU ended with status {done.returncode} without finishing the script: {last}")
    return seconds


def _shown(seconds: Seconds) -> str:
    return f"{seconds[0]:.2f} s (processor {seconds[1]:.2f} s)"


def _medians(runs: list[Seconds]) -> Seconds:
    return statistics.median(wall for wall, _ in runs), statistics.median(processor for _, processor in runs)


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _timed(command: list[str]) -> tuple[Seconds, subprocess.CompletedProcess[str]]:
    begin, processor_begin = time.monotonic(), _processor_s()
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=TIME_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"{pathlib.Path(command[0]).name} did not end within {TIME_LIMIT_S} s") from None
    return (time.monotonic() - begin, _processor_s() - processor_begin), done


def _report(ours: Seconds, theirs: Seconds, result: dict, host_time: list[dict[str, str]]) -> int:
    stats = result["stats"]
    exits = {name: entry["value"] for name, entry in stats.items() if "exit" in name and entry["value"]}
    print("\nexits by reason")
    for name, value in sorted(exits.items(), key=lambda item: (-item[1], item[0])):
        print(f"  {value:12}  {name}: {stats[name]['description']}")
    total = sum(int(row["samples"]) for row in host_time if row["level"] == "part") or 1
    print("\nwhere the host's time goes (a run of its own, sampled)")
    for level, limit in (("part", 12), ("function", 15)):
        for row in [row for row in host_time if row["level"] == level][:limit]:
            print(f"  {100 * int(row['samples']) / total:5.1f} %  {row['name'][:100]}")
        if level == "part":
            print("  the functions with the most")
    instructions = result["instructions"]
    print(f"\n{instructions} instructions, {instructions / ours[0] / 1e6:.1f} million a second of wall time")
    print(f"medians: Verdigris {_shown(ours)}, QEMU {_shown(theirs)}")
    print(f"ratio of processor times {ours[1] / theirs[1]:.2f}")
    ratio = ours[0] / theirs[0]
    print(f"ratio of wall times {ratio:.2f} (target {TARGET} or less)")
    return 0 if ratio <= 1 else 1
