"""Users' mistakes on the real host: one line each, exit 2, nothing of ours in it: EXECUTABLE FOLDER-OF-GUESTS."""

from __future__ import annotations

import pathlib

from executable import ExecutableCase, arguments, main

HEAD = """\
import verdigris as vg
host = vg.Host(cores=2, memory="256MiB")
vm = host.partition("a", memory="64MiB", guest=vg.Elf({spin!r}, command_line="cpus=1"))
async def main(sim):
    await vm.stopped()
"""

# name, what replaces what in the scenario above, options, a part of the line
CASES: list[tuple[str, str, str, list[str], str]] = [
    ("a scenario that never ends", "", "", ["--until", "2ms"], "s.py: the scenario has not ended by --until 2 ms; it waits for end of guest a"),
    ("a missing kernel", "vg.Elf({spin!r}, command_line=\"cpus=1\")", "vg.Linux()", ["--images", "none"], "s.py:3: no Linux kernel: cannot read none/linux/vmlinuz"),
    ("a kernel that is none", "{spin!r}", "'s.py'", [], "s.py:3: "),
    ("a kernel that is empty", "{spin!r}", "'empty'", [], "s.py:3: "),
    ("a kernel that is cut off", "{spin!r}", "'cut.elf'", [], "s.py:3: "),
    ("no bzImage", "vg.Elf({spin!r}, command_line=\"cpus=1\")", "vg.Linux(kernel='s.py', initramfs='empty')", [], "s.py:3: "),
    ("memory that does not fit", 'memory="64MiB"', 'memory="2GiB"', [], "s.py:3: "),
    ("memory that is no whole page", 'memory="64MiB"', "memory=12345", [], "s.py:3: "),
    ("no memory", 'memory="64MiB"', "memory=0", [], "s.py:3: "),
    ("too little memory for the guest", 'memory="64MiB"', 'memory="64KiB"', [], "s.py:3: "),
    ("a host without memory", 'memory="256MiB"', "memory=0", [], "s.py:2: "),
    ("a host with more memory than there can be", 'memory="256MiB"', 'memory="1048576TiB"', [], "s.py:2: "),
    ("too many processors", "cores=2", "cores=4096", [], "s.py:2: "),
    ("too many virtual processors", '"a",', '"a", vps=4096,', [], "s.py:3: "),
    ("an unknown profile", "cores=2", 'cores=2, profile="nope"', [], "s.py:2: "),
    ("affinity to a processor that is not there", '"a",', '"a", affinity=[60],', [], "s.py:3: "),
    ("a command line that is too long", '"cpus=1"', '"x" * 100000', [], "s.py:3: "),
    ("a third generation", '"a",', '"a", generation=3,', [], "s.py:3: partition a: generation: 3 is not a whole number from 1 to 2"),
    ("a screen in Generation 1", '"a",', '"a", generation=1, screen=True,', [], "s.py:3: partition 'a': a screen is a device of generation 2"),
    ("a legacy adapter in Generation 2", "async", 'vm.network(host.virtual_switch("lan"), legacy=True)\nasync', [], "s.py:4: a-net1: only a partition made with generation=1 has such a device"),
    ("an IDE disk in Generation 2", "async", 'vm.disk(vg.Disk.create(size="1MiB", format="raw"), ide=True)\nasync', [], "s.py:4: disk disk1: only a partition made with generation=1 has such a device"),
    ("a legacy adapter with queues", "async", 'vm.network(host.virtual_switch("lan"), legacy=True, channels=2)\nasync', [], "s.py:4: a-net1: channels: 2 is not a whole number from 1 to 1"),
    ("nodes that do not divide the processors", "cores=2", "cores=2, nodes=4", [], "s.py:2: the host has 4 nodes: its 2 cores and its memory must be divisible by their number, in parts of 2 MiB"),
    ("a node that is not there", '"a",', '"a", node=1,', [], "s.py:3: partition a: node: 1 is not a whole number from 0 to 0"),
    ("an adapter at no node", "async", 'host.add(vg.Intel82599("nic", node=1))\nasync', [], "s.py:4: adapter nic: node 1: the host has 1"),
    ("queues on no processor", "async", 'host.add(vg.Intel82599("nic", root_processors=[2]))\nasync', [], "s.py:4: adapter nic: the host has no processor 2: it has 0 to 1"),
    ("channels on no processor", "async", 'vm.network(host.virtual_switch("lan"), root_processors=[2])\nasync', [], "s.py:4: network adapter a-net1: the host has no processor 2: it has 0 to 1"),
    ("queues that the driver never asks for", "async", 'vm.network(host.virtual_switch("lan"), queues=2)\nasync', [], "s.py:4: a-net1: queues=2 needs sriov=True and mailbox=True: other virtual functions use one"),
    ("an unknown flavour", "vg.Elf({spin!r}, command_line=\"cpus=1\")", "vg.Linux(flavour='hot')", [], "s.py:3: flavour: 'hot' is not one of cloud, generic"),
    ("a missing generic kernel", "vg.Elf({spin!r}, command_line=\"cpus=1\")", "vg.Linux(flavour='generic')", ["--images", "none"], "s.py:3: no Linux kernel: cannot read none/linux-generic/vmlinuz"),
    ("a bad option", "", "", ["--nope"], "there is no option --nope (./verdigris run --help explains)"),
    ("a bad value", "", "", ["--until", "soon"], "--until: 'soon' is not understood"),
    ("a Python error", "await vm.stopped()", "nothing", [], "s.py:5: NameError: name 'nothing' is not defined"),
]  # fmt: skip


class WrongInput(ExecutableCase):
    def test_cases(self) -> None:
        spin = pathlib.Path(arguments[1]).resolve() / "spin_cli.elf"
        (self.folder / "empty").write_bytes(b"")
        (self.folder / "cut.elf").write_bytes(spin.read_bytes()[:200])
        for name, old, new, options, line in CASES:
            with self.subTest(name):
                self.assertIn(old, HEAD)
                (self.folder / "s.py").write_text(HEAD.replace(old, new).format(spin=str(spin)))
                done = self.run_scenario("s.py", *options, timeout=60)
                self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr[-2000:])
                self.assertTrue(done.stderr.startswith(f"verdigris: {line}"), done.stderr)


if __name__ == "__main__":
    main()
