"""What scenarios with a Linux guest share: a script that works on every processor, and checks of what the guest says."""

from __future__ import annotations

import re

import verdigris as vg

ROUNDS = 2000

# One worker: a checksum in the shell, and where it ran (field 39 of /proc/PID/stat).
WORK = f"""\
i=0 sum=$1
while [ $i -lt {ROUNDS} ]; do
    sum=$(((sum * 31 + i) % 65521))
    i=$((i + 1))
done
read -r stat </proc/self/stat
set -- "$1" $stat
shift 39
echo "work: $sum on processor $1"
"""

SCRIPT = """\
echo "processors: $(nproc), online $(cat /sys/devices/system/cpu/online)"
echo "clock source: $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
for event in /sys/devices/system/clockevents/clockevent[0-9]*; do
    echo "${event##*/}: $(cat "$event/current_device")"
done
dmesg | grep -i -e hyper-v -e hyperv -e enlightened -e 'smp:'
processor=0
while [ $processor -lt $(nproc) ]; do
    taskset -c $processor sh /vg/work.sh $processor &
    processor=$((processor + 1))
done
wait
cat /proc/interrupts
"""


def linux_guest() -> vg.Linux:
    """A Linux guest with the script above."""
    return vg.Linux(script=SCRIPT, files={"/vg/work.sh": WORK})


def checksum(start: int) -> int:
    """What a worker that starts with this value must find."""
    total = start
    for i in range(ROUNDS):
        total = (total * 31 + i) % 65521
    return total


def interrupt_counts(text: str, name: str, vps: int) -> list[int]:
    """The counts of one line of /proc/interrupts, one per processor; empty if there is no such line."""
    line = re.search(rf"^ *{name}:((?: +\d+){{{vps}}}) ", text, re.MULTILINE)
    return [int(count) for count in line[1].split()] if line else []


async def run_to_end(vm: vg.Partition, within: str = "60s") -> None:
    """Awaits user space, the end of the script and the end of the guest."""
    await vm.console.expect("verdigris: user space reached", within=within)
    await vm.console.expect("verdigris: script exit", within=within)
    await vm.stopped(within="10s")


def check_linux(sim: vg.Simulation, vm: vg.Partition, vps: int) -> None:
    """Checks what a Linux guest with `vps` processors said, after its end."""
    text = vm.console.text.replace("\r\n", "\n")

    def said(name: str, pattern: str) -> None:
        found = re.search(pattern, text, re.MULTILINE)
        sim.check(f"{vm.name}: {name}", found, found[0].strip() if found else f"no line with {pattern}")

    said("Hyper-V detected", r"Hypervisor detected: Microsoft Hyper-V.*")
    said("enlightened APIC", r"Using enlightened APIC.*")
    said("reference TSC page is the clock", r"^clock source: hyperv_clocksource_tsc_page$")
    events = re.findall(r"^clockevent\d+: (.*)$", text, re.MULTILINE)
    sim.check(f"{vm.name}: synthetic timers tick", events == ["Hyper-V clockevent"] * vps, ", ".join(events))
    counts = interrupt_counts(text, "HVS", vps)
    sim.check(f"{vm.name}: synthetic timer interrupts on every processor", counts and all(counts), f"HVS {counts}")
    said(f"{vps} processors up", rf"^processors: {vps}, online {'0' if vps == 1 else f'0-{vps - 1}'}$")
    said("user space reached", r"^verdigris: user space reached$")
    work = {int(processor): int(total) for total, processor in re.findall(r"^work: (\d+) on processor (\d+)$", text, re.MULTILINE)}
    expected = {processor: checksum(processor) for processor in range(vps)}
    sim.check(f"{vm.name}: work done on every processor", work == expected, f"{work}, expected {expected}")
    said("script succeeded", r"^verdigris: script exit 0$")
    sim.check(f"{vm.name}: powered off", vm.state == "powered_off", vm.state)
