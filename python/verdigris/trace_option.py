"""The option --trace: which kinds of records go into which file."""

from __future__ import annotations

import dataclasses

from .errors import UserError


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Kinds for each form; ["all"] for all of them."""

    text: list[str]
    perfetto: list[str]
    pcap: bool


def parse_trace(trace: str) -> Wanted:
    """Reads "exit,packet", "perfetto", "perfetto:packet,turn", "exit,perfetto:packet", "all,perfetto,pcap". UserError if it is none.

    Kinds go into trace.txt; those after `perfetto:` go into trace.json. `perfetto` alone means all kinds.
    """
    text: list[str] = []
    perfetto: list[str] = []
    pcap = False
    into = text
    for item in [item.strip() for item in trace.split(",")] if trace else []:
        if item == "pcap":
            pcap = True
            continue
        if item == "perfetto":
            perfetto[:] = ["all"]
            continue
        form, colon, kind = item.partition(":")
        if colon:
            if form not in ("perfetto", "text"):
                raise UserError(f"--trace {item}: there is no form {form}: perfetto, text, pcap")
            into, item = (perfetto if form == "perfetto" else text), kind.strip()
        if not item:
            raise UserError(f"--trace {trace}: write kinds with commas between them, or all")
        into.append(item)
    return Wanted(text, perfetto, pcap)
