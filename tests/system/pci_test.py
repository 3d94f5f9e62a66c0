"""PCI devices of the host in Linux guests: EXECUTABLE."""

from __future__ import annotations

import shutil

from executable import SOURCE, ExecutableCase, main, packets, tool


class Pci(ExecutableCase):
    def test_device_assignment(self) -> None:
        self.assert_passed(self.run_scenario(SOURCE / "scenarios/linux_pci.py", "--out", "out"))
        stats = {name: entry["value"] for name, entry in self.result()["stats"].items()}
        accesses = sum(value for name, value in stats.items() if name.endswith(".device_accesses"))
        # Two rounds of: identification, scratch written, scratch read.
        self.assertEqual(accesses, 6)
        self.assertEqual(stats["host.hypervisor.stray_interrupts"], 0)
        self.assertEqual(stats["host.pci.refused_dma"], 0)
        self.assertEqual(stats["host.pci.iommu.blocked"], 0)

    def test_virtual_functions(self) -> None:
        scenario = SOURCE / "scenarios/linux_sriov.py"
        # Either kind of function, and either way of interrupts: the scenario checks what they cost.
        for mailbox, posted in (("0", "0"), ("1", "1")):
            with self.subTest(mailbox=mailbox, posted=posted):
                options = ["--trace", "pcap,packet"] if mailbox == "0" else []
                settings = ["--set", f"mailbox={mailbox}", "--set", f"posted={posted}"]
                self.assert_passed(self.run_scenario(scenario, *settings, "--out", "out", *options))
                stats = {name: entry["value"] for name, entry in self.result()["stats"].items()}
                if options:
                    self.check_captures(stats)
                    self.check_lives(stats)
                self.assertEqual(stats["host.pci.refused_dma"], 0)
                self.assertEqual(stats["host.pci.iommu.blocked"], 0)
                self.assertGreater(stats["host.pci.iommu.iotlb_hits"], stats["host.pci.iommu.walks"])
                self.assertEqual(stats["host.hypervisor.stray_interrupts"], 0)

    def check_captures(self, stats: dict[str, int]) -> None:
        """The adapter's port and each virtual function, as tshark reads them and as the adapter has counted."""
        expected = {f"nic-vf{n}": (stats[f"scenario.{name}.vf.received"], stats[f"scenario.{name}.vf.sent"]) for n, name in enumerate(("client", "server"))}
        rack = "network.nic-rack.nic"
        expected["nic-port"] = (stats[f"{rack}.out_frames"], stats[f"{rack}.in_frames"])
        for name, counts in expected.items():
            with self.subTest(capture=name):
                file = self.folder / f"out/{name}.pcapng"
                self.assertEqual(packets(file, "_ws.malformed || _ws.expert.severity == error"), 0)
                fields = tool("tshark", "-n", "-r", file, "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.packet_flags_direction")
                lines = [line.split() for line in fields.splitlines()]
                directions = [int(direction, 0) for _, direction in lines]
                self.assertEqual((directions.count(1), directions.count(2)), counts)
                times = [float(time) for time, _ in lines]
                self.assertEqual(times, sorted(times))
        self.assertGreater(min(expected["nic-vf0"]), 100)
        self.assertGreater(max(expected["nic-vf0"]), 10000)

    def check_lives(self, stats: dict[str, int]) -> None:
        """Of each frame the text says where its time went; the parts are the whole."""
        ways: dict[str, int] = {}
        for line in (self.folder / "out/trace.txt").read_text().splitlines():
            record, explained = line.split(" | ")
            way, rest = explained.split(": ")
            life, parts = rest.split(", ")[2].split(" ps = ")
            times = [int(part.split()[1]) for part in parts.split(" + ")]
            moments = [int(word, 16) for word in record.split()[6:]]
            self.assertEqual((len(times), sum(times), moments[-1] - moments[0]), (8, int(life), int(life)), line)
            self.assertGreaterEqual(min(times), 0, line)
            ways[way] = ways.get(way, 0) + 1
        names = ("client", "server")
        # The physical function's own are among them.
        received = ways["from other functions"] + ways.get("from the wire", 0)
        self.assertGreaterEqual(received, sum(stats[f"scenario.{name}.vf.received"] for name in names))
        sent = ways["to other functions"] + ways.get("to the wire", 0)
        self.assertGreaterEqual(sent, sum(stats[f"scenario.{name}.vf.sent"] for name in names))


if __name__ == "__main__":
    if shutil.which("tshark") is None:
        raise SystemExit("tshark is missing: ./verdigris test installs it")
    main()
