"""PCI devices of the host, and their assignment to partitions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, overload

from .errors import UserError
from .tasks import Condition
from .units import parse_time
from .waiting import Ready
from .world import deadline, world

if TYPE_CHECKING:
    from .host import Host


def _whole(value: object, what: str, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UserError(f"{what}={value!r} is not a whole number from {low} to {high}")


class ExampleDevice:
    """A small PCI Express function with MSI-X, 64-bit BARs and a DMA engine, for teaching and tests.

    What its registers do: models/pci/example_function.h.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def _add(self, host: Host) -> PciDevice:
        return PciDevice(world().machine.add_example_device(host._native, self.name))


class Intel82599:
    """An Intel 82599 adapter, 10 Gb/s, with virtual functions; the uplink of a virtual switch.

    vfs: how many virtual functions, 1 to 63, or to 31 if queues=4. queues: of each virtual function, 2 or 4. node: the NUMA
    node that it stands at. vmq: so many synthetic adapters on its switch, the first ones, have receive queues of their own;
    vmq_queues: 1 for each (VMQ), or 2 or as many as `queues` over which connections are spread (VMMQ). root_processors:
    numbers of those that serve the queues, the first also all that is in no such queue; if not given, the first of its
    node. balance: how often a queue may move to another of them, by their load; "0s": queues stay where they are.
    rack: an adapter that is there already, perhaps another host's; this one's cable goes into the same rack switch, and
    peers of either are everybody's.
    """

    def __init__(
        self,
        name: str,
        vfs: int = 4,
        queues: int = 2,
        node: int = 0,
        vmq: int = 0,
        vmq_queues: int = 1,
        root_processors: Iterable[int] | None = None,
        balance: str | int = "0s",
        rack: HostAdapter | None = None,
    ) -> None:
        self.name = name
        self.vfs = vfs
        self.queues = queues
        self.node = node
        self.vmq = vmq
        self.vmq_queues = vmq_queues
        self.root_processors = list(root_processors or ())
        self.balance_ps = parse_time(balance, f"adapter {name}: balance")
        self.rack = rack

    def _add(self, host: Host) -> HostAdapter:
        limits = {"vfs": (1, 63), "queues": (2, 4), "node": (0, 63), "vmq": (0, 62), "vmq_queues": (1, 4)}
        for what, (low, high) in limits.items():
            _whole(getattr(self, what), f"adapter {self.name}: {what}", low, high)
        for number in self.root_processors:
            _whole(number, f"adapter {self.name}: root_processors", 0, 4095)
        if self.rack is not None and not isinstance(self.rack, HostAdapter):
            raise UserError(f"adapter {self.name}: rack={self.rack!r} is no adapter; make one with host.add(...)")
        if self.rack is not None and not host.name:
            raise UserError(f"adapter {self.name}: its host needs a name to share a rack switch, as vg.Host(name=\"a\")")
        return HostAdapter(host, self)


