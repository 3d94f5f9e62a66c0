"""Stock Linux drivers on the VMBus, and what others say of the files that a run leaves: EXECUTABLE.

tshark reads the captures, qemu-img and e2fsck the disk.
"""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess

from executable import SOURCE, ExecutableCase, main, packets, tool


class Vmbus(ExecutableCase):
    def test_disk_network_services(self) -> None:
        scenario = SOURCE / "scenarios/linux_vmbus.py"
        self.assert_passed(self.run_scenario(scenario, "--set", "megabytes=4", "--trace", "pcap", "--out", "out"))
        text = (self.folder / "out/console-linux.txt").read_text(errors="replace")
        counts = {name: int(value) for name, value in re.findall(r"^eth0 (\w+) (\d+)", text, re.MULTILINE)}
        capture = self.folder / "out/lan-linux-net1.pcapng"
        # What happened on the network up to the guest's own count is what it counted.
        stats = {name: entry["value"] for name, entry in self.result()["stats"].items()}
        self.assertEqual(stats["network.lan.linux-net1.in_frames"], counts["tx_packets"])
        self.assertEqual(stats["network.lan.linux-net1.in_bytes"], counts["tx_bytes"])
        self.assertEqual(stats["network.lan.linux-net1.out_frames"], counts["rx_packets"])
        self.assertEqual(stats["network.lan.linux-net1.out_bytes"], counts["rx_bytes"])
        for file in (capture, self.folder / "out/lan-server.pcapng"):
            self.assertEqual(packets(file), counts["tx_packets"] + counts["rx_packets"])
            self.assertEqual(packets(file, "_ws.malformed || _ws.expert.severity == error"), 0)
        times = tool("tshark", "-n", "-r", capture, "-T", "fields", "-e", "frame.time_epoch").split()
        self.assertEqual([float(time) for time in times], sorted(float(time) for time in times))

    def test_tenants(self) -> None:
        self.assert_passed(self.run_scenario(SOURCE / "scenarios/linux_tenants.py", "--out", "out"))

    def test_disk_as_others_see_it(self) -> None:
        (self.folder / "disk.py").write_text(DISK_SCENARIO)
        self.assert_passed(self.run_scenario("disk.py", "--out", "out"))
        self.assertIn("file format: vhdx", tool("qemu-img", "info", self.folder / "saved.vhdx"))
        tool("qemu-img", "check", self.folder / "saved.vhdx")
        raw = self.folder / "saved.img"
        tool("qemu-img", "convert", "-O", "raw", self.folder / "saved.vhdx", raw)
        check = subprocess.run(["e2fsck", "-fn", raw], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stdout)
        self.assertEqual(tool("debugfs", "-R", "cat /var/written", raw), "by the guest\n")


DISK_SCENARIO = """\
import verdigris as vg

host = vg.Host(cores=1, memory="1GiB")
script = "echo by the guest >/var/written; sync"
vm = host.partition("linux", memory="256MiB", guest=vg.Linux(script=script, root="/dev/sda"))
disk = vm.disk(vg.Disk.create("vhdx", "128MiB", content=vg.linux_root()))


async def main(sim):
    await vm.stopped(within="60s")
    disk.save("saved.vhdx")
    sim.check("powered off", vm.state == "powered_off", vm.state)
"""

if __name__ == "__main__":
    for needed in ("tshark", "qemu-img", "e2fsck"):
        if shutil.which(needed) is None:
            raise SystemExit(f"{needed} is missing: ./verdigris test installs it")
    main()
