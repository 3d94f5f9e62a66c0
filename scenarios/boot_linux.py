"""An unmodified Linux kernel boots on four virtual processors, works on all of them, and powers off."""

import verdigris as vg
from linux_checks import check_linux, linux_guest, run_to_end

vps = vg.parameter("vps", 4, "virtual processors of the guest, and logical processors of the host")
memory = vg.parameter("memory", "512MiB", "memory of the guest")

host = vg.Host(cores=vps, memory="4GiB")
vm = host.partition("linux", vps=vps, memory=memory, guest=linux_guest())


async def main(sim):
    await run_to_end(vm)
    check_linux(sim, vm, vps)
