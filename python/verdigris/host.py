"""The host, its partitions, and what a scenario sees of a guest."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .errors import UserError
from .guests import Elf, Linux
from .tasks import Condition
from .units import parse_share, parse_size, parse_time
from .world import world

_PARTITION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_NUMBERED = re.compile(r"host\.hypervisor\.partitions\.\d+\.")
_FIDELITIES = ("fast", "timed")


def _whole(value: object, what: str, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UserError(f"{what}: {value!r} is not a whole number from {low} to {high}")
    return value


class Host:
    """The virtualization host. A scenario makes one, at module level.

    cores: logical processors. memory: size of the physical memory. profile: name of the timing profile.
    fidelity: "fast" (time by instruction class) or "timed" (also each access through TLB and cache models).
    quantum: how far a processor may run ahead of the others; "0s" is lock-step.
    UserError if a value is wrong or a host exists already.
    """

    def __init__(
        self,
        cores: int = 4,
        memory: str | int = "4GiB",
        profile: str = "sandy-bridge-ep",
        fidelity: str = "fast",
        quantum: str | int = "100us",
    ) -> None:
        if fidelity not in _FIDELITIES:
            raise UserError(f"fidelity: {fidelity!r} is not one of {', '.join(_FIDELITIES)}")
        if not isinstance(profile, str):
            raise UserError(f"profile: {profile!r} is not a profile's name")
        self.cores = _whole(cores, "cores", 1, 4096)
        self.memory_bytes = parse_size(memory, "memory of the host")
        self.profile = profile
        self.fidelity = fidelity
        self.quantum_ps = parse_time(quantum, "quantum")
        self.partitions: list[Partition] = []
        here = world()
        here.machine.create_host(
            cores=self.cores,
            memory_bytes=self.memory_bytes,
            profile=profile,
            timed=fidelity == "timed",
            quantum_ps=self.quantum_ps,
        )
        here.host = self

    def partition(
        self,
        name: str,
        vps: int = 1,
        memory: str | int = "256MiB",
        guest: Linux | Elf | None = None,
        weight: int = 100,
        reserve: str | int = 0,
        cap: str | int = "100%",
        affinity: Iterable[int] | None = None,
    ) -> Partition:
        """Makes a partition whose guest starts at the present simulated time.

        name: letters, digits, _ and -. vps: virtual processors. guest: what it boots, vg.Linux() if not given.
        weight: 1 to 10000, the share when processors are scarce. reserve, cap: share of one processor that each virtual
        processor has at least and at most, as "25%" or in thousandths of a percent. affinity: numbers of the logical
        processors that it may use, all if not given. UserError if a value is wrong or memory does not fit.
        """
        if not isinstance(name, str) or not _PARTITION_NAME.fullmatch(name):
            raise UserError(f"partition: {name!r} is not a name of letters, digits, _ and -")
        if any(other.name == name for other in self.partitions):
            raise UserError(f"partition: there is one named {name} already")
        if guest is None:
            guest = Linux()
        if not isinstance(guest, (Linux, Elf)):
            raise UserError(f"partition {name}: guest is {guest!r}; it may be vg.Linux(...) or vg.Elf(...)")
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
        }
        image = guest.image()
        machine = world().machine
        before = machine.statistics().keys()
        native = machine.add_partition(
            name=name,
            elf=image.is_elf,
            kernel=image.kernel,
            initramfs=image.initramfs,
            command_line=image.command_line,
            **sizes,
        )
        # The hypervisor knows the partition by its number only; the first counts with that number come with it.
        number = next((m[0] for new in machine.statistics() if new not in before and (m := _NUMBERED.match(new))), None)
        partition = Partition(name, native, [f"host.root.{name}.", *([number] if number else [])])
        self.partitions.append(partition)
        return partition


class Partition:
    """A partition with its guest."""

    def __init__(self, name: str, native: Any, statistics: list[str]) -> None:
        self.name = name
        self._native = native
        self.console = Console(name, native)
        self.stats = Statistics(name, statistics)

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

    def stopped(self, within: str | int | None = None) -> Condition:
        """Awaits that the guest no longer runs; gives its state. Timeout after `within` (default: no limit)."""
        return _Stopped(self, _deadline(within))


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
        return _Expect(self, expression, str(getattr(pattern, "pattern", pattern)), _deadline(within))


class Statistics(Mapping[str, int]):
    """Counts of one partition, as they are now: those of its devices ("console.bytes") and of its processors ("vp0.exits").

    stats.csv of a run lists all, below `host.root.NAME` and `host.hypervisor.partitions.NUMBER`.
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
            raise UserError(f"partition {self._name} has no statistic {name}; stats.csv of a run lists all")
        return values[name]

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def _deadline(within: str | int | None) -> int | None:
    return None if within is None else world().now_ps() + parse_time(within, "within")


class _Stopped(Condition):
    def __init__(self, partition: Partition, deadline_ps: int | None) -> None:
        super().__init__(f"end of guest {partition.name}", deadline_ps)
        self._partition = partition

    def happened(self) -> bool:
        return self._partition.state != "running"

    def value(self) -> str:
        return self._partition.state


class _Expect(Condition):
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

    def value(self) -> re.Match[str]:
        assert self._match is not None
        self._console._position = max(self._console._position, self._match.end())
        return self._match
