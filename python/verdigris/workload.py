"""What guests that execute no instructions do, and how they fare.

    client = host.partition("client", vps=2, guest=vg.Behavioural())
    client.network(switch, address="10.0.0.2/24")
    requests = client.workload(vg.RequestResponse(to=server, size=64))
    ...
    requests.measure(sim, "requests")

A workload begins at once, and ends with the run or at `stop()`. `reset()` forgets what was before, so that a warm-up
does not count. What the guest's stack and driver cost its processors is in docs/timing.md (`guest.*`).
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import UserError
from .histogram import percentiles
from .units import parse_share, parse_size, parse_time, whole_number
from .world import world

if TYPE_CHECKING:
    from .host import Partition
    from .network import Peer
    from .simulation import Simulation

# A size, or values or ranges with integer weights: [(64, 7), ((100, 200), 1)].
Sizes = int | str | Sequence[tuple[int | tuple[int, int], int]]

# Frames on a wire with check sequence: the "simple IMIX" of RFC 6985's appendix, 7 : 4 : 1.
IMIX: Sizes = [(64, 7), (594, 4), (1518, 1)]

_FIRST_SERVICE_PORT = 5201
_FIRST_LOCAL_PORT = 20_000


class Behavioural:
    """The guest of a partition whose processors execute no instructions: its drivers and its workloads are models."""


# When operations begin
# ----------------------------------------------------------------------------------------------------------------


class Arrivals:
    """When operations begin. Closed() if none is given."""

    def _settings(self, what: str) -> dict[str, Any]:
        raise NotImplementedError


def _arrivals(kind: str, per_kilosecond: int = 0, on: int = 0, off: int = 0, random: bool = False,
              trace: Sequence[tuple[int, int]] = ()) -> dict[str, Any]:  # fmt: skip
    return {
        "kind": kind, "per_kilosecond": per_kilosecond, "on_ps": on, "off_ps": off, "random_periods": random,
        "trace": list(trace),
    }  # fmt: skip


def _per_kilosecond(rate: int | str, what: str) -> int:
    """Operations in 1000 s, from a whole number per second or a decimal one as text ("0.5")."""
    whole, point, fraction = str(rate).partition(".")
    if isinstance(rate, bool) or not whole.isdigit() or (point and not fraction.isdigit()) or len(fraction) > 3:
        raise UserError(f"{what}: {rate!r} is not a rate: operations per second, with three decimals at most")
    return int(whole) * 1000 + int((fraction + "000")[:3])


@dataclasses.dataclass(frozen=True)
class Closed(Arrivals):
    """The end of an operation begins the next one."""

    def _settings(self, what: str) -> dict[str, Any]:
        return _arrivals("closed")


@dataclasses.dataclass(frozen=True)
class Constant(Arrivals):
    """So many operations per second, at equal distances."""

    rate: int | str

    def _settings(self, what: str) -> dict[str, Any]:
        return _arrivals("constant", _per_kilosecond(self.rate, what))


@dataclasses.dataclass(frozen=True)
class Poisson(Arrivals):
    """So many operations per second on average, independent of one another (exponentially distributed distances)."""

    rate: int | str

    def _settings(self, what: str) -> dict[str, Any]:
        return _arrivals("poisson", _per_kilosecond(self.rate, what))


@dataclasses.dataclass(frozen=True)
class OnOff(Arrivals):
    """So many operations per second for the time `on`, then none for the time `off`, and so on.

    random: these times are exponentially distributed with that mean.
    """

    rate: int | str
    on: str | int
    off: str | int
    random: bool = False

    def _settings(self, what: str) -> dict[str, Any]:
        on, off = parse_time(self.on, f"{what}: on"), parse_time(self.off, f"{what}: off")
        return _arrivals("on_off", _per_kilosecond(self.rate, what), on, off, self.random)


@dataclasses.dataclass(frozen=True)
class ArrivalTrace(Arrivals):
    """Operations at given times after the workload's start, each with a size in bytes or 0 for the workload's own."""

    entries: Sequence[tuple[str | int, int]]

    @staticmethod
    def from_file(path: str) -> ArrivalTrace:
        """A text file: a time ("1.5ms") and, if wanted, a size in bytes on each line. UserError if it is not."""
        entries: list[tuple[str | int, int]] = []
        for number, line in enumerate(_text(path).splitlines(), 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            if len(words) > 2 or (len(words) == 2 and not words[1].isdigit()):
                raise UserError(f"{path}:{number}: a line is a time and a size, not {line!r}")
            entries.append((parse_time(words[0], f"{path}:{number}"), int(words[1]) if len(words) == 2 else 0))
        return ArrivalTrace(entries)

    @staticmethod
    def from_pcap(path: str) -> ArrivalTrace:
        """A capture file (pcap, of micro- or nanoseconds): times from its first packet, and frame lengths with FCS."""
        data = _bytes(path)
        formats = {b"\xd4\xc3\xb2\xa1": ("<", 10**6), b"\xa1\xb2\xc3\xd4": (">", 10**6),
                   b"\x4d\x3c\xb2\xa1": ("<", 10**3), b"\xa1\xb2\x3c\x4d": (">", 10**3)}  # fmt: skip
        if data[:4] not in formats or len(data) < 24:
            raise UserError(f"{path}: this is not a pcap file")
        order, unit_ps = formats[data[:4]]
        entries: list[tuple[str | int, int]] = []
        first, at = None, 24
        while at + 16 <= len(data):
            seconds, fraction, captured, length = struct.unpack_from(order + "IIII", data, at)
            time = seconds * 10**12 + fraction * unit_ps
            first = time if first is None else first
            entries.append((time - first, max(64, length + 4)))
            at += 16 + captured
        return ArrivalTrace(entries)

    def _settings(self, what: str) -> dict[str, Any]:
        return _arrivals("trace", trace=[(parse_time(time, what), size) for time, size in self.entries])


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def _text(path: str) -> str:
    return _bytes(path).decode("utf-8", "replace")


def _sizes(sizes: Sizes, what: str) -> list[tuple[int, int, int]]:
    if isinstance(sizes, (int, str)):
        size = parse_size(sizes, what)
        return [(size, size, 1)]
    try:
        return [
            (value, value, weight) if isinstance(value, int) else (value[0], value[1], weight)
            for value, weight in sizes
        ]
    except (TypeError, ValueError, IndexError):
        raise UserError(f"{what}: {sizes!r} is neither a size nor a list of (size or (least, most), weight)") from None


# Ends of traffic
# ----------------------------------------------------------------------------------------------------------------


class End:
    """Where programs are: a behavioural guest's network stack, or a peer's."""

    def __init__(self, name: str, address: str, sockets: Any, native: Any = None) -> None:
        self.name = name
        self.address = address
        self.sockets = sockets
        self.native = native
        self._service_port = _FIRST_SERVICE_PORT
        self._local_port = _FIRST_LOCAL_PORT

    def service_port(self) -> int:
        self._service_port += 1
        return self._service_port - 1

    def local_ports(self, count: int) -> int:
        self._local_port += count
        return self._local_port - count


def guest_end(
    partition: Partition, name: str, path: str, mac: str, address: str, channels: int, mailbox: bool, moderation: str,
    queues: int,
) -> End:
    """A network stack of a behavioural guest's, above the driver of an adapter."""
    machine = world().machine
    kind, interval = moderation, 0
    if moderation not in ("adaptive", "low latency"):
        try:
            kind, interval = "fixed", parse_time(moderation)
        except UserError:
            message = f"{name}: moderation: {moderation!r} is none of 'adaptive', 'low latency', a time as '50us'"
            raise UserError(message) from None
    native = machine.add_guest_network(
        partition._native, name, path, mac, address, channels, partition._host.profile, mailbox, kind, interval, queues
    )
    return End(name, address.partition("/")[0], native.sockets, native)


