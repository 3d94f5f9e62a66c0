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
    streams = workloads["stream"].connections
    sim.check("one connection", (streams.open, streams.opened, streams.resets, streams.timed_out) == (1, 1, 0, 0), str(streams))
    sim.check("a fifth", first["load"][0][0] == 10 and first["load"][0][1] >= 200 * 10**6, str(first["load"][0][:3]))
"""


MIGRATION = """\
import verdigris as vg

a, b = vg.Host(name="a", memory="512MiB"), vg.Host(name="b", memory="256MiB")
nic = a.add(vg.Intel82599("nic", vfs=2, vmq=1))
other = b.add(vg.Intel82599("nic", vfs=1, vmq=1, rack=nic))
switch = a.virtual_switch("external", uplink=nic)
far = b.virtual_switch("external", uplink=other)
lan = a.virtual_switch("lan")
server = switch.peer("server", address="10.0.0.1/24")
one = a.partition("one", memory="64MiB", guest=vg.Behavioural())
net = one.network(switch, address="10.0.0.2/24", sriov=True)
plain = a.partition("plain", memory="32MiB", guest=vg.Behavioural())
plain.network(switch)
alone = a.partition("alone", memory="64MiB", guest=vg.Behavioural())
alone.network(lan, address="10.1.0.2/24")
full = a.partition("full", memory="32MiB", guest=vg.Behavioural())
full.disk(vg.Disk.create("vhdx", "64MiB"))
large = a.partition("large", memory="256MiB", guest=vg.Behavioural())


