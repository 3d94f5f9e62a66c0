"""PCI devices of the host, and their assignment to partitions."""

from __future__ import annotations

from typing import Any

from .errors import UserError
from .tasks import Condition
from .units import parse_time
from .world import world


class ExampleDevice:
    """A small PCI Express function with MSI-X, 64-bit BARs and a DMA engine, for teaching and tests.

    What its registers do: models/pci/example_function.h.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def _add(self) -> PciDevice:
        return PciDevice(world().machine.add_example_device(self.name))


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
        return _Function(self, True, within)

    def eject(self, within: str | int | None = "30s") -> Condition:
        """Asks the guest to let go; awaits that it has. Timeout if it has not after `within`."""
        self._native.eject()
        return _Function(self, False, within)

    def take(self) -> None:
        """Takes it away by surprise."""
        self._native.take()

    def give(self) -> None:
        """Gives it back. UserError if the partition has it, or another one."""
        self._native.give(self.device._native)


class _Function(Condition):
    # Nothing tells of it: it is looked at every millisecond.
    _STEP_PS = 10**9

    def __init__(self, assigned: AssignedDevice, wanted: bool, within: str | int | None) -> None:
        deadline = None if within is None else world().now_ps() + parse_time(within, "within")
        what = "at work in its partition" if wanted else "returned by its partition"
        super().__init__(f"device {assigned.device.name} {what}", deadline)
        self._assigned = assigned
        self._wanted = wanted

    def happened(self) -> bool:
        return self._assigned.in_use if self._wanted else not self._assigned.given

    def watched_deadline(self, now_ps: int) -> int | None:
        again = now_ps + self._STEP_PS
        return again if self.deadline_ps is None else min(again, self.deadline_ps)


def add_device(device: object) -> PciDevice:
    """What `host.add` does."""
    if not isinstance(device, ExampleDevice):
        raise UserError(f"host.add: {device!r} is no device that a host can have: vg.ExampleDevice(name)")
    return device._add()
