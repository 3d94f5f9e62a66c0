"""The machine that a scenario has built, as nodes and edges for the report's picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .host import Host

Part = dict[str, str]


def diagram(host: Host) -> tuple[list[Part], list[Part]]:
    """Nodes {id, kind, label} and edges {from, to, label}, in the order in which the scenario made them."""
    nodes: list[Part] = []
    edges: list[Part] = []

    def node(name: str, kind: str, label: str) -> None:
        nodes.append({"id": name, "kind": kind, "label": label})

    def edge(one: str, other: str, label: str) -> None:
        edges.append({"from": one, "to": other, "label": label})

    node("root", "root", "root partition")
    for vm in host.partitions:
        node(f"p.{vm.name}", "partition", vm.name)
    several = f", {host.nodes} nodes" if host.nodes > 1 else ""
    node("hypervisor", "hypervisor", f"{host.cores} processors{several}")
    for switch in host.switches:
        node(f"s.{switch.name}", "switch", switch.name)
        if switch.uplink is None:
            continue
        where = f" at node {switch.uplink.node}" if host.nodes > 1 else ""
        node(f"a.{switch.uplink.name}", "adapter", switch.uplink.name + where)
        edge(f"s.{switch.name}", f"a.{switch.uplink.name}", "uplink")
    for switch in host.switches:
        for peer in switch.peers:
            node(f"n.{peer.name}", "peer", peer.name)
            edge(f"s.{switch.name}" if switch.uplink is None else f"a.{switch.uplink.name}", f"n.{peer.name}", "")
    for vm in host.partitions:
        for switch, adapter in vm.networks:
            if adapter.vf is None:
                edge(f"p.{vm.name}", f"s.{switch.name}", "")
            else:
                edge(f"p.{vm.name}", f"a.{adapter.vf.adapter.name}", f"VF {adapter.vf.number}")
    return nodes, edges
