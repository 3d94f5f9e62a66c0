"""Runs small guests of tests/guests and checks what guests.json expects of each.

`names` with commas between them run side by side on one host, as neighbours.
"""

from __future__ import annotations

import json
import pathlib

import verdigris as vg

folder = pathlib.Path(vg.parameter("folder", "build/release/tests/guests", "where the build left guests.json and the guests"))
names = vg.parameter("names", "boot", "guests of the list, with commas between them")
fidelity = vg.parameter("fidelity", "fast", "fast or timed")

listed = {guest["name"]: guest for guest in json.loads((folder / "guests.json").read_text())["guests"]}
guests = [listed[name] for name in names.split(",")]
# A processor for each virtual one, so that spin loops between processors need no time slices.
host = vg.Host(cores=sum(guest["vps"] for guest in guests), memory="1GiB", fidelity=fidelity)
partitions = [
    host.partition(
        guest["name"],
        vps=guest["vps"],
        memory=f"{guest['memory_mib']}MiB",
        guest=vg.Elf((folder / guest["file"]).resolve(), command_line=guest["arguments"]),
    )
    for guest in guests
]

ENDS = {"exit": {"debug_exit"}, "reset": {"reset", "triple_fault"}, "crash": {"crashed"}, "never": {"running"}}


def names_after(lines: list[str], word: str) -> list[str]:
    """What follows a word at the beginning of a line, without the field of a group."""
    return sorted({line.split()[1].split(".")[0] for line in lines if line.startswith(f"{word} ")})


def judge(sim: vg.Simulation, guest: dict, vm: vg.Partition) -> None:
    """Every expectation of guests.json as a check."""

    def check(what: str, got: object, wanted: object) -> None:
        sim.check(f"{vm.name}: {what}", got == wanted, f"got {got}, expected {wanted}")

    lines = vm.console.text.splitlines()
    sim.check(f"{vm.name}: end", vm.state in ENDS[guest["end"]], f"{vm.state} {vm.crash_message}".strip())
    if guest["exit_value"] is not None:
        check("exit value", vm.exit_code, guest["exit_value"])
    check("number of checks", sum(line.startswith(("ok ", "FAIL ", "skip ")) for line in lines), guest["checks"])
    check("checks that fail", names_after(lines, "FAIL"), sorted(guest["fails"]))
    check("checks that are skipped", names_after(lines, "skip"), sorted(guest["skips"]))
    if guest["end"] == "exit":
        check("last line", lines[-1:], [guest["final_line"]])
    else:
        check("final line", [line for line in lines if line == guest["final_line"]], [guest["final_line"]])


async def end_of(sim: vg.Simulation, guest: dict, vm: vg.Partition) -> None:
    """Awaits the guest's end, or the time after which one that never ends has spun long enough."""
    within = f"{guest['within_ms']}ms"
    if guest["end"] == "never":
        await sim.first(vm.stopped(), sim.after(within))
    else:
        await sim.first(vm.stopped(), sim.after(within))
        sim.check(f"{vm.name}: ends in time", vm.state != "running", f"within {within}")


async def main(sim: vg.Simulation) -> None:
    """Runs all to their ends, then judges them."""
    await sim.all(*(end_of(sim, guest, vm) for guest, vm in zip(guests, partitions)))
    for guest, vm in zip(guests, partitions):
        judge(sim, guest, vm)
