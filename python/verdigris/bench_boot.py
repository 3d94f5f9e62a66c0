"""The scenario of `bench boot`: Linux boots on one virtual processor, runs a short script and powers off."""

from __future__ import annotations

import verdigris as vg
from verdigris.bench import MEMORY_MIB, SCRIPT

host = vg.Host(cores=1, memory="2GiB")
vm = host.partition("linux", vps=1, memory=f"{MEMORY_MIB}MiB", guest=vg.Linux(script=SCRIPT))


async def main(sim: vg.Simulation) -> None:
    """Awaits the end of the script and of the guest."""
    await vm.console.expect("verdigris: script exit 0", within="120s")
    sim.check("powered off", await vm.stopped(within="10s") == "powered_off", vm.state)
