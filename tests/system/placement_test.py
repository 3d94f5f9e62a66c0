"""Scheduling and placement from a scenario: each knob of docs/placement.md and what it changes. EXECUTABLE."""

from __future__ import annotations

from executable import ExecutableCase, main

# Two guests that compute all the time on one processor, or two.
SCHEDULING = """\
import verdigris as vg

def shares(host, times):
    busy = {}
    for lp, causes in times.causes.items():
        for cause, ps in causes.items():
            if cause.startswith("guest."):
                name = cause.split(".")[1]
                busy[name, lp] = busy.get((name, lp), 0) + ps * 1000 // times.window_ps
    return busy

KNOBS = {"weight": dict(weight=300), "reserve": dict(reserve="60%", weight=1), "cap": dict(cap="25%"),
         "affinity": dict(affinity=[1]), "none": {}}
knob = vg.parameter("knob", "none", "which is turned on the first guest")
host = vg.Host(cores=2 if knob == "affinity" else 1, memory="1GiB")
one = host.partition("one", memory="64MiB", guest=vg.Behavioural(), **KNOBS[knob])
two = host.partition("two", memory="64MiB", guest=vg.Behavioural())

async def main(sim):
    for vm in (one, two):
        vm.workload(vg.CpuLoad("100%", period="50ms"))
    await sim.at("200ms")
    times = host.processor_times()
    await sim.after("400ms")
    busy = shares(host, times)
    first = sum(share for (name, _), share in busy.items() if name == "one")
    sim.check("share", EXPECTED[knob][0] <= first <= EXPECTED[knob][1], f"{first} of 1000: {busy}")
    if knob == "affinity":
        sim.check("it is where it may be", busy.get(("one", "host.lp0"), 0) == 0, str(busy))

EXPECTED = {"none": (495, 505), "weight": (740, 755), "reserve": (595, 605), "cap": (245, 252), "affinity": (990, 1000)}
"""

# Three guests that differ in nothing but where they are: beside the adapter; on the other node; there, with memory here.
NODES = """\
import verdigris as vg

nodes = vg.parameter("nodes", 2, "of the host")
host = vg.Host(cores=4, nodes=nodes, memory="1GiB")
adapter = host.add(vg.Intel82599("nic", vfs=3))
switch = host.virtual_switch("external", uplink=adapter)
server = switch.peer("server", address="10.0.0.1/24")
PLACES = {"near": (0, 1), "far": (1, 3), "split": (0, 2)}
guests = {}
for name, (node, processor) in PLACES.items():
    guests[name] = host.partition(name, memory="64MiB", guest=vg.Behavioural(), node=node % nodes, affinity=[processor])
    guests[name].network(switch, address=f"10.0.0.{len(guests) + 1}/24", sriov=True, moderation="low latency")

async def main(sim):
    await sim.after("60ms")
    latency, waits, works = {}, {}, {}
    for name, guest in guests.items():
        ask = guest.workload(vg.RequestResponse(to=server), "ask")
        await sim.after("2ms")
        ask.reset()
        times = host.processor_times()
        await sim.after("10ms")
        own = times.causes[f"host.lp{PLACES[name][1]}"]
        latency[name] = ask.latency.percentiles["50"]
        waits[name] = own.get(f"guest.{name}.remote_memory", 0)
        works[name] = sum(ps for cause, ps in own.items() if cause.startswith("guest.")) - waits[name]
        sim.check(f"{name}: it runs where it should", works[name] > 0)
        sim.check(f"{name}: the causes are the time", all(sum(each.values()) == times.window_ps for each in times.causes.values()))
        ask.stop()
        await sim.after("1ms")
    print(latency, waits, works)
    sim.check("near: no waiting for memory", waits["near"] == 0, str(waits))
    sim.check("far: its memory is its own, too", waits["far"] == 0, str(waits))
    if nodes == 2:
        sim.check("far: the adapter's accesses cross", 100_000 <= latency["far"] - latency["near"] <= 5_000_000, str(latency))
        sim.check("split: its work waits", 150 <= waits["split"] * 1000 // works["split"] <= 236, f"{waits} {works}")
        sim.check("split: that is longer", latency["split"] > latency["near"], str(latency))
    else:
        sim.check("one node: the same", waits["split"] == 0 and max(latency.values()) * 100 <= min(latency.values()) * 101, str(latency))
"""

