"""The services of a stock Linux guest: all of them once, and a checkpoint in the middle of their work: EXECUTABLE."""

from __future__ import annotations

from executable import SOURCE, ExecutableCase, main


class Services(ExecutableCase):
    def test_each(self) -> None:
        self.assert_passed(self.run_scenario(SOURCE / "scenarios/linux_services.py", "--out", "out"))
        without_copy = "no daemon for file copy" in (self.folder / "out/console-linux.txt").read_text(errors="replace")
        self.assertEqual(len(self.result()["checks"]), 30 if without_copy else 31)
        stats = {name.removeprefix("host.root.linux."): entry["value"] for name, entry in self.result()["stats"].items()}
        self.assertEqual(stats["dynamic_memory.pages_taken"], 512 << 8)
        self.assertEqual(stats["dynamic_memory.pages_given"], 512 << 8)
        self.assertEqual(stats["dynamic_memory.pages_added"], 256 << 8)
        self.assertEqual(stats["memory.assigned"], 1280 << 20)
        self.assertEqual((stats["sockets.refused"], stats["sockets.faults"]), (1, 0))
        faults = [name for name, value in stats.items() if name.endswith(".faults") and value != 0]
        self.assertEqual(faults, [])

    def test_checkpoint_in_the_middle(self) -> None:
        (self.folder / "middle.py").write_text(MIDDLE)
        self.assert_passed(self.run_scenario("middle.py", "--out", "out"))

    def test_end_with_a_full_balloon(self) -> None:
        (self.folder / "end.py").write_text(END)
        self.assert_passed(self.run_scenario("end.py", "--out", "out"))


END = '''\
import verdigris as vg

host = vg.Host(cores=2, memory="1GiB")
vm = host.partition("linux", memory="512MiB", guest=vg.Linux(script="echo ready; cat"))


async def main(sim):
    await vm.console.expect("ready", within="60s")
    await vm.memory.balloon(to="300MiB")
    await vm.memory.add("128MiB")
    # What the balloon has taken is the host's to give.
    neighbour = host.partition("neighbour", memory="460MiB", guest=vg.Linux(script="true"))
    await neighbour.stopped(within="60s")
    await vm.memory.balloon(to="256MiB")
    # Reports decide: the least that it may have, what it needs and will give, the most that it may have.
    for minimum, reserve, low, high in ((360, 20, 360, 360), (200, 20, 200, 300), (200, 2000, 400, 400)):
        vm.memory.balance(minimum << 20, "400MiB", reserve)
        await vm.memory.reported(within="90s")
        await sim.after("500ms")
        has = vm.memory.assigned >> 20
        sim.check(f"balanced from {minimum} MiB on, {reserve} % in reserve", low <= has <= high, f"{has} MiB")
    vm.memory.stop_balancing()
    vm.services.shut_down()
    await vm.stopped(within="30s")
    sim.check("both have ended", (vm.state, neighbour.state) == ("powered_off", "powered_off"))
    # All is back: one partition may have nearly the whole host.
    large = host.partition("large", memory="960MiB", guest=vg.Linux(script="true"))
    await large.stopped(within="60s")
    sim.check("the third has ended", large.state == "powered_off", large.state)
'''

MIDDLE = '''\
import verdigris as vg

SCRIPT = """\
hv_kvp_daemon
vsock listen 6000 cat &
cat
"""
host = vg.Host(cores=2, memory="2GiB")
vm = host.partition("linux", memory="512MiB", guest=vg.Linux(script=SCRIPT, root="LABEL=verdigris"))
vm.disk(vg.Disk.create("vhdx", "128MiB", content=vg.linux_root()))


async def main(sim):
    await vm.console.expect("listening on 6000", within="60s")
    await vm.services.kvp.ready()
    await vm.memory.ready()
    socket = await vm.socket.connect(6000)
    # Unanswered: memory that is to be taken, a question for keys, bytes on their way there and back.
    socket.write(bytes(range(256)) * 1000)
    taking = sim.start(vm.memory.balloon(to="300MiB"))
    question = vm._native.keys_list(2)
    while not vm.stats["sockets.bytes_received"]:
        await sim.after("10us")
    middle = sim.checkpoint()
    places, results = [], []
    for turn in range(2):
        if turn > 0:
            sim.restore(middle)
        idle = vm._native.memory()["idle"]
        places.append((idle, vm.stats["sockets.bytes_sent"], vm.stats["dynamic_memory.pages_taken"]))
        data = await socket.read_exactly(256000)
        socket.finish()
        rest = await socket.read_all()
        await sim.at(middle.time_ps + 3 * 10**12)
        keys = vm._native.keys_answer(question)
        assigned = vm.memory.assigned
        await vm.memory.balloon(to="512MiB")
        results.append((sim.trace_hash(), sim.now, dict(vm.stats)))
        # A check is part of the trace, with its text.
        sim.check("what was sent came back", data == bytes(range(256)) * 1000 and rest == b"", f"{len(data)} bytes")
        sim.check("the keys came", keys["items"].get("OSName") == "Linux", f"{keys}")
        sim.check("the memory was taken", assigned == 300 << 20, f"{assigned}")
    sim.check("it was the middle, twice", not idle and 0 < places[0][1] < 256000 and not places[0][2], f"{places}")
    sim.check("the same twice", results[0] == results[1] and places[0] == places[1], f"{results[0][:2]} {results[1][:2]}")
    await taking
'''

if __name__ == "__main__":
    main()