def end_of(target: Partition | Peer, what: str) -> End:
    """The programs' place on a partition or a peer. UserError if there is none."""
    ends = getattr(target, "_ends", None)
    if ends:
        found: End = ends[0]
        return found
    native = getattr(target, "_native", None)
    if hasattr(target, "sink") and native is not None:
        end = End(target.name, target.address, world().machine.add_peer_sockets(native, f"{target.name}.sockets"))
        target._ends = [end]  # type: ignore[union-attr]
        return end
    raise UserError(f"{what}: {target!r} is neither a peer nor a behavioural partition with network(..., address=...)")


def _count(value: object, what: str, least: int = 1) -> None:
    whole_number(value, what, least, 2**31 - 1)


def _processor(value: object, what: str) -> None:
    whole_number(value, f"{what}: processor", 0, 4095)


# Workloads
# ----------------------------------------------------------------------------------------------------------------


class Latency:
    """How long operations took: an HdrHistogram of picoseconds with three significant digits."""

    def __init__(self, native: tuple[int, int, int, int, list[tuple[int, int]]]) -> None:
        self.count, self.min, self.max, self.sum, self.buckets = native

    @property
    def mean(self) -> int:
        """Of all, in ps, rounded down; 0 if there were none."""
        return self.sum // self.count if self.count else 0

    @property
    def percentiles(self) -> dict[str, int]:
        """In ps: "50", "90", "99", "99.9", "99.99"."""
        return percentiles(self.count, self.max, self.buckets)

    def as_tuple(self) -> tuple[int, int, int, int, list[tuple[int, int]]]:
        """(count, min, max, sum, buckets), as `sim.measure.latency` takes it."""
        return self.count, self.min, self.max, self.sum, self.buckets


