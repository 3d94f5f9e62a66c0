"""The integration services: what the root asks a guest's operating system."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from .errors import Refused, UserError
from .network import NetworkAdapter
from .tasks import Condition
from .waiting import Answer, Ready
from .world import deadline

# Who writes a pool: the host; the guest, for the host; the guest's system by itself; the host by itself.
_POOLS = {"external": 0, "guest": 1, "auto": 2, "auto_external": 3}


class Services:
    """The integration services: what the guest answers to the root."""

    def __init__(self, name: str, native: Any) -> None:
        self._name = name
        self._native = native
        self.kvp = KeyValues(name, native)
        self.snapshot = Snapshots(name, native)

    @property
    def heartbeats(self) -> int:
        """Heartbeats that the guest has answered."""
        return int(self._native.services()["heartbeats"])

    @property
    def healthy(self) -> bool:
        """Whether it answers them now."""
        return bool(self._native.services()["healthy"])

    @property
    def time_samples(self) -> int:
        """Messages of the time of day that the guest has answered."""
        return int(self._native.services()["time_samples"])

    @property
    def shutdown_accepted(self) -> bool:
        """Whether the guest has accepted the last request to shut down."""
        return bool(self._native.services()["shutdown_accepted"])

    def ready(self, within: str | int | None = "30s") -> Condition:
        """Awaits that the guest's driver for shutdown requests is there."""
        return Ready(
            f"shutdown service of guest {self._name}", deadline(within), lambda: self._native.services()["shutdown_ready"]
        )

    def shut_down(self, kind: str = "power_off", text: str = "") -> None:
        """Asks the guest's operating system to power off, or to restart (kind "restart"); text: shown in the guest."""
        self._native.shut_down(kind, text)

    async def copy_file(self, content: str | bytes, path: str) -> int:
        """Writes a file into the guest (absolute path; an older one is replaced); gives the bytes written.

        A daemon in the guest does it. Refused if it could not, or is not there within a minute.
        """
        place = pathlib.PurePosixPath(path)
        if not place.is_absolute() or not place.name:
            raise UserError(f"copy_file: {path!r} is not the absolute path of a file")
        data = content.encode() if isinstance(content, str) else content
        # Linux's daemon makes the folders that a slash follows.
        number = self._native.copy_file(f"{place.parent}/", place.name, data)
        answer = await Answer(f"copy of {path} to guest {self._name}", lambda: self._native.copy_answer(number))
        return int(answer["bytes"])


@dataclasses.dataclass(frozen=True)
class Addresses:
    """What an adapter in the guest has."""

    addresses: list[str]
    subnets: list[str]
    gateways: list[str]
    name_servers: list[str]
    dhcp: bool


class KeyValues:
    """Key-value exchange (KVP) with the guest's daemon. Every request raises Refused if the guest does not do it."""

    def __init__(self, name: str, native: Any) -> None:
        self._name = name
        self._native = native

    def ready(self, within: str | int | None = "90s") -> Condition:
        """Awaits that the guest's driver and its daemon are there."""
        return Ready(f"key-value exchange of guest {self._name}", deadline(within), self._native.keys_ready)

    async def list(self, pool: str = "auto") -> dict[str, str]:
        """All keys of a pool: external (set by the host), guest, auto (what the system says of itself), auto_external."""
        return dict((await self._answer(f"keys of pool {pool}", self._native.keys_list(_pool(pool))))["items"])

    async def set(self, key: str, value: str, pool: str = "external") -> None:
        """Sets a key. UserError if key or value is too long."""
        await self._answer(f"setting of key {key}", self._native.keys_set(_pool(pool), key, value))

    async def remove(self, key: str, pool: str = "external") -> None:
        """Removes a key."""
        await self._answer(f"removal of key {key}", self._native.keys_remove(_pool(pool), key))

    async def addresses(self, adapter: NetworkAdapter, family: str = "ipv4") -> Addresses:
        """The addresses of an adapter. family: ipv4, ipv6 or both."""
        families = {"ipv4": 1, "ipv6": 2, "both": 3}
        if family not in families:
            raise UserError(f"addresses: {family!r} is not one of {', '.join(families)}")
        # Linux looks for the adapter by its address, and compares capital letters.
        request = self._native.keys_addresses(adapter.mac.upper(), families[family])
        answer = await self._answer(f"addresses of {adapter.name}", request)
        parts = {name: [part for part in answer[name].split(";") if part] for name in _ADDRESS_FIELDS}
        return Addresses(**parts, dhcp=bool(answer["dhcp"]))

    def _answer(self, what: str, request: int) -> Answer:
        return Answer(f"{what} of guest {self._name}", lambda: self._native.keys_answer(request))


_ADDRESS_FIELDS = ("addresses", "subnets", "gateways", "name_servers")


def _pool(name: str) -> int:
    if name not in _POOLS:
        raise UserError(f"keys: there is no pool {name!r}: {', '.join(_POOLS)}")
    return _POOLS[name]


class Snapshots:
    """Volume snapshots (VSS): the guest's file systems are made quiet for a copy of its disks, then go on."""

    def __init__(self, name: str, native: Any) -> None:
        self._name = name
        self._native = native

    def ready(self, within: str | int | None = "90s") -> Condition:
        """Awaits that the guest's driver and its daemon are there."""
        return Ready(f"snapshot service of guest {self._name}", deadline(within), self._native.snapshot_ready)

    async def possible(self) -> bool:
        """Whether the guest says that it can be copied while it runs."""
        # Linux means to say more, whether the copy would need a recovery, and forgets to.
        try:
            await self._ask("check")
        except Refused:
            return False
        return True

    async def freeze(self) -> None:
        """Has the guest write back everything, and write no more. It thaws by itself after a while."""
        await self._ask("freeze")

    async def thaw(self) -> None:
        """Lets it write again."""
        await self._ask("thaw")

    def _ask(self, operation: str) -> Answer:
        number = self._native.snapshot_ask(operation)
        return Answer(f"{operation} of guest {self._name}", lambda: self._native.snapshot_answer(number))
