"""The host, its partitions, and what a scenario sees of a guest."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, overload

from .diagram import diagram
from .errors import Timeout, UserError, did_you_mean
from .guests import Elf, Image, Linux
from .input import Keyboard, Pointer, Screen
from .memory import Memory
from .migration import Migration, migrate
from .network import NetworkAdapter, VirtualSwitch, adapter_mac
from .pci import AssignedDevice, ExampleDevice, HostAdapter, Intel82599, PciDevice, VirtualFunction, add_device
from .processor_times import ProcessorTimes
from .profile import with_constants
from .services import Services
from .sockets import Sockets
from .storage import Disk, Dvd
from .tasks import Condition, Wait
from .translation import Walk, translate
from .units import parse_rate, parse_share, parse_size, parse_time
from .units import whole_number as _whole
from .workload import Behavioural, End, Workload, guest_end
from .world import deadline, world

_PARTITION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_FIDELITIES = ("fast", "timed")
Work = TypeVar("Work", bound=Workload)


class Host:
    """The virtualization host. A scenario makes one, or several that have names, at module level.

    cores: logical processors. memory: size of the physical memory. profile: name of the timing profile.
    fidelity: "fast" (time by instruction class) or "timed" (also each access through TLB and cache models).
    quantum: how far a processor may run ahead of the others; "0s" is lock-step. nodes: NUMA nodes, each with an equal share
    of cores and memory; what goes from one to another takes longer.
    name: of one among several: it begins the names of all that belongs to it, as in "a.host.root.web".
    constants: of the timing profile, name -> whole number in the unit that docs/timing.md shows, as
    {"exit.hypercall": 1000}; `--set exit.hypercall=1000` sets it for all hosts of a run.
    UserError if a value is wrong or there is another host of that name.
    """

    def __init__(
        self,
        cores: int = 4,
        memory: str | int = "4GiB",
        profile: str = "sandy-bridge-ep",
        fidelity: str = "fast",
        quantum: str | int = "100us",
        nodes: int = 1,
        name: str = "",
        constants: Mapping[str, int] | None = None,
    ) -> None:
        if fidelity not in _FIDELITIES:
            raise UserError(f"fidelity: {fidelity!r} is not one of {', '.join(_FIDELITIES)}")
        if not isinstance(profile, str):
            raise UserError(f"profile: {profile!r} is not a profile's name")
        if not isinstance(name, str) or (name and not _PARTITION_NAME.fullmatch(name)):
            raise UserError(f"host: {name!r} is not a name of letters, digits, _ and -")
        self.name = name
        self.prefix = f"{name}." if name else ""
        self.cores = _whole(cores, "cores", 1, 4096)
        self.memory_bytes = parse_size(memory, "memory of the host")
        self.profile = with_constants(profile, constants or {})
        self.fidelity = fidelity
        self.quantum_ps = parse_time(quantum, "quantum")
        self.nodes = _whole(nodes, "nodes", 1, 64)
        self.partitions: list[Partition] = []
        self.switches: list[VirtualSwitch] = []
        self.stats = Statistics("", [self.prefix])
        here = world()
        self._native: Any = here.machine.create_host(
            name=name,
            cores=self.cores,
            memory_bytes=self.memory_bytes,
            profile=self.profile,
            timed=fidelity == "timed",
            quantum_ps=self.quantum_ps,
            nodes=self.nodes,
        )
        here.hosts.append(self)

    @overload
    def add(self, device: ExampleDevice) -> PciDevice: ...
    @overload
    def add(self, device: Intel82599) -> HostAdapter: ...
    def add(self, device: ExampleDevice | Intel82599) -> PciDevice | HostAdapter:
        """Puts a device behind a PCI Express port of the host. UserError if there is no such device or no room."""
        return add_device(self, device)

    def virtual_switch(self, name: str, uplink: HostAdapter | None = None) -> VirtualSwitch:
        """Makes a virtual switch. uplink: an adapter of the host's, beyond which its peers stand.

        UserError if the name is wrong or taken, or the adapter another switch's.
        """
        if uplink is not None and not isinstance(uplink, HostAdapter):
            raise UserError(f"virtual switch {name}: uplink {uplink!r} is no adapter; make one with host.add(...)")
        if not isinstance(name, str) or not _PARTITION_NAME.fullmatch(name):
            raise UserError(f"virtual switch: {name!r} is not a name of letters, digits, _ and -")
        if uplink is not None and uplink.host is not self:
            raise UserError(f"virtual switch {name}: uplink {uplink.name} is another host's adapter")
        switch = VirtualSwitch(self, name, uplink)
        self.switches.append(switch)
        return switch

    def diagram(self) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """The machine as it is built now, as nodes and edges: `sim.measure.machine(*host.diagram())`."""
        return diagram(self)

    def processor_times(self) -> ProcessorTimes:
        """Counts what each logical processor's time goes to, from now on."""
        return ProcessorTimes(self)

    def partition(
        self,
        name: str,
        vps: int = 1,
        memory: str | int = "256MiB",
        guest: Linux | Elf | Behavioural | None = None,
        weight: int = 100,
        reserve: str | int = 0,
        cap: str | int = "100%",
        affinity: Iterable[int] | None = None,
        screen: bool = False,
        generation: int = 2,
        node: int | str | None = None,
    ) -> Partition:
        """Makes a partition whose guest starts at the present simulated time.

        name: letters, digits, _ and -. vps: virtual processors. guest: what it boots, vg.Linux() if not
        given; vg.Behavioural() boots nothing and executes no instructions.
        weight: 1 to 10000, the share when processors are scarce. reserve, cap: share of one processor that each virtual
        processor has at least and at most, as "25%" or in thousandths of a percent. affinity: numbers of the logical
        processors that it may use, all if not given. screen: it has one, and a Linux guest shows its messages there, too. generation: 1 for a PC's chipset with a PCI bus, IDE and
        legacy adapters; 2 for neither. node: on a host with several, the number of that whose memory it gets, and whose
        processors unless `affinity` names some; "all" for memory of each in equal parts; if not given, that of its
        processors, or the one with most free memory that has room for it, else all. UserError if a value is wrong or memory
        does not fit.
        """
        if not isinstance(name, str) or not _PARTITION_NAME.fullmatch(name):
            raise UserError(f"partition: {name!r} is not a name of letters, digits, _ and -")
        if any(other.name == name for other in world().partitions):
            raise UserError(f"partition: there is one named {name} already")
        if guest is None:
            guest = Linux()
        if not isinstance(guest, (Linux, Elf, Behavioural)):
            raise UserError(f"partition {name}: guest is {guest!r}; it may be vg.Linux(...), vg.Elf(...) or vg.Behavioural()")
        mask = 2**64 - 1
        if affinity is not None:
            mask = sum(1 << lp for lp in {_whole(lp, f"partition {name}: affinity", 0, 63) for lp in affinity})
        sizes = {
            "vps": _whole(vps, f"partition {name}: vps", 1, 4096),
            "memory_bytes": parse_size(memory, f"memory of partition {name}"),
            "weight": _whole(weight, f"partition {name}: weight", 1, 10000),
            "reserve": parse_share(reserve, f"partition {name}: reserve"),
            "cap": parse_share(cap, f"partition {name}: cap"),
            "affinity": mask,
            "generation": _whole(generation, f"partition {name}: generation", 1, 2),
            "node": None if node is None or node == "all" else _whole(node, f"partition {name}: node", 0, self.nodes - 1),
            "spans_nodes": node == "all",
        }
        image = Image(False, b"", [], "") if isinstance(guest, Behavioural) else guest.image()
        command_line = f"console=tty0 {image.command_line}" if screen and isinstance(guest, Linux) else image.command_line
        native = self._native.add_partition(
            name=name,
            elf=image.is_elf,
            kernel=image.kernel,
            initramfs=image.initramfs,
            command_line=command_line,
            screen=bool(screen),
            behavioural=isinstance(guest, Behavioural),
            **sizes,
        )
        partition = Partition(self, name, native)
        self.partitions.append(partition)
        return partition


