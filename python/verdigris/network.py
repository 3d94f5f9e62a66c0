"""Virtual switches, the adapters of partitions on them, and peers: hosts beyond a wire that answer by themselves."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import _verdigris

from .errors import UserError
from .pci import HostAdapter, VirtualFunction
from .tasks import Condition
from .units import parse_rate, parse_time
from .world import world

if TYPE_CHECKING:
    from .host import Host

# Hyper-V's own range of addresses for adapters; the last three bytes count.
_ADAPTER_MACS = 0x00155D010000
_PEER_MACS = 0x020000000000


def _mac(number: int) -> str:
    return ":".join(f"{byte:02x}" for byte in number.to_bytes(6, "big"))


def adapter_mac(number: int) -> str:
    """The address of the host's adapter of that number, if the scenario names none."""
    return _mac(_ADAPTER_MACS + number)


class VirtualSwitch:
    """A virtual switch of the root. Made by `host.virtual_switch(name)`."""

    def __init__(self, host: Host, name: str, uplink: HostAdapter | None = None) -> None:
        self.name = name
        self.host = host
        self.uplink = uplink
        self._native = _verdigris.add_switch(host._native, name)
        if uplink is not None:
            uplink._native.connect_switch(self._native)
        # Peers stand on the switch itself, or beyond its uplink.
        self._beyond = self._native if uplink is None else uplink._native.rack()
        self.peers: list[Peer] = []
        # Hosts may share a network: each one's peers have a range of their own.
        self._peer_macs = _PEER_MACS + (world().hosts.index(host) << 16)

    def peer(
        self,
        name: str,
        address: str = "10.0.0.1/24",
        dhcp: tuple[str, str] | None = None,
        rate: str | int = "10Gb/s",
        delay: str | int = "1us",
        mac: str | None = None,
        vlan: int = 0,
    ) -> Peer:
        """Connects a host that only behaves, through a wire and an external port of the switch.

        It answers ARP, pings, UDP echo and TCP on the ports that it listens on. address: its IPv4 address with prefix length.
        dhcp: first and last address that it hands out. rate, delay: of the wire. UserError if a value is wrong.
        """
        return Peer(self, name, address, dhcp, rate, delay, mac or _mac(self._peer_macs + 1 + len(self.peers)), vlan)


@dataclasses.dataclass(frozen=True)
class Connection:
    """A TCP connection of a peer's that has ended: bytes each way, SHA-256 of what a sink got, how it ended."""

    port: int
    received: int
    sent: int
    received_sha256: str
    end: str
    retransmissions: int
    time_outs: int
    opened_ps: int
    ended_ps: int


class Peer:
    """A host on the network that executes no instructions. Made by `switch.peer(name)`."""

    def __init__(
        self,
        switch: VirtualSwitch,
        name: str,
        address: str,
        dhcp: tuple[str, str] | None,
        rate: str | int,
        delay: str | int,
        mac: str,
        vlan: int,
    ) -> None:
        self.name = name
        self.address = address.partition("/")[0]
        self.mac = mac
        bits_per_second = parse_rate(rate, f"rate of peer {name}")
        delay_ps = parse_time(delay, f"delay of peer {name}")
        pool = list(dhcp) if dhcp else []
        self._native: Any = _verdigris.add_peer(
            switch.host._native, switch._beyond, name, mac, address, bits_per_second, delay_ps, pool, vlan
        )
        self._ends: list[Any] = []
        switch.peers.append(self)

    def sink(self, port: int, report: bool = False) -> None:
        """Takes all that comes on a TCP port. report: says how many bytes and their SHA-256 when the other side has ended."""
        self._native.listen(port, "sink", 0, 0, report)

    def source(self, port: int, size: int, seed: int = 0) -> str:
        """Sends so many bytes of a pattern to whoever connects to a TCP port, then ends. Gives their SHA-256."""
        self._native.listen(port, "source", size, seed, False)
        return str(_verdigris.pattern_sha256(seed, size))

    def echo(self, port: int) -> None:
        """Sends back what comes on a TCP port."""
        self._native.listen(port, "echo", 0, 0, False)

    @property
    def connections(self) -> list[Connection]:
        """TCP connections that have ended, the latest last."""
        return [Connection(**result) for result in self._native.connections()]


@dataclasses.dataclass(frozen=True)
class Traffic:
    """What an adapter carried: frames and bytes to and from the guest, as its driver counts them."""

    frames: int
    bytes: int
    discards: int
    errors: int


class NetworkAdapter:
    """A partition's network adapter. Made by `partition.network(switch)`."""

    def __init__(
        self, name: str, mac: str, native: Any, switch: VirtualSwitch, mailbox: bool = False, vf: VirtualFunction | None = None
    ) -> None:
        self.name = name
        self.mac = mac
        self.vf = vf
        self._mailbox = mailbox
        self._placed(native, switch)

    def _placed(self, native: Any, switch: VirtualSwitch) -> None:
        self._native: Any = native
        self.switch = switch

    def _own_vf(self) -> VirtualFunction:
        if self.vf is None:
            raise UserError(f"adapter {self.name}: it has no virtual function; make it with sriov=True")
        return self.vf

    def revoke_vf(self, within: str | int | None = "30s") -> Condition:
        """Asks the guest to let its virtual function go; awaits that it has. Traffic goes on the synthetic way."""
        return self._own_vf().revoke(within)

    def withdraw_vf(self) -> None:
        """Takes the virtual function away by surprise."""
        self._own_vf().withdraw()

    def offer_vf(self) -> None:
        """Gives it a virtual function again."""
        self._own_vf().offer()

    @property
    def sent(self) -> Traffic:
        """From the guest."""
        return Traffic(**self._native.traffic()["from_guest"])

    @property
    def received(self) -> Traffic:
        """To the guest."""
        return Traffic(**self._native.traffic()["to_guest"])

    def set_link(self, up: bool) -> None:
        """Plugs the cable in or out, as the guest sees it."""
        if not isinstance(up, bool):
            raise UserError(f"set_link: {up!r} is neither True nor False")
        self._native.set_link(up)