@dataclasses.dataclass(frozen=True)
class Throughput:
    """What went through in a window since the last reset: operations, bytes of payload."""

    bytes: int
    count: int
    window_ps: int
    bits_per_second: int
    per_second: int


@dataclasses.dataclass(frozen=True)
class Attribution:
    """Where the time of operations went, in ps, summed over all of them; the causes add up to the total exactly."""

    count: int
    total: int
    causes: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a workload had measured at one time."""

    latency: Latency
    throughput: Throughput
    attribution: Attribution


class Workload:
    """Something that a behavioural guest does. Given to `partition.workload(...)`."""

    _native: Any = None

    def _attach(self, partition: Partition, name: str) -> None:
        raise NotImplementedError

    def _running(self) -> Any:
        if self._native is None:
            raise UserError(f"{type(self).__name__}: it is nobody's yet; give it to partition.workload(...)")
        return self._native

    @property
    def latency(self) -> Latency:
        """Of the operations that have ended since the last reset."""
        return Latency(self._running().latency())

    @property
    def throughput(self) -> Throughput:
        """Since the last reset, or the start."""
        return Throughput(**self._running().throughput())

    @property
    def attribution(self) -> Attribution:
        """Where the time went; of no operation if the workload is not one that is followed."""
        return Attribution(**self._running().attribution())

    @property
    def failures(self) -> int:
        """Operations that did not end: an answer that was lost, or too many that waited."""
        return int(self._running().failures)

    def reset(self) -> None:
        """Measuring begins anew, now."""
        self._running().reset()

    def stop(self) -> None:
        """No operation begins any more; what is under way goes on."""
        self._running().stop()

    def measure(self, sim: Simulation, name: str, variant: str = "") -> Measured:
        """Puts latency, throughput and attribution, as far as there are any, into the run's result; gives them as well."""
        latency, moved, where = self.latency, self.throughput, self.attribution
        if latency.count:
            sim.measure.latency(name, latency.as_tuple(), variant=variant)
        if moved.window_ps:
            sim.measure.throughput(name, bytes=moved.bytes, count=moved.count, window=moved.window_ps, variant=variant)
        if where.count:
            sim.measure.attribution(name, count=where.count, total=where.total, causes=where.causes, variant=variant)
        return Measured(latency, moved, where)


class RequestResponse(Workload):
    """Requests to another guest or to a peer, and their answers.

    to: a partition with an address, or a peer; its program answers on a port of its own. size, answer: of requests and of
    answers in bytes, 24 or more: one, or values or ranges with weights. protocol: "tcp" or "udp". connections: at the
    same time; each has one request under way in a closed loop. think: in a closed loop from an answer to the next request
    on that connection; random_think: exponentially distributed, with that mean. service: processor time of the answering
    program for each request. processor: that of the first connection's program; the others' are on the next ones in turn.
    follow: where the time goes is followed (`attribution`).
    """

    def __init__(
        self,
        to: Partition | Peer,
        size: Sizes = 64,
        answer: Sizes | None = None,
        protocol: str = "tcp",
        connections: int = 1,
        arrivals: Arrivals | None = None,
        think: str | int = 0,
        random_think: bool = False,
        service: str | int = 0,
        processor: int = 0,
        follow: bool = True,
    ) -> None:
        if protocol not in ("tcp", "udp"):
            raise UserError(f"RequestResponse: protocol {protocol!r} is not one of tcp, udp")
        self.to = to
        _count(connections, "RequestResponse: connections")
        _processor(processor, "RequestResponse")
        self._connections = connections
        self._service_ps = parse_time(service, "RequestResponse: service")
        self._follow = follow
        self._given = {
            "datagrams": protocol == "udp",
            "connections": connections,
            "request": _sizes(size, "RequestResponse: size"),
            "answer": _sizes(size if answer is None else answer, "RequestResponse: answer"),
            "arrivals": (arrivals or Closed())._settings("RequestResponse: arrivals"),
            "think_ps": parse_time(think, "RequestResponse: think"),
            "random_think": random_think,
            "processor": processor,
        }

    def _attach(self, partition: Partition, name: str) -> None:
        machine = world().machine
        near, far = end_of(partition, name), end_of(self.to, name)
        port = far.service_port()
        machine.add_request_server(far.sockets, f"{name}.server", port, self._service_ps)
        self._given["local_port"] = near.local_ports(self._connections)
        if self._follow:
            machine.follow_requests()
        self._native = machine.add_request_client(near.sockets, name, (far.address, port), self._given)


