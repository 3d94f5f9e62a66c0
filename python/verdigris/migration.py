"""Live migration: a partition moves to another host while its guest works."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from .errors import UserError
from .units import format_time, parse_rate, parse_size, parse_time
from .waiting import Told
from .world import deadline, world

if TYPE_CHECKING:
    from .host import Host, Partition
    from .network import NetworkAdapter, VirtualSwitch

_PAGE = 4096


@dataclasses.dataclass(frozen=True)
class Round:
    """One round of a migration: pages that went, bytes with their addresses, how long it took."""

    pages: int
    bytes: int
    time_ps: int


class Migration:
    """A partition on its way to another host, or there. Made by `partition.migrate(...)`."""

    def __init__(self, partition: Partition, to: Host, native: Any, revoked_ps: int, link: int) -> None:
        self.partition = partition
        self.source = partition._host
        self.to = to
        self._native = native
        # Of the link that memory went over, in bits per second.
        self.link = link
        # From asking the guest to let its virtual functions go until it had.
        self.revocation_ps = revoked_ps

    @property
    def over(self) -> bool:
        """Whether the guest has arrived, or stays."""
        return bool(self._native.over)

    @property
    def arrived(self) -> bool:
        """Whether the guest is on the other host."""
        return bool(self._native.arrived)

    @property
    def rounds(self) -> list[Round]:
        """Those that have ended. The last one of a guest that has arrived is without it, and with the rest of its state."""
        return [Round(*each) for each in self._native.rounds()]

    @property
    def bytes(self) -> int:
        """All that has gone over the link in these rounds."""
        return int(self._native.bytes)

    @property
    def state_bytes(self) -> int:
        """Of these, the state of processors and devices."""
        return int(self._native.state_bytes)

    @property
    def total_ps(self) -> int:
        """From the first page to the guest's going on; 0 before that."""
        return int(self._native.total_ps) if self.over else 0

    @property
    def blackout_ps(self) -> int:
        """How long the guest has stood still; 0 before it goes on."""
        return int(self._native.blackout_ps) if self.arrived else 0

    def give_up(self) -> None:
        """The other host is lost, or not wanted any more: the guest goes on where it is. Nothing if it has arrived."""
        self._native.give_up()

    def as_result(self) -> dict[str, Any]:
        """Its part of result.json."""
        return {
            "partition": self.partition.name,
            "from": self.source.name,
            "to": self.to.name,
            "arrived": self.arrived,
            "link_bits_per_second": self.link,
            "began_ps": int(self._native.began_ps),
            "revocation_ps": self.revocation_ps,
            "total_ps": self.total_ps,
            "blackout_ps": self.blackout_ps,
            "bytes": self.bytes,
            "state_bytes": self.state_bytes,
            "rounds": [dataclasses.asdict(each) for each in self.rounds],
        }

    def lines(self) -> list[str]:
        """What the terminal shows of it."""
        what = f"migration of {self.partition.name} from {self.source.name} to {self.to.name}"
        if not self.arrived:
            return [f"{what}: the guest stays" if self.over else f"{what}: under way"]
        rounds = self.rounds
        lines = [
            f"{what}: {format_time(self.total_ps)}, of these {format_time(self.blackout_ps)} without the guest; "
            f"{self.bytes} bytes in {len(rounds)} rounds"
        ]
        for number, each in enumerate(rounds, 1):
            last = " and the state" if number == len(rounds) else ""
            lines.append(f"  round {number}: {each.pages} pages{last} in {format_time(each.time_ps)}")
        return lines


def _switches(adapters: list[NetworkAdapter], to: Host, refuse: str) -> list[VirtualSwitch]:
    """The other host's, of the same names; each has a virtual function left for an adapter that has one here."""
    found = []
    wanted: dict[str, int] = {}
    for adapter in adapters:
        switch = next((each for each in to.switches if each.name == adapter.switch.name), None)
        if switch is None:
            raise UserError(f"{refuse}: host {to.name} has no virtual switch {adapter.switch.name}")
        if adapter.vf is not None:
            uplink = switch.uplink
            if uplink is None:
                raise UserError(f"{refuse}: the switch {switch.name} of host {to.name} has no uplink for a virtual function")
            wanted[uplink.name] = wanted.get(uplink.name, 0) + 1
            if uplink._native.reserved() + uplink._held + wanted[uplink.name] > uplink.vfs:
                raise UserError(f"{refuse}: adapter {uplink.name} of host {to.name} has no virtual function left")
        found.append(switch)
    return found


