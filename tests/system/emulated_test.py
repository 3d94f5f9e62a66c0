"""A Generation 1 machine with Debian's generic kernel, and what others say of the files that a run leaves: EXECUTABLE.

tshark reads the captures, qemu-img and e2fsck the disk.
"""

from __future__ import annotations

import re
import shutil

from executable import SOURCE, ExecutableCase, main, packets, tool


class Emulated(ExecutableCase):
    def test_disk_and_network(self) -> None:
        scenario = SOURCE / "scenarios/linux_emulated.py"
        self.assert_passed(self.run_scenario(scenario, "--set", "megabytes=2", "--trace", "pcap", "--out", "out"))
        text = (self.folder / "out/console-linux.txt").read_text(errors="replace")
        stats = {name: entry["value"] for name, entry in self.result()["stats"].items()}
        guest = {f"{driver} {name}": int(value) for driver, name, value in re.findall(r"^(\w+) (\w+) (\d+)", text, re.MULTILINE)}
        # The adapter, the switch and the guest have counted the same frames.
        adapter = {name: stats[f"host.root.linux.legacy.legacy_nic0.{name}"] for name in ("sent", "received", "missed", "accesses")}
        self.assertEqual(adapter["sent"], guest["tulip tx_packets"])
        self.assertEqual(adapter["received"], guest["tulip rx_packets"])
        self.assertEqual(stats["network.lan0.linux-net1.in_frames"], adapter["sent"])
        self.assertEqual(stats["network.lan0.linux-net1.out_frames"], adapter["received"] + adapter["missed"])
        # Every access to a device was an exit, and a piece of work of the root's.
        intercepts = stats["host.root.linux.intercepts.io"] + stats["host.root.linux.intercepts.mmio"]
        self.assertEqual(stats["host.root.linux.legacy.emulation.intercepts"], intercepts)
        self.assertEqual(stats["host.root.linux.legacy.emulation.busy"], intercepts * 1_000_000)
        self.assertGreater(adapter["accesses"], 2 * (adapter["sent"] + adapter["received"]))
        self.assertLess(adapter["accesses"], intercepts)
        # What the comparison is for.
        for name in ("exits", "emulated", "guest", "root", "time"):
            self.assertGreater(stats[f"scenario.tulip.{name}"], 2 * stats[f"scenario.hv_netvsc.{name}"], name)
        for name in ("linux-net1", "server0"):
            file = self.folder / f"out/lan0-{name}.pcapng"
            frames = adapter["sent"] + adapter["received"] + adapter["missed"]
            self.assertEqual(packets(file), frames)
            self.assertEqual(packets(file, "_ws.malformed || _ws.expert.severity == error"), 0)

    def test_checkpoint_and_disk_as_others_see_it(self) -> None:
        (self.folder / "middle.py").write_text(MIDDLE_SCENARIO)
        self.assert_passed(self.run_scenario("middle.py", "--out", "out"))
        saved = self.folder / "saved.vhd"
        self.assertIn("file format: vpc", tool("qemu-img", "info", saved))
        raw = self.folder / "saved.img"
        tool("qemu-img", "convert", "-f", "vpc", "-O", "raw", saved, raw)
        tool("e2fsck", "-fn", raw)
        self.assertEqual(tool("debugfs", "-R", "cat /var/written", raw), "by the guest\n")
        zeros = self.folder / "zeros"
        tool("debugfs", "-R", f"dump /var/zeros {zeros}", raw)
        self.assertEqual(zeros.read_bytes(), bytes(2 << 20))


MIDDLE_SCENARIO = '''\
"""The machine is stopped amid disk writes and TCP traffic, goes on, is put back and goes on again: twice the same."""

import verdigris as vg

SCRIPT = """\\
udhcpc -i eth0 -n -q -f
dd if=/dev/zero of=/var/zeros bs=64k count=32 2>/dev/null &
head -c 12 /dev/sr0
echo " in the drive"
echo "traffic starts"
nc 10.0.0.1 5001 -e sh -c 'sha256sum >/tmp/sum'
wait
echo by the guest >/var/written
sync
echo "sum $(cut -d' ' -f1 /tmp/sum)"
echo "press return"
read answer
head -c 12 /dev/sr0 2>&1
"""

host = vg.Host(cores=2, memory="1GiB")
switch = host.virtual_switch("lan")
server = switch.peer("server", dhcp=("10.0.0.100", "10.0.0.200"))
expected = server.source(5001, 500_000, seed=9)
guest = vg.Linux(script=SCRIPT, flavour="generic", root="LABEL=verdigris")
vm = host.partition("linux", memory="512MiB", generation=1, guest=guest)
adapter = vm.network(switch, legacy=True)
disk = vm.disk(vg.Disk.create("vhd", "128MiB", content=vg.linux_root()), ide=True)
drive = vm.dvd(vg.Disk.of(b"a disc" * 10_000), ide=True)


async def main(sim):
    await vm.console.expect("traffic starts", within="60s")
    while adapter.received.bytes < 100_000:
        await sim.after("10us")
    middle = sim.checkpoint()
    received, hashes = [], []
    for turn in range(2):
        if turn > 0:
            sim.restore(middle)
        received.append(adapter.received.bytes)
        found = await vm.console.expect("sum ", within="60s")
        hashes.append((sim.trace_hash(), sim.now, dict(vm.stats)))
        text = vm.console.text[found.end() :].split()[0]
        sim.check(f"turn {turn}: what was received is what was sent", text == expected, text)
    sim.check("the same twice", hashes[0] == hashes[1] and received[0] == received[1] < 500_000, f"{received}")
    await vm.console.expect("press return", within="10s")
    sim.check("the drive's disc was read", "a disca disc in the drive" in vm.console.text)
    changed = [drive.eject(), drive.eject(), drive.insert(), drive.eject()]
    sim.check("out, in, out", changed == [True, False, True, True], f"{changed}")
    vm.console.write("\\n")
    await vm.stopped(within="10s")
    sim.check("no disc was found then", "No medium found" in vm.console.text)
    disk.save("saved.vhd", "vhd")
'''

if __name__ == "__main__":
    for needed in ("tshark", "qemu-img", "e2fsck"):
        if shutil.which(needed) is None:
            raise SystemExit(f"{needed} is missing: ./verdigris test installs it")
    main()