# Memory of each node in equal parts; too much for one node; a node that is full.
MEMORY = """\
import verdigris as vg

host = vg.Host(cores=4, nodes=2, memory="512MiB")
parts = {"all": host.partition("all", memory="64MiB", guest=vg.Behavioural(), node="all", affinity=[0])}
parts["own"] = host.partition("own", memory="64MiB", guest=vg.Behavioural(), affinity=[3])
parts["free"] = host.partition("free", memory="64MiB", guest=vg.Behavioural())
parts["wide"] = host.partition("wide", vps=3, memory="32MiB", guest=vg.Behavioural())
try:
    host.partition("full", memory="200MiB", guest=vg.Behavioural(), node=1)
    refused = ""
except vg.UserError as error:
    refused = str(error)

async def main(sim):
    await sim.after("1ms")
    for vm in parts.values():
        vm.workload(vg.CpuLoad("10%"))
    await sim.after("5ms")
    waits, works = {name: 0 for name in parts}, {name: 0 for name in parts}
    places = {name: set() for name in parts}
    times = host.processor_times()
    await sim.after("20ms")
    for lp, causes in times.causes.items():
        for cause, ps in causes.items():
            name = cause.split(".")[1] if cause.startswith("guest.") else ""
            if name and cause.endswith("remote_memory"):
                waits[name] += ps
            elif name:
                works[name] += ps
                places[name].add(lp)
    permille = {name: waits[name] * 1000 // works[name] for name in parts}
    sim.check("half of its memory is remote", 90 <= permille["all"] <= 125, str(permille))
    sim.check("affinity says whose memory", permille["own"] == 0, str(permille))
    sim.check("the node with most free memory", permille["free"] == 0 and places["free"] <= {"host.lp0", "host.lp1"}, str(places))
    sim.check("more processors than a node has", 90 <= permille["wide"] <= 125, str(permille))
    sim.check("a node that is full", refused.startswith("partition 'full': node 1 has no 200 MiB"), refused)
"""

# Queue pairs of an ordinary virtual function, with a virtual processor for each vector.
VF_QUEUES = """\
import verdigris as vg

queues = vg.parameter("queues", 4, "queue pairs")
host = vg.Host(cores=4, memory="1GiB")
adapter = host.add(vg.Intel82599("nic", vfs=2, queues=4 if queues == 4 else 2))
switch = host.virtual_switch("external", uplink=adapter)
server = switch.peer("server", address="10.0.0.1/24")
vm = host.partition("vm", vps=2, memory="64MiB", guest=vg.Behavioural())
vm.network(switch, address="10.0.0.2/24", sriov=True, mailbox=True, queues=queues)

async def main(sim):
    await sim.after("60ms")
    sim.check("by its virtual function", vm.path == "virtual function", vm.path)
    streams = vm.workload(vg.Stream(to=server, connections=32, reverse=True))
    await sim.after("8ms")
    received = [value for name, value in host.stats.items() if "vm-net1.driver.vf.queue" in name and name.endswith(".frames_received")]
    interrupts = [value for name, value in host.stats.items() if "vm-net1.driver.vf.vector" in name and name.endswith(".interrupts")]
    sim.check("all queues receive", len(received) == queues and min(received) > 100, str(received))
    sim.check("each vector on a processor of its own", len(interrupts) == min(queues, 2) and min(interrupts) > 10, str(interrupts))
    sim.check("the wire is full", streams.throughput.bits_per_second > 5 * 10**9, str(streams.throughput))
"""

