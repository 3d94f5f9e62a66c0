"""How long requests take as more of them come: an open loop on one path, the curve that every service has.

Requests come at random times (Poisson), whether earlier ones are answered or not, so that waiting is seen and not hidden.
Sweep it: `./verdigris sweep scenarios/latency_under_load.py --over path=synthetic,vf --over rate=20000..100000+20000
--seeds 1-5`, and look at the page that `./verdigris report` makes of it.
"""

import verdigris as vg

path = vg.parameter("path", "vf", "way of the guest's frames: synthetic or vf")
rate = vg.parameter("rate", 40_000, "requests per second on average")
size = vg.parameter("size", 64, "bytes of a request")
answer = vg.parameter("answer", 1024, "bytes of an answer")
connections = vg.parameter("connections", 32, "TCP connections that requests take in turn")
window = vg.parameter("window", "50ms", "how long is measured")

if path not in ("synthetic", "vf"):
    raise vg.UserError(f"path: {path!r} is not one of synthetic, vf")

host = vg.Host(cores=4, memory="2GiB")
adapter = host.add(vg.Intel82599("nic", vfs=1))
switch = host.virtual_switch("external", uplink=adapter)
server = switch.peer("server", address="10.0.0.1/24")
client = host.partition("client", vps=2, memory="64MiB", guest=vg.Behavioural())
client.network(switch, address="10.0.0.2/24", sriov=path == "vf", channels=2)


async def main(sim):
    await sim.after("50ms")  # drivers, and the way to the virtual function
    requests = client.workload(
        vg.RequestResponse(to=server, size=size, answer=answer, connections=connections, arrivals=vg.Poisson(rate))
    )
    await sim.after("5ms")
    requests.reset()
    times = host.processor_times()
    await sim.after(window)
    measured = requests.measure(sim, "requests", variant=path)
    times.measure(sim, variant=path)
    sim.record("median_ns", measured.latency.percentiles["50"] // 1000, "ns", "median latency")
    sim.record("p99_ns", measured.latency.percentiles["99"] // 1000, "ns", "99th percentile of the latency")
    offered = rate * vg.parse_time(window) // 10**12
    served = measured.throughput.count
    sim.check("what came was served", abs(served - offered) * 10 <= offered, f"{served} of about {offered}")
    sim.check("nothing was lost", requests.failures == 0)