class Partition:
    """A partition with its guest."""

    def __init__(self, host: Host, name: str, native: Any) -> None:
        self.name = name
        self._adapters = 0
        self._moving = False
        self._disks = 0
        self._dvds = 0
        self._workloads = 0
        self.networks: list[tuple[VirtualSwitch, NetworkAdapter]] = []
        self._ends: list[End] = []
        # The latest, also while it is under way.
        self.migration: Migration | None = None
        self.console = Console(name, native)
        self.stats = Statistics(name, [])
        self._placed(host, native)

    def _placed(self, host: Host, native: Any) -> None:
        self._host = host
        self._native = native
        self.console._native = native
        self.keyboard = Keyboard(native)
        self.pointer = Pointer(self.name, native)
        self.screen = Screen(native)
        self.services = Services(self.name, native)
        self.socket = Sockets(self.name, native)
        self.memory = Memory(self.name, native)
        # The hypervisor knows the partition by its number only.
        numbered = f"{host.prefix}host.hypervisor.partitions.{native.number}."
        self.stats._prefixes = [f"{host.prefix}host.root.{self.name}.", numbered]

    def _settled(self) -> None:
        """UserError while it is on its way to another host: it would arrive without what it is given now."""
        if self._moving:
            raise UserError(f"partition {self.name}: it is on its way to another host; wait until it is there")

    @property
    def state(self) -> str:
        """running, powered_off, reset, crashed, triple_fault, debug_exit, or halted_forever (nothing can wake it)."""
        return str(self._native.state)

    @property
    def exit_code(self) -> int:
        """What the guest wrote to the debug-exit port (state debug_exit); 0 otherwise."""
        return int(self._native.exit_code)

    @property
    def crash_message(self) -> str:
        """What the guest said when it crashed (state crashed); empty otherwise."""
        return bytes(self._native.crash_message).decode("utf-8", "replace")

    @property
    def instructions(self) -> int:
        """Instructions that all its virtual processors have retired."""
        return int(self._native.instructions)

    def network(
        self,
        switch: VirtualSwitch,
        mac: str | None = None,
        vlan: int = 0,
        virtual_subnet: int = 0,
        channels: int = 1,
        maximum: str | int = 0,
        legacy: bool = False,
        sriov: bool = False,
        mailbox: bool = False,
        address: str = "",
        moderation: str = "adaptive",
        queues: int = 1,
        root_processors: Iterable[int] | None = None,
    ) -> NetworkAdapter:
        """Gives it a synthetic network adapter on a virtual switch; also while the guest runs.

        mac: its address, if it is not to be the next of the host's. vlan: that of its access port, 0 for none.
        virtual_subnet: of a tenant, 0 for none. channels: how many queues it has at most. maximum: rate that it may send at,
        0 for no limit. legacy: it is an emulated DEC 21140 with one queue, in a partition of generation 1 before it runs.
        sriov: it has a virtual function of the switch's uplink beside it. mailbox: that is the adapter's ordinary one,
        which asks the host by mailbox, and not the one that Hyper-V's guests know. address: of a behavioural guest's stack
        on it, as "10.0.0.2/24"; without it the guest does nothing with the adapter. moderation: how its virtual function's driver
        spaces interrupts: "adaptive" as ixgbevf does by default, "low latency", or a fixed interval as "50us". queues: of the
        virtual function's queue pairs, how many it uses at most: 1, 2 or 4, with mailbox=True. root_processors: numbers of
        those that serve its channels, in turn; if not given, one after the other. UserError if a value is wrong.
        """
        self._settled()
        if sriov and (switch.uplink is None or legacy):
            raise UserError(f"partition {self.name}: sriov=True needs a switch with an uplink, and no legacy adapter")
        self._adapters += 1
        if switch.host is not self._host:
            raise UserError(f"partition {self.name}: the switch {switch.name} is another host's")
        world().adapters += 1
        own = mac or adapter_mac(world().adapters)
        name = f"{self.name}-net{self._adapters}"
        place = (
            switch._native,
            name,
            own,
            _whole(vlan, f"{name}: vlan", 0, 4094),
            _whole(virtual_subnet, f"{name}: virtual_subnet", 0, 2**24 - 1),
        )
        most = _whole(channels, f"{name}: channels", 1, 1 if legacy else 64)
        pairs = _whole(queues, f"{name}: queues", 1, 4)
        if pairs > 1 and not (sriov and mailbox):
            raise UserError(f"{name}: queues={pairs} needs sriov=True and mailbox=True: other virtual functions use one")
        processors = [_whole(lp, f"{name}: root_processors", 0, 4095) for lp in root_processors or ()]
        limit = parse_rate(maximum, f"{name}: maximum")
        if legacy:
            native = self._native.add_legacy_network(*place, limit)
        else:
            native = self._native.add_network(*place, most, limit, processors)
        uplink = switch.uplink
        if uplink is not None and not sriov:
            uplink._native.add_address(own, True)
        if address:
            path = "emulated" if legacy else "paired" if sriov else "synthetic"
            self._ends.append(guest_end(self, name, path, own, address, most, bool(mailbox), moderation, pairs))
        adapter = NetworkAdapter(name, own, native, switch, bool(mailbox))
        self.networks.append((switch, adapter))
        if sriov:
            adapter.vf = self._reserve_vf(adapter, self._adapters)
            adapter.vf.offer()
        return adapter

    def _reserve_vf(self, adapter: NetworkAdapter, number: int) -> VirtualFunction:
        uplink = adapter.switch.uplink
        assert uplink is not None
        if uplink._held and uplink._native.reserved() + uplink._held >= uplink.vfs:
            raise UserError(
                f"adapter {uplink.name}: a partition on its way to this host will have the last of its {uplink.vfs} virtual "
                f"functions; give it more"
            )
        function = uplink._native.next_vf()
        pairing = self._native.add_vf(
            adapter._native, uplink._native, f"vf{number}", adapter.mac, adapter._mailbox
        )
        return VirtualFunction(adapter.name, uplink, function, pairing)

    def translate(self, address: int, kind: str = "read", vp: int = 0) -> Walk:
        """How a linear address of its guest becomes one of the host's now, by the guest's tables and the hypervisor's.

        kind: "read", "write" or "fetch", with the privilege that virtual processor `vp` has just now. It changes nothing: no
        time passes, and flags in the tables, TLBs and the run's trace hash are what they would have been. UserError if a
        value is wrong, or the processor executes no instructions, as those of a behavioural guest or one that has ended.
        """
        return translate(self._host._native, self._native, self.name, _whole(vp, "translate: vp", 0, 4095), address, kind)

    async def migrate(
        self,
        to: Host,
        bandwidth: str | int = "10Gb/s",
        delay: str | int = 0,
        rounds: int = 10,
        threshold: str | int = "256KiB",
        within: str | int | None = None,
    ) -> Migration:
        """Moves it to another host while its guest works; awaits that it is there, or stays.

        Virtual functions go first, and come back from the other host's adapter. bandwidth, delay: of the link between the
        hosts, beside their networks. rounds: at most so many with the guest running. threshold: when no more memory is left
        to go, the guest stands. The other host has virtual switches of the same names, memory, and the same profile.
        Timeout after `within` (default: no limit). UserError if a value is wrong, or the partition cannot be moved.
        """
        return await migrate(self, to, bandwidth, delay, rounds, threshold, within)

    @property
    def host(self) -> Host:
        """Where it is now."""
        return self._host

    @property
    def path(self) -> str:
        """The way that a behavioural guest's frames take now: "emulated", "synthetic", "virtual function"; "" before that."""
        native = self._ends[0].native if self._ends else None
        return str(native.path) if native is not None and native.is_up else ""

    def workload(self, workload: Work, name: str = "") -> Work:
        """A behavioural guest does this, from now on. name: in counts and messages. Gives the workload back.

        UserError if the guest executes instructions, or has no adapter with an address for it.
        """
        if not isinstance(workload, Workload):
            raise UserError(f"partition {self.name}: {workload!r} is no workload")
        self._workloads += 1
        workload._attach(self, f"{self.name}.{name or f'workload{self._workloads}'}")
        workload._running().start()
        return workload

    def pci(self, device: PciDevice) -> AssignedDevice:
        """Assigns it a whole PCI device of the host's; also while the guest runs. UserError if another partition has it."""
        if not isinstance(device, PciDevice):
            raise UserError(f"partition {self.name}: {device!r} is no device of the host's; make one with host.add(...)")
        self._settled()
        return AssignedDevice(device, self._native.assign_pci(device.name, device._native))

    def disk(
        self, disk: Disk, maximum_iops: int = 0, minimum_iops: int = 0, maximum_bytes: int = 0, ide: bool = False
    ) -> Disk:
        """Gives it a disk on its synthetic SCSI controller; also while the guest runs.

        maximum_iops, minimum_iops: limit and reserve in requests of 8 KiB per second; maximum_bytes: limit in bytes per
        second; 0 for none. ide: it is on an emulated IDE channel, in a partition of generation 1 before it runs. UserError
        if the disk has a partition already.
        """
        if not isinstance(disk, Disk):
            raise UserError(f"partition {self.name}: {disk!r} is no vg.Disk")
        self._settled()
        self._disks += 1
        name = f"disk{self._disks}"
        limits = [_whole(n, f"{self.name} {name}", 0, 2**63 - 1) for n in (maximum_iops, minimum_iops, maximum_bytes)]
        disk._attach(self._native, name, *limits, bool(ide))
        return disk

    def remove_disk(self, disk: Disk) -> None:
        """Pulls a disk out of the running machine; its content stays. UserError if it is not one of this partition's."""
        disk._detach(self._native)

    def dvd(self, disc: Disk, ide: bool = False) -> Dvd:
        """Gives it a DVD drive with this disc in it (a raw image, as of an ISO file); also while the guest runs.

        ide: it is on an emulated IDE channel, in a partition of generation 1 before it runs. UserError if there is no room,
        or the disc is in a drive already.
        """
        if not isinstance(disc, Disk):
            raise UserError(f"partition {self.name}: {disc!r} is no vg.Disk")
        self._settled()
        self._dvds += 1
        return Dvd(disc._insert(self._native, f"dvd{self._dvds}", bool(ide)))

    def stopped(self, within: str | int | None = None) -> Condition:
        """Awaits that the guest no longer runs; gives its state. Timeout after `within` (default: no limit)."""
        return _Stopped(self, deadline(within))


