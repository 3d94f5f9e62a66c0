"""Sockets between a scenario and programs in a guest (AF_VSOCK; the host has CID 2)."""

from __future__ import annotations

from typing import Any

from .errors import Refused, UserError
from .tasks import Condition
from .waiting import Told
from .world import deadline


def _port(port: int) -> int:
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port < 2**31:
        raise UserError(f"socket: {port!r} is not a port from 1 to 2^31-1")
    return port


class Sockets:
    """The host's ends of a guest's sockets."""

    def __init__(self, name: str, native: Any) -> None:
        self._name = name
        self._native = native

    def listen(self, port: int) -> Listener:
        """Takes connections of the guest's programs to this port from now on."""
        self._native.socket_listen(_port(port))
        return Listener(self._name, self._native, port)

    async def connect(self, port: int, within: str | int | None = "10s") -> Socket:
        """Connects to a program in the guest that listens on a port. Refused if none does; Timeout after `within`."""
        number = self._native.socket_connect(_port(port))
        if number is None:
            raise Refused(f"connection to port {port} of guest {self._name}: there are too many")
        socket = Socket(self._name, self._native, int(number), port)
        await Told(f"connection to port {port} of guest {self._name}", deadline(within), lambda: socket._phase != "offered")
        if socket._phase != "open" and not socket._state["readable"]:
            raise Refused(f"connection to port {port} of guest {self._name}: nobody listens")
        return socket


class Listener:
    """A port that the host listens on. Made by `vm.socket.listen(port)`."""

    def __init__(self, name: str, native: Any, port: int) -> None:
        self.port = port
        self._name = name
        self._native = native

    async def accept(self, within: str | int | None = "30s") -> Socket:
        """The next connection of the guest's."""
        found: list[int] = []

        def look() -> bool:
            number = None if found else self._native.socket_accept(self.port)
            if number is not None:
                found.append(int(number))
            return bool(found)

        await Told(f"connection of guest {self._name} to port {self.port}", deadline(within), look)
        return Socket(self._name, self._native, found[0], self.port)

    def close(self) -> None:
        """Takes no further connections."""
        self._native.socket_stop_listening(self.port)


class Socket:
    """One connection."""

    def __init__(self, name: str, native: Any, number: int, port: int) -> None:
        self.port = port
        self._label = f"socket {port} of guest {name}"
        self._native = native
        self._number = number

    @property
    def _state(self) -> dict[str, Any]:
        return dict(self._native.socket_state(self._number))

    @property
    def _phase(self) -> str:
        return str(self._state["phase"])

    @property
    def at_end(self) -> bool:
        """Whether the guest will send no more and all has been read."""
        state = self._state
        return bool(state["finished"]) and not state["readable"]

    async def read(self, most: int = 65536, within: str | int | None = "30s") -> bytes:
        """What has arrived, at least a byte and at most so many; nothing (b"") at the end."""
        await self._arrived(within)
        return bytes(self._native.socket_read(self._number, most))

    async def read_exactly(self, count: int, within: str | int | None = "30s") -> bytes:
        """So many bytes; fewer only at the end."""
        data = b""
        while len(data) < count and (piece := await self.read(count - len(data), within)):
            data += piece
        return data

    async def read_all(self, within: str | int | None = "30s") -> bytes:
        """Everything up to the guest's end."""
        pieces = []
        while piece := await self.read(within=within):
            pieces.append(piece)
        return b"".join(pieces)

    async def read_line(self, within: str | int | None = "30s") -> bytes:
        """Up to the next line feed, which is part of it, or to the end."""
        data = b""
        while not data.endswith(b"\n") and (piece := await self.read(1, within)):
            data += piece
        return data

    def write(self, data: str | bytes) -> None:
        """Queues bytes; the guest gets them as it reads. Refused if the connection is over or was finished."""
        if not self._native.socket_send(self._number, data.encode() if isinstance(data, str) else data):
            raise Refused(f"{self._label}: there is nobody to write to")

    async def drain(self, within: str | int | None = "30s") -> None:
        """Awaits that all that was written has gone to the guest, or the connection is over."""
        await Told(f"room in {self._label}", deadline(within), lambda: not self._state["unsent"])

    def finish(self) -> None:
        """Ends the direction to the guest, after what was written; reading goes on."""
        self._native.socket_finish(self._number)

    def close(self) -> None:
        """Ends the connection once what was written has gone."""
        self._native.socket_close(self._number)

    async def closed(self, within: str | int | None = "30s") -> None:
        """Awaits its end, and forgets it."""
        await Told(f"end of {self._label}", deadline(within), lambda: self._phase in ("over", "none"))
        self._native.socket_forget(self._number)

    def _arrived(self, within: str | int | None) -> Condition:
        return Told(f"data in {self._label}", deadline(within), lambda: self._state["readable"] or self._state["finished"])
