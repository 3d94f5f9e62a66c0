#!/usr/bin/env python3
"""Runs the guests on QEMU's emulator, as an independent opinion on what they claim about the processor.

It runs on instruction counts (-icount), so that durations are as exact as on a real machine that is not busy.
QEMU without KVM offers no Hyper-V, so those checks are skipped there; `qemu_fails` in guests.json names the checks that
QEMU answers otherwise than the manuals, `qemu_7_fails` and `qemu_10_fails` those that only this version does.
Without QEMU it is skipped (exit status 77, for CTest).
Usage: check_with_qemu.py DIRECTORY-OF-ELF-FILES [NAME...] [--verbose]
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys

PROGRAM = "qemu-system-x86_64"
SKIPPED = 77
KNOWN = (7, 10)  # the versions of Debian 12 and 13, for which guests.json knows what fails


def major_version() -> int:
    text = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)\.", text)
    if not found:
        raise SystemExit(f"{PROGRAM} does not tell its version: {text!r}")
    return int(found[1])


def machine(guest: dict, version: int) -> list[str]:
    """The emulator has an x2APIC since version 9. Its registers ask for the time in the middle of a translated block, and
    with -icount QEMU ends at that ("Bad icount read"), unless every block is one instruction; and it delivers vectors below
    16, which no APIC sends (SDM vol. 3 §11.5.2). `qemu_x2apic` says whether a guest is about it, true, or must not find it."""
    wanted = guest.get("qemu_x2apic")
    accelerator = "tcg,one-insn-per-tb=on" if wanted and version >= 9 else "tcg"
    return ["-accel", accelerator, "-cpu", "max,-x2apic" if wanted is False else "max"]


def run(directory: pathlib.Path, guest: dict, version: int, seconds: float) -> tuple[str, int | None]:
    """Returns the console output and QEMU's exit status, None after the time limit."""
    command = [PROGRAM, *machine(guest, version), "-icount", "shift=1,sleep=off", "-display", "none", "-serial", "stdio",
               "-monitor", "none", "-nic", "none", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-no-reboot",
               "-m", str(guest["memory_mib"]), "-smp", str(guest["vps"]),
               "-kernel", str(directory / guest["file"]), "-append", guest["arguments"]]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds)
        return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"").decode(errors="replace"), None


def expected_failures(guest: dict, version: int) -> list[str]:
    """Another version than the known ones is taken for the last one before it."""
    nearest = max((known for known in KNOWN if known <= version), default=KNOWN[0])
    return guest["qemu_fails"] + guest.get(f"qemu_{nearest}_fails", [])


def judge(guest: dict, version: int, output: str, status: int | None) -> list[str]:
    """Every way in which the run differs from what guests.json expects."""
    lines = output.splitlines()
    known = expected_failures(guest, version)
    failed = [line.split()[1].split(".")[0] for line in lines if line.startswith("FAIL ")]
    wrong = [line for line in lines if line.startswith("FAIL ") and line.split()[1].split(".")[0] not in known]
    wrong += [f"{name} passes with QEMU {version}: take it off its list of failures" for name in known if name not in failed]
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
    if shutil.which(PROGRAM) is None:
        print(f"{PROGRAM} is not installed")
        return SKIPPED
    version = major_version()
    table = json.loads((pathlib.Path(__file__).parent / "guests.json").read_text())["guests"]
    bad = 0
    for guest in table:
        if arguments[1:] and guest["name"] not in arguments[1:]:
            continue
        if not guest["qemu"]:
            print(f"--   {guest['name']} is not for QEMU")
            continue
        output, status = run(directory, guest, version, 5 if guest["end"] == "never" else 60)
        wrong = judge(guest, version, output, status)
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