class Console:
    """The guest's serial console."""

    def __init__(self, name: str, native: Any) -> None:
        self.name = name
        self._native = native
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._bytes = 0
        # Where the previous match ended: the next expect() looks from here on.
        self._position = 0

    @property
    def text(self) -> str:
        """All output so far; bytes that are not UTF-8 are replaced."""
        size = int(self._native.console_size)
        if size != self._bytes:
            self._text += self._decoder.decode(self._native.console_from(self._bytes))
            self._bytes = size
        return self._text

    def _rewind(self, position: int) -> None:
        self._decoder.reset()
        self._text, self._bytes, self._position = "", 0, position

    @property
    def raw(self) -> bytes:
        """All output so far, byte by byte."""
        return bytes(self._native.console_from(0))

    def write(self, text: str | bytes) -> None:
        """Types at the console; a line ends with "\\n"."""
        self._native.type(text.encode() if isinstance(text, str) else text)

    def expect(self, pattern: str | re.Pattern[str], within: str | int | None = "30s") -> Condition:
        """Awaits output: a text as it is, or a compiled regular expression; gives the re.Match.

        Looks at what came after the previous match, and at new output as lines are completed. Timeout after `within` of
        simulated time from now (None: no limit).
        """
        if isinstance(pattern, str) and pattern:
            expression = re.compile(re.escape(pattern))
        elif isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
            expression = pattern
        else:
            raise UserError(f"expect: {pattern!r} is neither a text nor a compiled regular expression of text")
        return _Expect(self, expression, str(getattr(pattern, "pattern", pattern)), deadline(within))