class HostAdapter:
    """A network adapter of the host's. Made by `host.add(vg.Intel82599(...))`."""

    # Of the physical functions, by number.
    _MACS = 0x001B21000000
    _made = 0

    def __init__(self, host: Host, wanted: Intel82599) -> None:
        HostAdapter._made += 1
        self.host = host
        self.name = wanted.name
        self.vfs = wanted.vfs
        self.node = wanted.node
        self.mac = ":".join(f"{byte:02x}" for byte in (self._MACS + HostAdapter._made).to_bytes(6, "big"))
        self._native: Any = world().machine.add_adapter(
            host._native, self.name, self.mac, self.vfs, wanted.queues, wanted.node, wanted.root_processors, wanted.vmq,
            wanted.vmq_queues, wanted.balance_ps, None if wanted.rack is None else wanted.rack._native,
        )  # fmt: skip
        self._processors = wanted.root_processors
        # Virtual functions that wait for partitions on their way here.
        self._held = 0

    @property
    def queue_processors(self) -> list[int]:
        """Which processor of the root serves each queue now: the physical function's first, then those of addresses."""
        named = self._processors or [self.host.cores // self.host.nodes * self.node]
        return [named[number] for number in self._native.queue_processors()]


class VirtualFunction:
    """The virtual function beside a partition's synthetic adapter. Made by `partition.network(switch, sriov=True)`."""

    def __init__(self, name: str, adapter: HostAdapter, number: int, native: Any) -> None:
        self.name = name
        self.adapter = adapter
        self.number = number
        self._native = native

    @property
    def given(self) -> bool:
        """Whether the partition has it."""
        return bool(self._native.given)

    @property
    def carries_traffic(self) -> bool:
        """Whether the guest has moved its traffic there."""
        return bool(self._native.on_vf)

    @property
    def moments(self) -> list[tuple[str, int]]:
        """Each step of its coming and going, with its time in picoseconds.

        associated, offered, in_use, to_vf, revocation, to_synthetic, returned, dissociated.
        """
        return [(str(step), int(at)) for step, at in self._native.moments()]

    @property
    def counts(self) -> dict[str, int]:
        """What the adapter counted for it: received, received_octets, sent, sent_octets."""
        return dict(self.adapter._native.vf_counts(self.number))

    def carrying(self, within: str | int | None = "30s") -> Condition:
        """Awaits that the guest has moved its traffic there."""
        return Ready(f"virtual function {self.name} carries traffic", deadline(within), lambda: self.carries_traffic)

    def offer(self) -> None:
        """Gives it to the partition again."""
        self._native.offer()

    def revoke(self, within: str | int | None = "30s") -> Condition:
        """By policy: asks the guest to let go; awaits that it has."""
        self._native.revoke()
        return Ready(f"virtual function {self.name} returned by its partition", deadline(within), lambda: not self.given)

    def withdraw(self) -> None:
        """By surprise: it is gone."""
        self._native.withdraw()


class PciDevice:
    """A device of the host's. Made by `host.add(...)`."""

    def __init__(self, native: Any) -> None:
        self._native = native

    @property
    def name(self) -> str:
        """Its name in the scenario."""
        return str(self._native.name)

    @property
    def place(self) -> str:
        """Where it is on the host: bus, device and function, as "01:00.0"."""
        return str(self._native.place)


class AssignedDevice:
    """A host's device in a partition (Discrete Device Assignment). Made by `partition.pci(device)`."""

    def __init__(self, device: PciDevice, native: Any) -> None:
        self.device = device
        self._native = native

    @property
    def given(self) -> bool:
        """Whether the partition has it."""
        return bool(self._native.given)

    @property
    def in_use(self) -> bool:
        """Whether the guest has it at work: on its bus, with its BARs decoded."""
        return bool(self._native.in_use)

    def used(self, within: str | int | None = "30s") -> Condition:
        """Awaits that the guest has it at work."""
        return Ready(f"device {self.device.name} at work in its partition", deadline(within), lambda: self.in_use)

    def eject(self, within: str | int | None = "30s") -> Condition:
        """Asks the guest to let go; awaits that it has. Timeout if it has not after `within`."""
        self._native.eject()
        return Ready(f"device {self.device.name} returned by its partition", deadline(within), lambda: not self.given)

    def take(self) -> None:
        """Takes it away by surprise."""
        self._native.take()

    def give(self) -> None:
        """Gives it back. UserError if the partition has it, or another one."""
        self._native.give(self.device._native)


@overload
def add_device(host: Host, device: ExampleDevice) -> PciDevice: ...
@overload
def add_device(host: Host, device: Intel82599) -> HostAdapter: ...
def add_device(host: Host, device: ExampleDevice | Intel82599) -> PciDevice | HostAdapter:
    """What `host.add` does."""
    if not isinstance(device, (ExampleDevice, Intel82599)):
        raise UserError(
            f"host.add: {device!r} is no device that a host can have: vg.ExampleDevice(name), vg.Intel82599(name)"
        )
    return device._add(host)
