"""PCI devices of the host in Linux guests: EXECUTABLE."""

from __future__ import annotations

from executable import SOURCE, ExecutableCase, main


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
        for mailbox in ("0", "1"):
            with self.subTest(mailbox=mailbox):
                self.assert_passed(self.run_scenario(scenario, "--set", f"mailbox={mailbox}", "--out", "out"))
                stats = {name: entry["value"] for name, entry in self.result()["stats"].items()}
                self.assertEqual(stats["host.pci.refused_dma"], 0)
                self.assertEqual(stats["host.pci.iommu.blocked"], 0)
                self.assertGreater(stats["host.pci.iommu.iotlb_hits"], stats["host.pci.iommu.walks"])
                self.assertEqual(stats["host.hypervisor.stray_interrupts"], 0)


if __name__ == "__main__":
    main()
