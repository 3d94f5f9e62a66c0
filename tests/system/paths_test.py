"""Behavioural guests and what they measure: EXECUTABLE."""

from __future__ import annotations

import re

from executable import SOURCE, ExecutableCase, main

PATHS = ["emulated", "synthetic", "vf"]

WORKLOADS = """\
import verdigris as vg

host = vg.Host(cores=4, memory="4GiB")
adapter = host.add(vg.Intel82599("nic", vfs=1))
switch = host.virtual_switch("external", uplink=adapter)
server = switch.peer("server", address="10.0.0.1/24")
one = host.partition("one", vps=2, memory="64MiB", guest=vg.Behavioural())
two = host.partition("two", vps=2, memory="64MiB", guest=vg.Behavioural())
one.network(switch, address="10.0.0.2/24", sriov=True)
two.network(switch, address="10.0.0.3/24", channels=2)
one.disk(vg.Disk.create("vhdx", "64MiB"))


async def main(sim):
    await sim.after("40ms")
    small, large = vg.RequestResponse(to=server), vg.RequestResponse(to=server, answer=4000)
    trace = vg.ArrivalTrace.from_file("arrivals.txt")
    workloads = {
        "many": one.workload(vg.RequestResponse(to=two, connections=16, size=[(64, 3), ((100, 2000), 1)])),
        "poisson": two.workload(vg.RequestResponse(to=one, protocol="udp", arrivals=vg.Poisson(5000), service="5us")),
        "bursts": two.workload(vg.Datagrams(to=server, frame=vg.IMIX, arrivals=vg.OnOff(50000, "1ms", "1ms"), follow=True)),
        "trace": one.workload(vg.Datagrams(to=two, arrivals=trace)),
        "load": two.workload(vg.CpuLoad("20%", processor=1)),
        "disk": one.workload(vg.StorageMix(read=7, write=3, depth=8)),
        "mixture": one.workload(vg.Mixture([(7, small), (3, large)], outstanding=2)),
        "stream": one.workload(vg.Stream(to=server, reverse=True)),
    }
    await sim.after("2ms")
    for workload in workloads.values():
        workload.reset()

    async def ten_ms():
        await sim.after("10ms")
        return {name: (w.latency.as_tuple(), w.throughput, w.attribution, w.failures) for name, w in workloads.items()}

    checkpoint = sim.checkpoint()
    first = await ten_ms()
    sim.restore(checkpoint)
    sim.check("it goes on as it did", await ten_ms() == first)
    for name, (_, moved, where, failures) in first.items():
        sim.check(f"{name}: something moves, nothing fails", moved.count + moved.bytes > 0 and failures == 0, str(moved))
        sim.check(f"{name}: the causes add up", sum(where.causes.values()) == where.total)
    sim.check("the trace's two", first["trace"][1].count == 2, str(first["trace"][1]))
    sim.check("a fifth", first["load"][0][0] == 10 and first["load"][0][1] >= 200 * 10**6, str(first["load"][0][:3]))
"""


class Paths(ExecutableCase):
    def test_three_paths(self) -> None:
        done = self.run_scenario(SOURCE / "scenarios/three_paths.py", "--set", "window=3ms", "--out", "out")
        self.assert_passed(done)
        result = self.result()
        self.assertEqual(result["variants"], PATHS)
        for path in PATHS:
            for name in ("requests to the wire", "requests to a neighbour"):
                with self.subTest(path=path, workload=name):
                    latency, where = result["latency"][f"{path}/{name}"], result["attribution"][f"{path}/{name}"]
                    self.assertGreater(latency["count"], 5)
                    self.assertEqual(where["count"], latency["count"])
                    self.assertEqual(where["total"], latency["sum"])
                    self.assertEqual(sum(where["causes"].values()), where["total"])
            cpu = result["cpu"][path]
            for causes in cpu["processors"].values():
                self.assertEqual(sum(causes.values()), cpu["window_ps"])
            # The stages that a way has, and those that it does not have.
            causes = result["attribution"][f"{path}/requests to the wire"]["causes"]
            self.assertEqual("root.emulation" in causes, path == "emulated")
            # (A service that is on its way to what came before needs no signal.)
            self.assertFalse("vmbus.signal" in causes and path != "synthetic")
            self.assertEqual("root.network" in causes, path != "vf")
        machine = result["machine"]
        kinds = [node["kind"] for node in machine["nodes"]]
        self.assertEqual([kinds.count(kind) for kind in ("root", "partition", "hypervisor", "switch", "adapter", "peer")], [1, 6, 1, 1, 1, 1])
        lines = {(edge["from"], edge["to"]): edge["label"] for edge in machine["edges"]}
        self.assertEqual(lines["p.vf-client", "a.nic"], "VF 0")
        self.assertEqual([lines["p.emulated-client", "s.external"], lines["s.external", "a.nic"]], ["", "uplink"])
        for row in ("request to the wire, median (us)", "stream to the wire (Gb/s)", "together"):
            self.assertRegex(done.stdout, re.escape(row) + r"( +[0-9.,]+){3}\n")
        again = self.run_scenario(SOURCE / "scenarios/three_paths.py", "--set", "window=3ms", "--out", "again")
        self.assertEqual(self.result("again")["trace_hash"], result["trace_hash"])
        self.assertEqual(again.stdout, done.stdout)

    def test_experiments(self) -> None:
        """Scenarios that a researcher starts from: their checks, and that the same comes out again."""
        for name in ("latency_under_load", "failover_under_load", "moderation", "noisy_neighbour", "storage_mix", "consolidation", "placement"):
            with self.subTest(scenario=name):
                scenario = SOURCE / f"scenarios/{name}.py"
                done = self.run_scenario(scenario, "--out", name)
                self.assert_passed(done)
                self.assertGreaterEqual(len(self.result(name)["checks"]), 2)
                self.assertEqual(self.run_scenario(scenario).stdout, done.stdout)
        surprise = self.run_scenario(SOURCE / "scenarios/failover_under_load.py", "--set", "surprise=1")
        self.assert_passed(surprise)

    def test_workloads(self) -> None:
        (self.folder / "arrivals.txt").write_text("2.5ms 100\n# a comment\n4ms\n40ms 1518\n")
        (self.folder / "workloads.py").write_text(WORKLOADS)
        self.assert_passed(self.run_scenario("workloads.py", "--out", "out"))


if __name__ == "__main__":
    main()
