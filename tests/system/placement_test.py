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

# Two adapters, all virtual functions of both in guests that send to one another's server.
FULL = """\
import verdigris as vg

host = vg.Host(cores=8, memory="16GiB")
guests = []
for a in range(2):
    adapter = host.add(vg.Intel82599(f"nic{a}", vfs=63))
    switch = host.virtual_switch(f"external{a}", uplink=adapter)
    server = switch.peer(f"server{a}", address=f"10.{a}.0.1/16")
    for n in range(63):
        vm = host.partition(f"vm{a}-{n}", memory="64MiB", guest=vg.Behavioural())
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
