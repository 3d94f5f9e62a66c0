"""Two Linux guests at once: two virtual processors each, on two logical processors."""

import verdigris as vg
from linux_checks import check_linux, linux_guest, run_to_end

memory = vg.parameter("memory", "256MiB", "memory of each guest")

host = vg.Host(cores=2, memory="4GiB")
guests = [host.partition(name, vps=2, memory=memory, guest=linux_guest()) for name in ("one", "two")]


async def main(sim):
    await sim.all(*(run_to_end(vm) for vm in guests))
    for vm in guests:
        check_linux(sim, vm, vps=2)
