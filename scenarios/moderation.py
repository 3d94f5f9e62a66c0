"""Interrupt moderation of a virtual function: latency against processor time.

Three guests do the same, one after the other: one driver adapts the interval as ixgbevf does, one never waits, one waits
always as long. A request alone wants no wait; a stream is cheaper with one. The adaptive driver should be near the better
of the others in both.
"""

import verdigris as vg

interval = vg.parameter("interval", "100us", "the fixed interval")
window = vg.parameter("window", "20ms", "how long each measurement is")

MODES = {"adaptive": "adaptive", "low latency": "low latency", "fixed": interval}

host = vg.Host(cores=4, memory="2GiB")
adapter = host.add(vg.Intel82599("nic", vfs=len(MODES)))
switch = host.virtual_switch("external", uplink=adapter)
server = switch.peer("server", address="10.0.0.1/24")
guests = {}
for number, (mode, moderation) in enumerate(MODES.items(), 2):
    guests[mode] = host.partition(mode.replace(" ", "-"), memory="64MiB", guest=vg.Behavioural())
    guests[mode].network(switch, address=f"10.0.0.{number}/24", sriov=True, moderation=moderation)


async def main(sim):
    sim.measure.variants(*MODES)
    await sim.after("60ms")
    medians, costs, rates = {}, {}, {}
    for mode, guest in guests.items():
        requests = guest.workload(vg.RequestResponse(to=server))
        await sim.after("3ms")
        requests.reset()
        await sim.after(window)
        medians[mode] = requests.measure(sim, "requests", variant=mode).latency.percentiles["50"]
        requests.stop()
        stream = guest.workload(vg.Stream(to=server, reverse=True))
        await sim.after("5ms")
        stream.reset()
        times = host.processor_times()
        await sim.after(window)
        rates[mode] = stream.measure(sim, "stream", variant=mode).throughput.bits_per_second
        times.measure(sim, variant=mode, workloads=["stream"])
        busy = sum(ps for causes in times.causes.values() for cause, ps in causes.items() if cause != "idle")
        costs[mode] = busy // stream.throughput.bytes
        stream.stop()
        await sim.after("5ms")
    sim.check("waiting costs latency", medians["fixed"] > medians["low latency"], f"{medians} ps")
    sim.check("and saves processor time", costs["fixed"] < costs["low latency"], f"{costs} ps per byte")
    sim.check("adapting is quick with a request alone", medians["adaptive"] < medians["fixed"], f"{medians} ps")
    sim.check("and cheap with a stream", costs["adaptive"] < costs["low latency"], f"{costs} ps per byte, {rates} bit/s")
