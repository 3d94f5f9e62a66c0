"""Where the receive work of many connections is done: one queue, VMQ, VMMQ over four root processors, and on another node.

A server beyond the wire sends to a guest over sixteen connections. In each variant the guest has four processors and four
channels; what differs is which processors of the root take its frames from the adapter (the queues) and hand them to it
(the channels), and on which NUMA nodes the guest's processors and its memory are. Shown are the rate, what it takes of
each root processor, and how long the guest's work waits for the other node's memory.
"""

import verdigris as vg

window = vg.parameter("window", "10ms", "how long each measurement is, after its warm-up")
warm_up = vg.parameter("warm_up", "20ms", "time before a measurement that does not count")
connections = vg.parameter("connections", 16, "streams to the guest at the same time")

# Two nodes of eight processors; the root's work is on 0 to 3, the guests run on the last four of a node.
FOUR = [0, 1, 2, 3]
GUESTS = {0: [4, 5, 6, 7], 1: [12, 13, 14, 15]}
VARIANTS = {
    # name: (the adapter's queues, root processors of the channels, nodes of the guest's memory and processors)
    "one queue": ({"root_processors": [0]}, [0], 0, 0),
    "VMQ": ({"root_processors": [0, 1], "vmq": 1}, [1], 0, 0),
    "VMMQ": ({"root_processors": FOUR, "vmq": 1, "vmq_queues": 4, "queues": 4}, FOUR, 0, 0),
    "VMMQ, guest afar": ({"root_processors": FOUR, "vmq": 1, "vmq_queues": 4, "queues": 4}, FOUR, 1, 1),
    "VMMQ, memory afar": ({"root_processors": FOUR, "vmq": 1, "vmq_queues": 4, "queues": 4}, FOUR, 1, 0),
}

host = vg.Host(cores=16, nodes=2, memory="4GiB")


class Place:
    """An adapter with its switch, a server beyond it, and a guest."""

    def __init__(self, number: int, queues: dict, channels: list[int], memory: int, processors: int) -> None:
        self.adapter = host.add(vg.Intel82599(f"nic{number}", vfs=1, **queues))
        switch = host.virtual_switch(f"external{number}", uplink=self.adapter)
        self.server = switch.peer(f"server{number}", address=f"10.0.{number}.1/24")
        self.guest = host.partition(
            f"guest{number}", vps=4, memory="64MiB", guest=vg.Behavioural(), node=memory, affinity=GUESTS[processors]
        )
        self.guest.network(switch, address=f"10.0.{number}.2/24", channels=4, root_processors=channels)


places = {name: Place(number, *how) for number, (name, how) in enumerate(VARIANTS.items())}


async def at_rest(sim):
    """What is under way ends, which takes as long as it takes."""
    for _ in range(100):
        times = host.processor_times()
        await sim.after("2ms")
        if all(causes.get("idle", 0) * 100 > times.window_ps * 98 for causes in times.causes.values()):
            return


async def main(sim):
    sim.measure.variants(*places)
    sim.measure.machine(*host.diagram())
    await sim.after("50ms")
    rates, busy, waits = {}, {}, {}
    for name, place in places.items():
        stream = place.guest.workload(vg.Stream(to=place.server, connections=connections, reverse=True), "streams")
        await sim.after(warm_up)
        stream.reset()
        times = host.processor_times()
        await sim.after(window)
        rates[name] = stream.measure(sim, "streams", variant=name).throughput.bits_per_second
        times.measure(sim, variant=name, workloads=["streams"])
        causes = times.causes
        share = 1000 / times.window_ps
        busy[name] = [round((times.window_ps - causes[f"host.lp{lp}"].get("idle", 0)) * share) for lp in FOUR]
        waits[name] = sum(ps for each in causes.values() for what, ps in each.items() if what.endswith("remote_memory"))
        stream.stop()
        await at_rest(sim)
    for name, place in places.items():
        sim.check(f"{name}: queues are served where they should be", place.adapter.queue_processors[0] == 0)
    sim.check("VMMQ > one queue", rates["VMMQ"] > rates["one queue"], f"{rates}")
    sim.check("one queue: one root processor does it all", busy["one queue"][0] > 900 and max(busy["one queue"][1:]) < 100)
    sim.check("VMMQ: four share it", min(busy["VMMQ"]) > 100, f"{busy['VMMQ']}")
    afar = [name for name in places if waits[name]]
    sim.check("work waits where processors and memory are apart", afar == ["VMMQ, memory afar"], f"{waits}")
    print(f"\n  {'':<18}{'Gb/s':>8}   busy root processors (%)      waiting for memory (us)")
    for name in places:
        each = "".join(f"{permille / 10:>7.1f}" for permille in busy[name])
        print(f"  {name:<18}{rates[name] / 1e9:>8.2f}   {each}{waits[name] // 10**6:>24,}")
    print()
