"""A virtual function goes in mid-stream and comes back: what the connection notices.

The guest sends as fast as it can. The host asks for the function back (a policy, or a migration would), traffic moves to
the synthetic path within the same connection, and returns when the function does. The time line shows the rate of each
millisecond; the checks say that nothing was reset and that the rate came back.
"""

import verdigris as vg

step = vg.parameter("step", "1ms", "distance of the points on the time line")
surprise = vg.parameter("surprise", 0, "1: the function is gone at once, the guest is not asked")

host = vg.Host(cores=4, memory="2GiB")
adapter = host.add(vg.Intel82599("nic", vfs=1))
switch = host.virtual_switch("external", uplink=adapter)
server = switch.peer("server", address="10.0.0.1/24")
guest = host.partition("guest", vps=2, memory="64MiB", guest=vg.Behavioural())
net = guest.network(switch, address="10.0.0.2/24", sriov=True)


async def main(sim):
    await sim.after("50ms")
    stream = guest.workload(vg.Stream(to=server))
    await sim.after("10ms")
    start = sim.now
    rates: list[int] = []
    paths: list[str] = []

    async def steps(count: int) -> int:
        """The mean rate of so many steps."""
        first = len(rates)
        for _ in range(count):
            stream.reset()
            await sim.after(step)
            rates.append(stream.throughput.bits_per_second)
            paths.append(guest.path)
        return sum(rates[first:]) // count

    before = await steps(20)
    if surprise:
        net.withdraw_vf()
    else:
        await net.revoke_vf()
    await steps(5)
    without = await steps(20)
    gone = guest.path
    net.offer_vf()
    await steps(20)
    after = await steps(20)
    sim.measure.timeline("stream", rates, step=step, start=start)
    for name, rate in (("before", before), ("without", without), ("after", after)):
        sim.record(f"rate_{name}", rate, "bit/s", f"rate of the stream {name} the virtual function's absence")
        print(f"  {name:<8} {rate / 1e9:6.2f} Gb/s")
    sim.check("traffic was on the virtual function", paths[0] == "virtual function", paths[0])
    sim.check("it went on without it", gone == "synthetic" and without > 0, f"{gone}, {without} bit/s")
    sim.check("it came back", guest.path == "virtual function", guest.path)
    sim.check("as fast as before", abs(after - before) * 20 <= before, f"{before} and {after} bit/s")
    streams = stream.connections
    sim.check("one connection, never broken", streams.open == streams.opened == 1, str(streams))
