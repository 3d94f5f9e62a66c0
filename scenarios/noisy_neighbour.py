"""What a neighbour's traffic does to a guest's latency, on each path, and whether a limit on the neighbour helps.

A quiet guest asks a server one request at a time. Beside it a noisy one sends bulk streams through the same root, switch
and adapter; then the same under a bandwidth limit on its port. On the synthetic path both share the root's processors, with
virtual functions only the adapter and its wire. What is looked at is the 99th percentile: of the synthetic path the median
says little, as half of the requests find no frame of the neighbour in their way.
"""

import verdigris as vg

path = vg.parameter("path", "synthetic", "way of both guests' frames: synthetic or vf")
limit = vg.parameter("limit", "1Gb/s", "what the noisy neighbour is limited to, on the synthetic path")
window = vg.parameter("window", "20ms", "how long is measured")

host = vg.Host(cores=4, memory="2GiB")
adapter = host.add(vg.Intel82599("nic", vfs=2))
switch = host.virtual_switch("external", uplink=adapter)
server = switch.peer("server", address="10.0.0.1/24")


def guest(name: str, number: int, maximum: str | int = 0) -> vg.Partition:
    vm = host.partition(name, memory="64MiB", guest=vg.Behavioural())
    vm.network(switch, address=f"10.0.0.{number}/24", sriov=path == "vf" and not maximum, maximum=maximum)
    return vm


quiet = guest("quiet", 2)
noisy = guest("noisy", 3)
limited = guest("limited", 4, maximum=limit)


async def main(sim):
    variants = {"alone": None, "beside": noisy, "limited": limited}
    sim.measure.variants(*variants)
    await sim.after("50ms")
    slow = {}
    for variant, neighbour in variants.items():
        noise = neighbour.workload(vg.Stream(to=server, connections=4)) if neighbour else None
        requests = quiet.workload(vg.RequestResponse(to=server))
        await sim.after("5ms")
        requests.reset()
        times = host.processor_times()
        await sim.after(window)
        slow[variant] = requests.measure(sim, "requests", variant=variant).latency.percentiles["99"]
        times.measure(sim, variant=variant)
        requests.stop()
        if noise:
            noise.stop()
        await sim.after("10ms")
    sim.check("a neighbour is noticed", slow["beside"] > 2 * slow["alone"], f"{slow} ps")
    sim.check("a limit helps", slow["limited"] < slow["beside"], f"{slow} ps")
