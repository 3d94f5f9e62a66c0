"""The scenarios of the folder `scenarios`, and what they leave: EXECUTABLE."""

from __future__ import annotations

import csv

from executable import SOURCE, ExecutableCase, main

BOOT_CHECKS = 10  # of linux_checks.check_linux

# Where Linux says that its code is, linear and guest physical, is where both levels of tables lead.
WALK = """\
import re
import verdigris as vg

SCRIPT = "grep ' _text$' /proc/kallsyms; grep 'Kernel code' /proc/iomem; echo all said; cat"

host = vg.Host(cores=2, memory="1GiB")
vm = host.partition("linux", vps=2, memory="256MiB", guest=vg.Linux(script=SCRIPT))
other = host.partition("other", memory="64MiB", guest=vg.Behavioural())


async def later(sim):
    vm.console.write("go on\\n")
    await sim.after("5ms")
    return sim.trace_hash(), vm.instructions, sim.checkpoint().data


async def main(sim):
    await vm.console.expect("all said", within="60s")
    text = int(re.search("([0-9a-f]{16}) . _text", vm.console.text)[1], 16)
    code = int(re.search("([0-9a-f]+)-[0-9a-f]+ : Kernel code", vm.console.text)[1], 16)
    checkpoint = sim.checkpoint()
    unseen = await later(sim)
    sim.restore(checkpoint)
    one, two = vm.translate(text + 0x123, "fetch"), vm.translate(text + 0x123, "fetch", vp=1)
    read, write = vm.translate(text), vm.translate(text, "write")
    zero, nowhere = vm.translate(0), vm.translate(1 << 62)
    sim.check("nobody has noticed", await later(sim) == unseen)
    sim.check("where Linux says", one.outcome == "ok" and one.guest_address == code + 0x123, str(one.guest_address))
    sim.check("the same on both processors", two.host_address == one.host_address)
    guest = [step for step in one.steps if step.dimension == "guest"]
    sim.check("the guest's levels", [step.level for step in guest] == [4, 3, 2], str(guest))
    page = one.page_bytes
    sim.check("a page on both levels", page in (4096, 2**21) and (one.host_address - one.guest_address) % page == 0)
    nested = {step.guest_address for step in one.steps if step.dimension == "nested"}
    sim.check("each goes through the second level", nested == {*(step.guest_address for step in guest), one.guest_address})
    sim.check("in words", len(str(one).splitlines()) > len(one.steps))
    sim.check("code may be read", read.outcome == "ok" and read.host_address == one.host_address - 0x123)
    sim.check("but not written to", write.outcome == "page fault" and write.host_address is None, write.outcome)
    sim.check("nothing is at 0", zero.outcome == "page fault" and zero.guest_address is None, zero.outcome)
    sim.check("an address that is none", nowhere.outcome == "not canonical" and not nowhere.steps, nowhere.outcome)
    for partition, vp in ((vm, 2), (other, 0)):
        try:
            partition.translate(0, vp=vp)
            sim.check("refused", False)
        except vg.UserError as error:
            sim.check("refused", f"partition {partition.name}: it has no virtual processor {vp} that executes" in str(error), str(error))
"""


class Scenarios(ExecutableCase):
    def test_boot_linux(self) -> None:
        done = self.run_scenario(SOURCE / "scenarios/boot_linux.py", "--out", "out")
        self.assert_passed(done)
        result = self.result()
        self.assertEqual(len(result["checks"]), BOOT_CHECKS)
        self.assertTrue(all(check["passed"] for check in result["checks"]))
        self.assertEqual((result["ended"], result["partitions"]["linux"]["state"]), ("finished", "powered_off"))
        self.assertEqual(done.stdout.rstrip("\n").split("\n")[-1], f"trace_hash={result['trace_hash']}")
        self.assertIn(b"verdigris: user space reached", (self.folder / "out/console-linux.txt").read_bytes())
        with open(self.folder / "out/stats.csv", newline="", encoding="utf-8") as file:
            rows = {row["name"]: row for row in csv.DictReader(file)}
        self.assertEqual({name: int(row["value"]) for name, row in rows.items()}, {n: s["value"] for n, s in result["stats"].items()})
        self.assertTrue(all(row["description"] and row["unit"] for row in rows.values()))

    def test_two_partitions(self) -> None:
        self.assert_passed(self.run_scenario(SOURCE / "scenarios/two_partitions.py", "--out", "out"))
        self.assertEqual(len(self.result()["checks"]), 2 * BOOT_CHECKS)

    def test_walk(self) -> None:
        """A running guest's tables are looked at, and nobody notices."""
        (self.folder / "walk.py").write_text(WALK)
        done = self.run_scenario("walk.py", "--out", "out")
        self.assert_passed(done)
        self.assertEqual(len(self.result()["checks"]), 13)


if __name__ == "__main__":
    main()
