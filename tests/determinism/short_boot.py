"""A scenario that touches everything once and is short: two virtual processors boot Linux beside a hostile small guest,
with typing, random numbers and concurrent tasks."""

from __future__ import annotations

import pathlib

import verdigris as vg

guests = pathlib.Path(vg.parameter("guests", "build/release/tests/guests", "where the build left the small guests"))

SCRIPT = """\
read -r line
echo "heard $line"
for n in 0 1; do
    taskset -c $n sh -c 'i=0; while [ $i -lt 500 ]; do i=$((i + 1)); done; echo done' &
done
wait
cat /proc/interrupts
"""

host = vg.Host(cores=2, memory="1GiB")
linux = host.partition("linux", vps=2, memory="256MiB", guest=vg.Linux(script=SCRIPT))
hostile = host.partition(
    "hostile",
    memory="16MiB",
    guest=vg.Elf((guests / "random_msrs_and_hypercalls.elf").resolve(), command_line="seed=3 actions=2000"),
)


async def type_something(sim: vg.Simulation) -> None:
    """Waits a while that depends on the seed, then types."""
    await linux.console.expect("user space reached", within="60s")
    await sim.after(sim.random.between(1_000_000, 5_000_000_000))
    linux.console.write(f"{sim.random.below(1000)}\n")


async def main(sim: vg.Simulation) -> None:
    """Runs Linux to its end."""
    typing = sim.start(type_something(sim))
    await typing
    await linux.console.expect("verdigris: script exit 0", within="60s")
    await linux.stopped(within="10s")
    sim.check("the one is undisturbed", linux.state == "powered_off", linux.state)
    sim.check("the other has been busy", hostile.stats["vp0.exits"] > 1000, hostile.stats["vp0.exits"])
