"""Two Linux guests with virtual functions, put back to points in mid-transfer: with the function, and while it is gone.

Their interrupts are posted: what is on its way in a descriptor is put back, too.
"""

from __future__ import annotations

import verdigris as vg

SCRIPT = """\
modprobe ixgbevf
ip link set eth0 up
ip addr add $ADDRESS/24 dev eth0
if [ $ADDRESS = 10.0.0.2 ]; then
    seq 1 20000 >/tmp/chunk
    nc -l -p 5000 -e sh -c 'while cat /tmp/chunk; do usleep 5000; done'
fi
until nc 10.0.0.2 5000 -e sh -c 'cat >/dev/null'; do usleep 100000; done
"""

host = vg.Host(cores=2, memory="1GiB", profile="sandy-bridge-ep:posted")
nic = host.add(vg.Intel82599("nic", vfs=2))
switch = host.virtual_switch("external", uplink=nic)


def guest(name: str, address: str) -> vg.Partition:
    """A guest at one end of the connection."""
    linux = vg.Linux(script=f"ADDRESS={address}\n{SCRIPT}", command_line_extra="ipv6.disable=1")
    return host.partition(name, memory="256MiB", guest=linux)


client, server = guest("client", "10.0.0.1"), guest("server", "10.0.0.2")
adapters = {vm.name: vm.network(switch, sriov=True) for vm in (client, server)}


async def main(sim: vg.Simulation) -> None:
    """Compares straight runs with restored ones."""
    mine = adapters["client"].vf
    for adapter in adapters.values():
        await adapter.vf.carrying(within="60s")
    while mine.counts["received"] < 500:
        await sim.after("10ms")
    await sim.after("123us")
    with_function = sim.checkpoint()

    async def go_on() -> tuple[str, int, int]:
        await sim.after("30ms")
        return sim.trace_hash(), mine.counts["received"], adapters["client"].received.frames

    straight = await go_on()
    await adapters["client"].revoke_vf()
    without = sim.checkpoint()
    gone = await go_on()
    adapters["client"].offer_vf()
    await mine.carrying(within="10s")
    again = await go_on()

    # A check is part of the trace: none before all have gone on.
    sim.restore(without)
    turns = [await go_on()]
    adapters["client"].offer_vf()
    await mine.carrying(within="10s")
    turns.append(await go_on())
    sim.restore(with_function)
    there = mine.given and mine.carries_traffic
    turns.append(await go_on())
    sim.check("goes on without the function", turns[0] == gone, f"{turns[0]} {gone}")
    sim.check("gets it again at the same moment", turns[1] == again, f"{turns[1]} {again}")
    sim.check("goes on with the function", there and turns[2] == straight, f"{turns[2]} {straight}")
    sim.check("traffic on each way", straight[1] > 500 and gone[2] > straight[2] + 100 and again[1] > straight[1])
