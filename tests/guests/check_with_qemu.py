#!/usr/bin/env python3
"""Runs the guests on QEMU's emulator, as an independent opinion on what they claim about the processor.

It runs on instruction counts (-icount), so that durations are as exact as on a real machine that is not busy.
QEMU without KVM offers no Hyper-V, so those checks are skipped there; `qemu_fails` in guests.json names the checks that
QEMU answers otherwise than the manuals. Usage: check_with_qemu.py DIRECTORY-OF-ELF-FILES [NAME...] [--verbose]
"""

import json
import pathlib
import subprocess
import sys


def run(directory: pathlib.Path, guest: dict, seconds: float) -> tuple[str, int | None]:
    """Returns the console output and QEMU's exit status, None after the time limit."""
    command = ["qemu-system-x86_64", "-accel", "tcg", "-icount", "shift=1,sleep=off", "-cpu", "max", "-display", "none", "-serial", "stdio",
               "-monitor", "none", "-nic", "none", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-no-reboot",
               "-m", str(guest["memory_mib"]), "-smp", str(guest["vps"]),
               "-kernel", str(directory / guest["file"]), "-append", guest["arguments"]]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds)
        return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"").decode(errors="replace"), None


def judge(guest: dict, output: str, status: int | None) -> list[str]:
    """Every way in which the run differs from what guests.json expects."""
    lines = output.splitlines()
    known = guest.get("qemu_fails", [])
    failed = [line.split()[1].split(".")[0] for line in lines if line.startswith("FAIL ")]
    wrong = [line for line in lines if line.startswith("FAIL ") and line.split()[1].split(".")[0] not in known]
    wrong += [f"{name} passes: take it off qemu_fails" for name in known if name not in failed]
    checks = sum(line.startswith(("ok ", "FAIL ", "skip ")) for line in lines)
    if checks != guest["checks"]:
        wrong.append(f"{checks} checks, guests.json says {guest['checks']}")
    if guest["end"] == "exit":
        if status is None or status & 1 == 0:
            wrong.append(f"no debug exit (status {status})")
        elif not failed and status >> 1 != (guest["exit_value"] or 0):
            wrong.append(f"exit value {status >> 1}")
    elif guest["end"] == "reset" and status != 0:
        wrong.append(f"no reset (status {status})")
    elif guest["end"] == "never" and status is not None:
        wrong.append(f"ended (status {status})")
    final = guest["final_line"].split(":")[0] + ": "  # with other numbers, for what QEMU skips
    if not any(line.startswith(final) for line in lines):
        wrong.append(f"no line {final!r}")
    return wrong


def main() -> int:
    arguments = [a for a in sys.argv[1:] if a != "--verbose"]
    verbose = "--verbose" in sys.argv
    if not arguments:
        print(__doc__)
        return 2
    directory = pathlib.Path(arguments[0])
    table = json.loads((pathlib.Path(__file__).parent / "guests.json").read_text())["guests"]
    bad = 0
    for guest in table:
        if arguments[1:] and guest["name"] not in arguments[1:]:
            continue
        if not guest["qemu"]:
            print(f"--   {guest['name']} is not for QEMU")
            continue
        output, status = run(directory, guest, 5 if guest["end"] == "never" else 60)
        wrong = judge(guest, output, status)
        skipped = sum(line.startswith("skip ") for line in output.splitlines())
        print(f"{'ok  ' if not wrong else 'BAD '} {guest['name']} ({skipped} skipped)")
        if verbose or wrong:
            print(output)
        for problem in wrong:
            print(f"     {problem}")
        bad += bool(wrong)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