@dataclasses.dataclass(frozen=True)
class Connections:
    """What has become of a stream's TCP connections since it began, as the sender sees it.

    open: now. opened, closed: as they should be. resets, timed_out, refused: broken by the other end, given up as nothing
    came back, never taken; each is a failure of the stream as well. retransmissions: segments that were sent again.
    time_outs: how often because no acknowledgement came in time.
    """

    open: int
    opened: int
    closed: int
    resets: int
    timed_out: int
    refused: int
    retransmissions: int
    time_outs: int


class Stream(Workload):
    """Bulk streams over TCP; what has been read at the other end counts.

    to: a partition with an address, or a peer. reverse: the data come from there. connections: at the same time. write:
    bytes with one system call. total: bytes of each connection, which it then closes; 0 for no end. processor: of the
    first connection's program.
    """

    def __init__(
        self,
        to: Partition | Peer,
        connections: int = 1,
        reverse: bool = False,
        write: str | int = "128KiB",
        total: str | int = 0,
        processor: int = 0,
    ) -> None:
        self.to = to
        _count(connections, "Stream: connections")
        _processor(processor, "Stream")
        self._reverse = reverse
        self._settings = (connections, parse_size(write, "Stream: write"), parse_size(total, "Stream: total"), processor)

    def _attach(self, partition: Partition, name: str) -> None:
        near, far = end_of(partition, name), end_of(self.to, name)
        source, target = (far, near) if self._reverse else (near, far)
        end = (target.address, target.service_port())
        self._native = world().machine.add_stream(source.sockets, target.sockets, name, end, *self._settings)

    @property
    def connections(self) -> Connections:
        """What has become of its connections until now; reset() does not forget it."""
        return Connections(**self._running().connections())


class Datagrams(Workload):
    """Datagrams over UDP, one way; latency is from the program that sends to the program that reads.

    to: a partition with an address, or a peer. frame: length on a wire with check sequence, 64 to 1518 bytes: one, or
    values or ranges with weights (`vg.IMIX`). arrivals: None for as fast as the sender can. processor,
    receiver_processor: of the programs. follow: where the time goes is followed.
    """

    def __init__(
        self,
        to: Partition | Peer,
        frame: Sizes = 1518,
        arrivals: Arrivals | None = None,
        processor: int = 0,
        receiver_processor: int = 0,
        follow: bool = False,
    ) -> None:
        self.to = to
        _processor(processor, "Datagrams")
        _processor(receiver_processor, "Datagrams: receiver")
        self._follow = follow
        self._given = {
            "frame_bytes": _sizes(frame, "Datagrams: frame"),
            "arrivals": (arrivals or Closed())._settings("Datagrams: arrivals"),
            "processor": processor,
            "receiver_processor": receiver_processor,
        }

    def _attach(self, partition: Partition, name: str) -> None:
        machine = world().machine
        near, far = end_of(partition, name), end_of(self.to, name)
        self._given["local_port"] = near.local_ports(1)
        if self._follow:
            machine.follow_requests()
        end = (far.address, far.service_port())
        self._native = machine.add_datagrams(near.sockets, far.sockets, name, end, self._given)


