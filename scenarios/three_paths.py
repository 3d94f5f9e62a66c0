"""Three ways from a guest to the network, in one host: emulated, synthetic, and by a virtual function.

Each of three guests asks a server beyond the adapter's wire, one request at a time, then a neighbour of its own kind on
the same host; then it sends as fast as it can. The same host, switch and adapter serve all of them, one after the other.
Shown are the latency of a request and where its time goes, the rate of a stream, and what it takes of the processors.
"""

import verdigris as vg

window = vg.parameter("window", "10ms", "how long each measurement is, after its warm-up")
warm_up = vg.parameter("warm_up", "2ms", "time before a measurement that does not count")
size = vg.parameter("size", 64, "bytes of a request, and of its answer")

PATHS = {"emulated": "emulated", "synthetic": "synthetic", "vf": "virtual function"}

host = vg.Host(cores=4, memory="4GiB")
adapter = host.add(vg.Intel82599("nic", vfs=2))
switch = host.virtual_switch("external", uplink=adapter)
server = switch.peer("server", address="10.0.0.1/24")


def guest(path: str, name: str, number: int) -> vg.Partition:
    vm = host.partition(
        f"{path}-{name}", memory="64MiB", guest=vg.Behavioural(), generation=1 if path == "emulated" else 2
    )
    vm.network(switch, address=f"10.0.0.{number}/24", legacy=path == "emulated", sriov=path == "vf")
    return vm


clients = {path: guest(path, "client", 10 + n) for n, path in enumerate(PATHS)}
neighbours = {path: guest(path, "neighbour", 20 + n) for n, path in enumerate(PATHS)}


async def measured(sim, path, client, workload, name, cpu=False):
    """One workload alone on the machine: its warm-up, then its window."""
    client.workload(workload, name)
    await sim.after(warm_up)
    workload.reset()
    times = host.processor_times()
    await sim.after(window)
    result = workload.measure(sim, name, variant=path)
    causes = times.causes
    sim.check(f"{path}, {name}: each processor's causes are its time",
              all(sum(each.values()) == times.window_ps for each in causes.values()))  # fmt: skip
    if cpu:
        times.measure(sim, variant=path, workloads=[name])
    workload.stop()
    await sim.after("1ms")  # what is under way ends
    return result, causes


async def main(sim):
    sim.measure.variants(*PATHS)
    sim.measure.machine(*host.diagram())
    await sim.after("50ms")
    requests, locally, streams, busy = {}, {}, {}, {}
    for path, client in clients.items():
        sim.check(f"{path}: that is the way", client.path == PATHS[path], client.path)
        ask = vg.RequestResponse(to=server, size=size)
        requests[path], _ = await measured(sim, path, client, ask, "requests to the wire")
        ask = vg.RequestResponse(to=neighbours[path], size=size)
        locally[path], _ = await measured(sim, path, client, ask, "requests to a neighbour")
        send = vg.Stream(to=server)
        streams[path], causes = await measured(sim, path, client, send, "stream to the wire", cpu=True)
        busy[path] = sum(ps for each in causes.values() for cause, ps in each.items() if cause != "idle")
    for what, each in (("requests to the wire", requests), ("requests to a neighbour", locally)):
        for path, result in each.items():
            where = result.attribution
            exact = sum(where.causes.values()) == where.total == result.latency.sum and where.count > 0
            sim.check(f"{path}, {what}: the causes are the latency", exact)
        slow, middle, fast = (each[path].latency.percentiles["50"] for path in PATHS)
        sim.check(f"{what}: emulated > synthetic > vf", slow > middle > fast, f"{slow} > {middle} > {fast} ps")
    show(requests, locally, streams, busy)


# The table on the terminal
# ----------------------------------------------------------------------------------------------------------------


def us(ps: int) -> str:
    return f"{ps // 10_000 / 100:,.2f}"


def row(name: str, cells: list[str]) -> None:
    print(f"  {name:<34}" + "".join(f"{cell:>13}" for cell in cells))


def show(requests, locally, streams, busy) -> None:
    print()
    row("", list(PATHS))
    for name, each in (("to the wire", requests), ("to a neighbour", locally)):
        row(f"request {name}, median (us)", [us(w.latency.percentiles["50"]) for w in each.values()])
        row("  99th percentile", [us(w.latency.percentiles["99"]) for w in each.values()])
        row("  requests per second", [f"{w.throughput.per_second:,}" for w in each.values()])
    row("stream to the wire (Gb/s)", [f"{w.throughput.bits_per_second // 10**7 / 100:,.2f}" for w in streams.values()])
    window_ps = vg.parse_time(window)
    row("  processors that it takes", [f"{ps * 100 // window_ps / 100:.2f}" for ps in busy.values()])
    print("\n  Where the time of a request to the wire goes (us):")
    each = [w.attribution for w in requests.values()]
    causes = sorted({cause for where in each for cause in where.causes},
                    key=lambda cause: -max(where.causes.get(cause, 0) // where.count for where in each))  # fmt: skip
    for cause in causes:
        parts = [where.causes.get(cause, 0) // where.count for where in each]
        row(cause, [us(part) if part else "-" for part in parts])
    row("together", [us(where.total // where.count) for where in each])
    print()
