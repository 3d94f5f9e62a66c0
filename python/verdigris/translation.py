"""Translation of addresses to look at: page tables of a guest and of the hypervisor, TLBs before them, each walk in words."""

from __future__ import annotations

import dataclasses
from typing import Any

import _verdigris

from .errors import UserError, did_you_mean

_PAGES = {"4KiB": 12, "2MiB": 21, "1GiB": 30}
_KINDS = {"read": 0, "write": 1, "fetch": 2}
_TABLES = ("nested", "extended")


@dataclasses.dataclass(frozen=True)
class Access:
    """What one access took.

    place: where its translation was found: "L1 TLB", "L2 TLB", "walk" (in the tables), or "fault" (nowhere). references:
    table entries that the walk read, guest's and second level's; 0 for a hit. host_address: the system physical address,
    0 for a fault.
    """

    place: str
    references: int
    host_address: int


@dataclasses.dataclass(frozen=True)
class WalkStep:
    """One memory reference of a walk.

    dimension: "guest" for an entry of the guest's tables, "nested" for one of the second level's. level: of the table, 4 is
    the root, 1 maps 4 KiB. guest_address: of the guest's entry, or the address under translation. host_address: of the
    entry. entry: its content.
    """

    dimension: str
    level: int
    guest_address: int
    host_address: int
    entry: int


@dataclasses.dataclass(frozen=True)
class Walk:
    """How a linear address becomes one of the host's, or why it does not; printed, a line for each memory reference.

    steps: the table entries that are read, in order. outcome: "ok", "page fault" or "not canonical" (the guest's),
    "violation" or "misconfiguration" (the hypervisor's). guest_address: guest physical, None if the guest's tables do not
    say. host_address: system physical, None unless the outcome is "ok". page_bytes: of the smaller of both levels' pages.
    """

    steps: tuple[WalkStep, ...]
    outcome: str
    guest_address: int | None
    host_address: int | None
    page_bytes: int
    text: str

    def __str__(self) -> str:
        return self.text


class Translation:
    """A guest's page tables, the hypervisor's below them, and the TLBs of one processor before both: for lessons.

    guest_page, nested_page: size of the pages on the two levels, "4KiB", "2MiB" or "1GiB". tables: "nested" (AMD) or
    "extended" (Intel). The guest has 16 MiB; its linear addresses begin at 0: 2 MiB of them with pages of 4 KiB, 12 MiB
    with pages of 2 MiB, 1 GiB with one of that. The TLBs are those of Sandy Bridge: 64 entries for data and 64 for
    instructions, 512 for both on the second level, of 4 KiB each. No time passes. UserError if a value is wrong.
    """

    def __init__(self, guest_page: str = "4KiB", nested_page: str = "4KiB", tables: str = "nested") -> None:
        if tables not in _TABLES:
            raise UserError(f"Translation: tables {tables!r} is not one of {', '.join(_TABLES)}")
        shifts = [_one_of(_PAGES, page, what) for page, what in ((guest_page, "guest_page"), (nested_page, "nested_page"))]
        self._native: Any = _verdigris.TranslationLesson(tables == "extended", *shifts)

    def access(self, address: int, kind: str = "read") -> Access:
        """What the processor does at a linear address: "read", "write" or "fetch". It fills the TLBs on the way."""
        return Access(*self._native.access(_address(address), _one_of(_KINDS, kind, "kind")))

    def translate(self, address: int, kind: str = "read") -> Walk:
        """The whole walk for an access to a linear address, as no TLB knew it. It changes nothing."""
        return _walk(self._native.translate(_address(address), _one_of(_KINDS, kind, "kind")))

    def explain(self, address: int, kind: str = "read") -> str:
        """The whole walk as a table, one line for each memory reference, and its result. It changes nothing."""
        return str(self.translate(address, kind))

    def steps(self, address: int, kind: str = "read") -> list[WalkStep]:
        """The memory references of the whole walk in order. It changes nothing."""
        return list(self.translate(address, kind).steps)

    def flush(self, address: int | None = None) -> None:
        """Empties all TLBs and caches of table entries; with an address only what INVLPG of it removes."""
        if address is None:
            self._native.flush()
        else:
            self._native.flush_page(_address(address))

    def unmap(self, guest_address: int) -> None:
        """The hypervisor takes the page of 4 KiB at a guest physical address away: what needs it faults on its level."""
        self._native.unmap(_address(guest_address))

    @property
    def counts(self) -> dict[str, int]:
        """Since the beginning: l1_hits, l2_hits, walks (faults among them), faults, references."""
        return dict(self._native.counts())


def translate(host: Any, guest: Any, name: str, vp: int, address: int, kind: str) -> Walk:
    """The walk of a running guest's processor; UserError if there is no such processor."""
    found = _verdigris.translate(host, guest, vp, _address(address), _one_of(_KINDS, kind, "kind"))
    if found is None:
        raise UserError(f"partition {name}: it has no virtual processor {vp} that executes instructions now")
    return _walk(found)


def _walk(found: dict[str, Any]) -> Walk:
    return Walk(**{**found, "steps": tuple(WalkStep(*step) for step in found["steps"])})


def _one_of(known: dict[str, int], name: str, what: str) -> int:
    if name not in known:
        raise UserError(f"Translation: {what} {name!r} is not one of {', '.join(known)}{did_you_mean(str(name), known)}")
    return known[name]


def _address(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**64:
        raise UserError(f"Translation: {value!r} is not an address: a whole number below 2^64")
    return value