async def main(sim):
    await sim.after("50ms")

    async def refused(coroutine, why):
        try:
            await coroutine
            sim.check(why, False, "it was not refused")
        except vg.UserError as error:
            sim.check(why, why in str(error), str(error))

    await refused(one.migrate(a), "migration of partition one: it is on host a already")
    await refused(one.migrate("b"), "migration of partition one: 'b' is no host; make one with vg.Host(name=...)")
    await refused(one.migrate(b, rounds=0), "migration of partition one: rounds=0 is not a whole number from 1 on")
    await refused(one.migrate(b, bandwidth="fast"), "migration of partition one: bandwidth")
    await refused(one.migrate(b, bandwidth="1kb/s"), "a bandwidth of 1000 bit/s: give one from 1 Mbit/s to 1 Tbit/s")
    await refused(alone.migrate(b), "migration of partition alone: host b has no virtual switch lan")
    await refused(full.migrate(b), "migration of partition full: it has disks, and the hosts share no storage")
    await refused(large.migrate(b), "partition 'large' wants 256 MiB")
    await net.vf.carrying()
    sim.check("it is where it was", one.path == "virtual function" and one.host is a)

    asking = one.workload(vg.RequestResponse(to=server))
    moving = sim.start(one.migrate(b, bandwidth="1Gb/s"))
    while one.migration is None:
        await sim.after("1ms")
    await refused(one.migrate(b), "migration of partition one: it is on its way already")
    try:
        one.disk(vg.Disk.create("vhdx", "64MiB"))
        sim.check("no disk", False)
    except vg.UserError as error:
        sim.check("no disk", "partition one: it is on its way to another host" in str(error), str(error))
    try:
        sim.checkpoint()
        sim.check("no checkpoint", False)
    except vg.UserError as error:
        sim.check("no checkpoint", "checkpoint: partition one is on its way to another host" in str(error), str(error))
    try:
        b.partition("late", memory="32MiB", guest=vg.Behavioural()).network(far, sriov=True)
        sim.check("no function", False)
    except vg.UserError as error:
        sim.check("no function", "adapter nic: a partition on its way to this host will have the last of its 1" in str(error), str(error))
    await sim.after("20ms")
    one.migration.give_up()
    given_up = await moving
    await net.vf.carrying()
    sim.check("it stays, and has its function back", not given_up.arrived and one.host is a and one.path == "virtual function")

    near = net.vf
    moved = await one.migrate(b)
    await net.vf.carrying()
    steps = [step for step, at in near.moments][-4:]
    sim.check("the function went first", steps == ["revocation", "to_synthetic", "returned", "dissociated"], str(steps))
    steps = [step for step, at in net.vf.moments]
    sim.check("the other came after", steps == ["associated", "offered", "in_use", "to_vf"], str(steps))
    arrival = moved._native.began_ps + moved.total_ps
    sim.check("in this order", near.moments[-1][1] <= moved._native.began_ps and net.vf.moments[0][1] >= arrival)
    asking.reset()
    await sim.after("5ms")
    sim.check("its connection is alive", asking.throughput.count > 10 and asking.failures == 0, str(asking.throughput))
    try:
        await plain.migrate(b, bandwidth="10Mb/s", within="2ms")
        sim.check("too slow", False)
    except vg.Timeout:
        await sim.after("1ms")
        sim.check("too slow: it stays", plain.migration.over and not plain.migration.arrived and plain.host is a)
    await plain.migrate(b)
    sim.check("its queue went with it", len(nic.queue_processors) == 1 and len(other.queue_processors) == 2)
    sim.check("nobody has the function that it left", one.host is b and nic._native.reserved() == 0)
    sim.check("statistics are those of its new place", one.stats["vmbus.signals_in"] >= 0 and one in b.partitions)
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
        names = ["latency_under_load", "failover_under_load", "moderation", "migration_under_load", "noisy_neighbour", "placement"]
        for name in [*names, "storage_mix", "consolidation", "page_walk"]:
            with self.subTest(scenario=name):
                scenario = SOURCE / f"scenarios/{name}.py"
                done = self.run_scenario(scenario, "--out", name)
                self.assert_passed(done)
                self.assertGreaterEqual(len(self.result(name)["checks"]), 2)
                self.assertEqual(self.run_scenario(scenario).stdout, done.stdout)
        surprise = self.run_scenario(SOURCE / "scenarios/failover_under_load.py", "--set", "surprise=1")
        self.assert_passed(surprise)

    def test_migration(self) -> None:
        """Who may not move stays; who is given up goes on; functions go before and come after."""
        (self.folder / "migration.py").write_text(MIGRATION)
        done = self.run_scenario("migration.py", "--out", "out")
        self.assert_passed(done)
        moved = self.result()["migrations"]
        self.assertEqual([each["arrived"] for each in moved], [False, True, False, True])
        last = moved[1]
        self.assertEqual((last["from"], last["to"]), ("a", "b"))
        self.assertEqual(sum(each["bytes"] for each in last["rounds"]), last["bytes"])
        self.assertLess(last["blackout_ps"], last["total_ps"])
        self.assertRegex(done.stdout, "migration of one from a to b: [0-9.]+ ms, of these [0-9.]+ [mu]s without the guest; ")
        self.assertEqual(set(self.result()["hosts"]), {"a", "b"})

    def test_workloads(self) -> None:
        (self.folder / "arrivals.txt").write_text("2.5ms 100\n# a comment\n4ms\n40ms 1518\n")
        (self.folder / "workloads.py").write_text(WORKLOADS)
        self.assert_passed(self.run_scenario("workloads.py", "--out", "out"))

    def test_documented_frames(self) -> None:
        """The lives of two frames that docs/timing.md shows are the last of the run that it names."""
        text = (SOURCE / "docs/timing.md").read_text()
        scenario, *options = re.findall(r"`./verdigris run (scenarios/\S+ --trace packet [^`]*)`", text)[0].split()
        self.run_scenario(SOURCE / scenario, *options, "--out", "out")
        last = [line.split(" | ")[1] for line in (self.folder / "out/trace.txt").read_text().splitlines()[-2:]]
        shown = [" ".join(life.split()) for life in re.findall(r"^    \| (.*\n    .*)$", text, re.MULTILINE)]
        self.assertEqual(shown, last)


if __name__ == "__main__":
    main()