# Two adapters, all virtual functions of both in guests that send to one another's server.
FULL = """\
import verdigris as vg

host = vg.Host(cores=8, nodes=2, memory="16GiB")
guests = []
for a in range(2):
    adapter = host.add(vg.Intel82599(f"nic{a}", vfs=63, node=a))
    switch = host.virtual_switch(f"external{a}", uplink=adapter)
    server = switch.peer(f"server{a}", address=f"10.{a}.0.1/16")
    for n in range(63):
        vm = host.partition(f"vm{a}-{n}", memory="64MiB", guest=vg.Behavioural(), node=a)
        network = vm.network(switch, address=f"10.{a}.1.{n + 1}/16", sriov=True)
        guests.append((vm, network, server))

async def main(sim):
    await sim.after("100ms")
    sim.check("all by virtual functions", all(vm.path == "virtual function" for vm, _, _ in guests))
    flows = [vm.workload(vg.Datagrams(to=server, frame=512, arrivals=vg.Constant(2000), follow=False)) for vm, _, server in guests]
    await sim.after("5ms")
    counts = [flow.throughput.count for flow in flows]
    sim.check("each sends and is heard", len(counts) == 126 and min(counts) >= 8, str(sorted(counts)))
    for a in range(2):
        sent = sum(network.vf.counts["sent"] for _, network, _ in guests[63 * a : 63 * a + 63])
        sim.check(f"adapter {a} has sent it", sent >= 63 * 8, str(sent))
    sim.measure.machine(*host.diagram())
"""

# Which root processor serves a synthetic adapter's queues and channels.
ROOT = """\
import verdigris as vg

host = vg.Host(cores=6, memory="1GiB")
adapter = host.add(vg.Intel82599("nic", vfs=1, vmq=2, root_processors=[0, 1, 2], balance=vg.parameter("balance", "0s", "how often queues move")))
switch = host.virtual_switch("external", uplink=adapter)
server = switch.peer("server", address="10.0.0.1/24")
guests = []
for n in range(2):
    vm = host.partition(f"vm{n}", memory="64MiB", guest=vg.Behavioural(), affinity=[4 + n])
    vm.network(switch, address=f"10.0.0.{n + 2}/24", root_processors=[3])
    guests.append(vm)

async def main(sim):
    await sim.after("40ms")
    before = adapter.queue_processors
    guests[0].workload(vg.Stream(to=server, reverse=True))
    await sim.after("2ms")
    times = host.processor_times()
    await sim.after("5ms")
    causes = times.causes
    def busy(what):
        return [lp for lp in range(6) if causes[f"host.lp{lp}"].get(what, 0) > times.window_ps // 100]
    sim.check("channels", busy("root.network") == [3], str(causes))
    if before == [0, 1, 2]:
        sim.check("its own queue", busy("root.switch") == [1], str(causes))
        sim.check("queues stay", adapter.queue_processors == [0, 1, 2])
    else:
        sim.check("idle queues have come together", before == [0, 0, 0], str(before))
"""


class Placement(ExecutableCase):
    def run_text(self, text: str, *options: str) -> str:
        (self.folder / "scenario.py").write_text(text)
        done = self.run_scenario("scenario.py", *options, "--out", "out")
        self.assert_passed(done)
        return self.result()["trace_hash"]

    def test_scheduling(self) -> None:
        for knob in ("none", "weight", "reserve", "cap", "affinity"):
            with self.subTest(knob=knob):
                self.run_text(SCHEDULING, "--set", f"knob={knob}")

    def test_nodes(self) -> None:
        self.assertEqual(self.run_text(NODES), self.run_text(NODES))
        self.run_text(NODES, "--set", "nodes=1")
        self.run_text(MEMORY)

    def test_virtual_functions(self) -> None:
        for queues in (1, 2, 4):
            with self.subTest(queues=queues):
                self.run_text(VF_QUEUES, "--set", f"queues={queues}")

    def test_root_processors(self) -> None:
        self.run_text(ROOT)
        self.run_text(ROOT, "--set", "balance=5ms")

    def test_all_virtual_functions_of_two_adapters(self) -> None:
        self.run_text(FULL)
        machine = self.result()["machine"]
        kinds = [node["kind"] for node in machine["nodes"]]
        self.assertEqual([kinds.count(kind) for kind in ("partition", "adapter", "switch", "peer")], [126, 2, 2, 2])
        labels = [edge["label"] for edge in machine["edges"]]
        self.assertEqual(sum(label.startswith("VF ") for label in labels), 126)
        self.assertEqual(labels.count("uplink"), 2)


if __name__ == "__main__":
    main()
