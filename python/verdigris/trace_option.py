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
    vcd: bool


def parse_trace(trace: str) -> Wanted:
    """Reads "exit,packet", "perfetto", "perfetto:packet,turn", "exit,perfetto:packet", "all,perfetto,pcap,vcd".

    Kinds go into trace.txt; those after `perfetto:` go into trace.json. `perfetto` alone means all kinds.
    UserError if it is none of these.
    """
    text: list[str] = []
    perfetto: list[str] = []
    whole = {"pcap": False, "vcd": False}
    into = text
    for item in [item.strip() for item in trace.split(",")] if trace else []:
        if item in whole:
            whole[item] = True
            continue
        if item == "perfetto":
            perfetto[:] = ["all"]
            continue
        form, colon, kind = item.partition(":")
        if colon:
            if form not in ("perfetto", "text"):
                raise UserError(f"--trace {item}: there is no form {form}: perfetto, text, pcap, vcd")
            into, item = (perfetto if form == "perfetto" else text), kind.strip()
        if not item:
            raise UserError(f"--trace {trace}: write kinds with commas between them, or all")
        into.append(item)
    return Wanted(text, perfetto, **whole)