class Statistics(Mapping[str, int]):
    """Counts as they are now. Of a partition: those of its devices ("console.bytes") and of its processors ("vp0.exits").

    stats.csv of a run lists all; those of a partition stand below `host.root.NAME` and `host.hypervisor.partitions.NUMBER`.
    `host.stats` has all under their whole names ("host.hypervisor.lp0.busy").
    """

    def __init__(self, name: str, prefixes: list[str]) -> None:
        self._name = name
        self._prefixes = prefixes

    def _all(self) -> dict[str, int]:
        everything = world().machine.statistics()
        return {
            name.removeprefix(prefix): entry[0]
            for prefix in self._prefixes
            for name, entry in everything.items()
            if name.startswith(prefix)
        }

    def __getitem__(self, name: str) -> int:
        values = self._all()
        if name not in values:
            whose = f"partition {self._name}" if self._name else "the host"
            raise UserError(f"{whose} has no statistic {name}; stats.csv of a run lists all{did_you_mean(name, values)}")
        return values[name]

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class _Stopped(Wait, Condition):
    def __init__(self, partition: Partition, deadline_ps: int | None) -> None:
        super().__init__(f"end of guest {partition.name}", deadline_ps)
        self._partition = partition

    def happened(self) -> bool:
        return self._partition.state != "running"

    def value(self) -> str:
        return self._partition.state


class _Expect(Wait, Condition):
    def __init__(self, console: Console, expression: re.Pattern[str], shown: str, deadline_ps: int | None) -> None:
        super().__init__(f"output {shown!r} of guest {console.name}", deadline_ps)
        self._console = console
        self._expression = expression
        self._seen = -1
        self._match: re.Match[str] | None = None

    def happened(self) -> bool:
        text = self._console.text
        if len(text) != self._seen:
            self._seen = len(text)
            self._match = self._expression.search(text, self._console._position)
        return self._match is not None

    def ready(self, now_ps: int) -> bool:
        return super().ready(now_ps) or self._console._native.state != "running"

    def result(self) -> re.Match[str]:
        state = str(self._console._native.state)
        if not self._met and state != "running":
            raise Timeout(f"no {self.label}: the guest has ended ({state})")
        return super().result()  # type: ignore[no-any-return]

    def value(self) -> re.Match[str]:
        assert self._match is not None
        self._console._position = max(self._console._position, self._match.end())
        return self._match
