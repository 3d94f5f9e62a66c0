"""A partition moves to another host in mid-stream: what its connections notice, and for how long it stands still.

Two hosts on one rack switch. A guest on the first sends as fast as it can and asks a server for answers, over a virtual
function, while a program of its own keeps writing to memory. It moves: the virtual function goes first, since no table
tells what an adapter writes; traffic falls back on the synthetic path; its memory goes page by page over a link of its
own, again and again what was written to meanwhile, until little is left; then the guest stands for as long as the rest
takes, and goes on at the other host, whose adapter gives it a virtual function again. Nothing is reset, and no byte of
memory is lost. Write faster than the link (--set writes=2GiB) and no round gets shorter than the one before: the guest
is stopped after the last of them, and stands for long.
"""

import verdigris as vg

bandwidth = vg.parameter("bandwidth", "10Gb/s", "of the link between the hosts that memory goes over")
rounds = vg.parameter("rounds", 10, "most rounds with the guest running")
threshold = vg.parameter("threshold", "256KiB", "memory left to go when the guest may stand")
writes = vg.parameter("writes", "100MiB", "what the guest's program writes to memory in a second")
working_set = vg.parameter("working_set", "8MiB", "memory that it writes to")
step = vg.parameter("step", "1ms", "distance of the points on the time line")

a = vg.Host(name="a", cores=4, memory="1GiB")
b = vg.Host(name="b", cores=4, memory="1GiB")
adapter = a.add(vg.Intel82599("nic", vfs=1))
other = b.add(vg.Intel82599("nic", vfs=1, rack=adapter))
switch = a.virtual_switch("external", uplink=adapter)
b.virtual_switch("external", uplink=other)
server = switch.peer("server", address="10.0.0.1/24")
guest = a.partition("guest", vps=2, memory="64MiB", guest=vg.Behavioural())
net = guest.network(switch, address="10.0.0.2/24", sriov=True)


async def main(sim):
    await sim.after("50ms")
    stream = guest.workload(vg.Stream(to=server))
    asking = guest.workload(vg.RequestResponse(to=server, processor=1))
    writer = guest.workload(vg.MemoryWriter(working_set, writes, processor=1))
    await sim.after("10ms")
    start = sim.now
    rates: list[int] = []

    async def steps(count: int) -> int:
        """The mean rate of so many steps."""
        first = len(rates)
        for _ in range(count):
            stream.reset()
            await sim.after(step)
            rates.append(stream.throughput.bits_per_second)
        return sum(rates[first:]) // count

    before = await steps(20)
    moving = sim.start(guest.migrate(b, bandwidth=bandwidth, rounds=rounds, threshold=threshold))
    while not moving.done:
        await steps(1)
    migration = await moving
    await net.vf.carrying()
    await steps(20)
    after = await steps(20)
    sim.measure.timeline("stream", rates, step=step, start=start)
    for name, value, unit, what in (
        ("blackout", migration.blackout_ps, "ps", "the guest stood still"),
        ("migration", migration.total_ps, "ps", "from the first page to the guest's going on"),
        ("revocation", migration.revocation_ps, "ps", "until the guest had let its virtual function go"),
        ("moved", migration.bytes, "bytes", "over the link between the hosts"),
        ("rate_before", before, "bit/s", "rate of the stream before"),
        ("rate_after", after, "bit/s", "rate of the stream after"),
    ):
        sim.record(name, value, unit, what)
    sim.check("it has arrived", migration.arrived and guest.host is b)
    sim.check("the other host's virtual function carries its traffic", guest.path == "virtual function", guest.path)
    streams = stream.connections
    sim.check("no connection was reset, none broke", streams.open == streams.opened == 1, str(streams))
    sim.check("no request was lost", asking.failures == 0, f"{asking.failures} were")
    sim.check("requests are answered", await answered(sim, asking))
    sim.check("as fast as before", abs(after - before) * 20 <= before, f"{before} and {after} bit/s")
    sim.check("memory is what was written", writer.damaged == 0, f"{writer.damaged} pages are not")
    # What a round leaves is what was written while it lasted: no more goes than that.
    page = 4096
    first, *others = migration.rounds
    sim.check("the first round is all memory", first.pages * page == 64 << 20, f"{first.pages} pages")
    sim.check("the others are less", all(each.pages < first.pages // 4 for each in others))
    sim.check("the blackout is the last round", migration.blackout_ps == others[-1].time_ps)


async def answered(sim, asking) -> bool:
    asking.reset()
    await sim.after("5ms")
    return asking.throughput.count > 0
