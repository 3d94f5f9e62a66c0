"""An unmodified Linux kernel boots on four virtual processors, works on all of them, and powers off."""

import verdigris as vg
from linux_checks import check_linux, linux_guest, run_to_end

vps = vg.parameter("vps", 4, "virtual processors of the guest, and logical processors of the host")
memory = vg.parameter("memory", "512MiB", "memory of the guest")
fidelity = vg.parameter("fidelity", "fast", "fast, or timed: also every access through the TLB and cache models")
quantum = vg.parameter("quantum", "100us", "how far a processor may run ahead of the others")

host = vg.Host(cores=vps, memory="4GiB", fidelity=fidelity, quantum=quantum)
vm = host.partition("linux", vps=vps, memory=memory, guest=linux_guest())


async def main(sim):
    await run_to_end(vm)
    check_linux(sim, vm, vps)