async def migrate(
    partition: Partition,
    to: Host,
    bandwidth: str | int,
    delay: str | int,
    rounds: int,
    threshold: str | int,
    within: str | int | None,
) -> Migration:
    """What `Partition.migrate` does."""
    source = partition._host
    refuse = f"migration of partition {partition.name}"
    if to not in world().hosts:
        raise UserError(f"{refuse}: {to!r} is no host; make one with vg.Host(name=...)")
    if to is source:
        raise UserError(f"{refuse}: it is on host {to.name} already")
    if partition._moving:
        raise UserError(f"{refuse}: it is on its way already")
    bits = parse_rate(bandwidth, f"{refuse}: bandwidth")
    delay_ps = parse_time(delay, f"{refuse}: delay")
    least = parse_size(threshold, f"{refuse}: threshold") // _PAGE
    if not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 1:
        raise UserError(f"{refuse}: rounds={rounds!r} is not a whole number from 1 on")
    until = deadline(within)
    adapters = [adapter for _, adapter in partition.networks]
    switches = _switches(adapters, to, refuse)
    given = [adapter for adapter in adapters if adapter.vf is not None and adapter.vf.given]
    # Nobody else gets them meanwhile.
    held = [switch.uplink for adapter, switch in zip(adapters, switches) if adapter.vf is not None and switch.uplink is not None]
    for uplink in held:
        uplink._held += 1
    partition._moving = True
    began = world().now_ps()
    native = None
    try:
        # Whatever the physical adapter writes to memory, no flag of the second level tells of it.
        for adapter in given:
            await adapter.revoke_vf()
        # When they had gone is known exactly, other than when it was noticed.
        gone = max([adapter.vf.moments[-1][1] for adapter in given if adapter.vf is not None], default=began)
        machine = world().machine
        name = f"{partition.name}{len(world().migrations)}"
        native = machine.migrate(
            partition._native, source._native, to._native, name, bits, delay_ps, rounds, min(least, 2**63)
        )
        migration = Migration(partition, to, native, gone - began, bits)
        world().migrations.append(migration)
        partition.migration = migration
        await Told(f"arrival of partition {partition.name} on host {to.name}", until, lambda: migration.over)
    except BaseException:
        # Nobody waits for it any more.
        if native is not None:
            native.give_up()
        _offer_again(partition, given)
        raise
    finally:
        for uplink in held:
            uplink._held -= 1
    if migration.arrived:
        _arrived(partition, to, native.destination, switches)
    _offer_again(partition, given)
    return migration


def _offer_again(partition: Partition, given: list[NetworkAdapter]) -> None:
    """Wherever it is now; not if its guest has ended on the way."""
    partition._moving = False
    for adapter in given:
        if partition.state == "running" and adapter.vf is not None and not adapter.vf.given:
            adapter.offer_vf()


def _arrived(partition: Partition, to: Host, native: Any, switches: list[VirtualSwitch]) -> None:
    """What the scenario holds of the partition is the one on the other host from now on."""
    partition._host.partitions.remove(partition)
    to.partitions.append(partition)
    partition._placed(to, native)
    for number, (adapter, switch) in enumerate(zip([adapter for _, adapter in partition.networks], switches)):
        if adapter.switch.uplink is not None:
            adapter.switch.uplink._native.remove_address(adapter.mac)
        if adapter.vf is not None:
            adapter.vf.adapter._native.release_vf(adapter.vf.number)
        adapter._placed(native.network(number), switch)
        partition.networks[number] = (switch, adapter)
        if switch.uplink is None:
            continue
        if adapter.vf is None:
            switch.uplink._native.add_address(adapter.mac, True)
        else:
            adapter.vf = partition._reserve_vf(adapter, number + 1)