class CpuLoad(Workload):
    """A program that computes: a share of a virtual processor's time in each period, as far as there is time for it.

    share: "30%". processor: the virtual processor. period: not below 10us. An operation is the work of a period.
    """

    def __init__(self, share: str | int, processor: int = 0, period: str | int = "1ms") -> None:
        _processor(processor, "CpuLoad")
        self._settings = (processor, parse_share(share, "CpuLoad: share") // 100, parse_time(period, "CpuLoad: period"))

    def _attach(self, partition: Partition, name: str) -> None:
        self._native = world().machine.add_cpu_load(partition._native, name, *self._settings)


class MemoryWriter(Workload):
    """A program that writes to memory of its own, one page of 4 KiB after the other, again from the first after the last.

    memory: how much it is. rate: bytes per second, as "200MiB", or a whole number of them. processor: the virtual processor. An operation is a page.
    """

    def __init__(self, memory: str | int = "1MiB", rate: str | int = "40MiB", processor: int = 0) -> None:
        _processor(processor, "MemoryWriter")
        pages = parse_size(memory, "MemoryWriter: memory") // 4096
        self._settings = (pages, parse_size(rate, "MemoryWriter: rate") // 4096, processor)

    def _attach(self, partition: Partition, name: str) -> None:
        profile = partition._host.profile
        self._native = world().machine.add_memory_writer(partition._native, name, *self._settings, profile)

    @property
    def damaged(self) -> int:
        """Pages that are not what it has written there last."""
        return int(self._running().damaged())


class StorageMix(Workload):
    """Reads and writes of a disk on the partition's synthetic SCSI controller. One such workload for a partition.

    span: the part of the disk that is used, from byte `first` on; 0 for all of it. read, write: their integer weights. size: in bytes,
    whole blocks of 512, one or values or ranges with weights. sequential: one after the other, else at random places.
    depth: requests at a time in a closed loop. arrivals: None for a closed loop. disk: the number of the partition's disk,
    0 for the first. sub_channels: of the controller, beside its first channel; they are on further processors.
    """

    def __init__(
        self,
        span: str | int = 0,
        read: int = 1,
        write: int = 0,
        size: Sizes = 4096,
        depth: int = 1,
        sequential: bool = False,
        first: str | int = 0,
        arrivals: Arrivals | None = None,
        disk: int = 0,
        sub_channels: int = 0,
    ) -> None:
        for name, value in (("read", read), ("write", write), ("disk", disk), ("sub_channels", sub_channels)):
            _count(value, f"StorageMix: {name}", 0)
        _count(depth, "StorageMix: depth")
        self._given = {
            "sub_channels": sub_channels, "lun": disk, "first_byte": parse_size(first, "StorageMix: first"), "read": read, "write": write,
            "span_bytes": parse_size(span, "StorageMix: span"), "bytes": _sizes(size, "StorageMix: size"),
            "sequential": sequential, "depth": depth, "arrivals": (arrivals or Closed())._settings("StorageMix: arrivals"),
        }  # fmt: skip

    def _attach(self, partition: Partition, name: str) -> None:
        profile = partition._host.profile
        self._native = world().machine.add_storage_mix(partition._native, name, self._given, profile)


class Mixture(Workload):
    """Operations of several kinds, each drawn by its integer weight: [(7, RequestResponse(...)), (3, Datagrams(...))].

    arrivals: None for a closed loop of `outstanding` operations at a time. The kinds' own arrivals do not count; each
    measures its own, the mixture all of them.
    """

    def __init__(
        self, kinds: Iterable[tuple[int, Workload]], arrivals: Arrivals | None = None, outstanding: int = 1
    ) -> None:
        self.kinds = list(kinds)
        self._arrivals = (arrivals or Closed())._settings("Mixture: arrivals")
        self._outstanding = outstanding
        for _, kind in self.kinds:
            given = getattr(kind, "_given", None)
            if given is not None:
                given["arrivals"] = _arrivals("external")
            elif isinstance(kind, (Mixture, Stream)) or not isinstance(kind, Workload):
                raise UserError(f"Mixture: {kind!r} has no operations that could be drawn")

    def _attach(self, partition: Partition, name: str) -> None:
        for number, (_, kind) in enumerate(self.kinds, 1):
            kind._attach(partition, f"{name}.kind{number}")
        kinds = [(kind._native, weight) for weight, kind in self.kinds]
        self._native = world().machine.add_mixture(name, kinds, self._arrivals, self._outstanding)
