"""A result folder with invented figures, to show the report without a simulation. Nothing here was measured.

    sample.py FOLDER [run|sweep|plain|moved|scale]
"""

from __future__ import annotations

import json
import math
import pathlib
import random
import sys
from typing import Any

VARIANTS = ["emulated", "synthetic", "vf"]
US = 1_000_000
# Mean picoseconds of one request by cause.
CAUSES: dict[str, dict[str, int]] = {
    "emulated": {
        "client.stack": 9_800_000, "client.driver": 5_200_000, "hypervisor.exit.mmio": 118_400_000, "root.legacy": 71_300_000, "switch": 9_600_000,
        "nic": 1_900_000, "wire": 2_460_000, "interrupt.delivery": 21_500_000, "wait.processor": 23_900_000,
    },
    "synthetic": {
        "client.stack": 9_800_000, "client.driver": 3_100_000, "hypervisor.hypercall": 9_400_000, "vmbus.signal": 48_200_000, "root.network": 57_700_000,
        "switch": 8_900_000, "nic": 1_900_000, "pci.dma": 1_270_000, "wire": 2_460_000, "interrupt.delivery": 12_600_000, "wait.processor": 18_100_000,
    },
    "vf": {
        "client.stack": 9_800_000, "client.driver": 2_400_000, "pci.dma": 2_830_000, "nic": 1_950_000, "wire": 2_460_000, "interrupt.moderation": 15_800_000,
        "interrupt.delivery": 4_300_000, "wait.processor": 2_700_000,
    },
}  # fmt: skip
BITS = {"emulated": 412_000_000, "synthetic": 5_870_000_000, "vf": 9_414_000_000}
BUSY: dict[str, dict[str, int]] = {
    "emulated": {"guest.client.stack": 110, "guest.client.driver": 75, "hypervisor.exit.mmio": 265, "hypervisor.exit.io": 90, "hypervisor.switch": 35, "root.legacy": 210, "root.switch": 40},
    "synthetic": {"guest.client.stack": 140, "guest.client.driver": 60, "hypervisor.exit.hypercall": 70, "hypervisor.exit.msr": 30, "hypervisor.switch": 25, "root.network": 240, "root.switch": 75},
    "vf": {"guest.client.stack": 150, "guest.client.driver": 45, "hypervisor.exit.interrupt": 22, "hypervisor.switch": 6, "root.pci": 4},
}  # fmt: skip


def upper_bound(value: int) -> int:
    """The upper end of the histogram's sub-bucket: 2,048 of them to the power of two, as with three significant digits."""
    shift = max(0, value.bit_length() - 11)
    return (((value >> shift) + 1) << shift) - 1


def histogram(values: list[int]) -> dict[str, Any]:
    """Values as result.json keeps them."""
    values = sorted(values)
    buckets: dict[int, int] = {}
    for value in values:
        buckets[upper_bound(value)] = buckets.get(upper_bound(value), 0) + 1

    def percentile(text: str) -> int:
        return min(upper_bound(values[max(0, math.ceil(float(text) * len(values) / 100) - 1)]), values[-1])

    return {
        "unit": "ps",
        "count": len(values),
        "min": values[0],
        "max": values[-1],
        "mean": sum(values) // len(values),
        "sum": sum(values),
        "percentiles": {text: percentile(text) for text in ("50", "90", "99", "99.9", "99.99")},
        "buckets": sorted([upper, count] for upper, count in buckets.items()),
    }


def latencies(variant: str, random_: random.Random, count: int, scale: float = 1.0) -> list[int]:
    """A bulk about the sum of the causes, and a tail of requests that waited for a processor."""
    middle = sum(CAUSES[variant].values()) * scale
    spread = {"emulated": 0.10, "synthetic": 0.13, "vf": 0.055}[variant]
    values = []
    for _ in range(count):
        value = middle * random_.lognormvariate(0, spread)
        if random_.random() < 0.012:
            value += random_.expovariate(1 / (0.9 * middle))
        if random_.random() < 0.0006:
            value += 1.5e9 * random_.random() * (0.15 if variant == "vf" else 1.0)
        values.append(int(value))
    return values


def attribution(variant: str, total: int, count: int) -> dict[str, Any]:
    """Causes that sum to the total."""
    shares, whole = CAUSES[variant], sum(CAUSES[variant].values())
    causes = {cause: total * share // whole for cause, share in shares.items()}
    causes["wait.processor"] += total - sum(causes.values())
    return {"unit": "ps", "count": count, "total": total, "causes": causes}


def processor_time(variant: str, window: int, random_: random.Random) -> dict[str, dict[str, int]]:
    """Four processors: the root's first, then the guest's, one nearly idle."""
    weights = [{"root": 1.0, "hypervisor": 0.45, "guest": 0.0}, {"root": 0.1, "hypervisor": 1.0, "guest": 1.6}, {"root": 0.05, "hypervisor": 0.8, "guest": 1.2}, {"root": 0.02, "hypervisor": 0.05, "guest": 0.1}]
    processors = {}
    for number, weight in enumerate(weights):
        causes = {}
        for cause, thousandths in BUSY[variant].items():
            ps = int(window * thousandths / 1000 * weight[cause.split(".")[0]] * random_.uniform(0.9, 1.1))
            if ps:
                causes[cause] = ps
        causes["idle"] = window - sum(causes.values())
        processors[f"host.lp{number}"] = causes
    return processors


MACHINE = {
    "nodes": [
        {"id": "client", "kind": "partition", "label": "client"}, {"id": "neighbour", "kind": "partition", "label": "neighbour"},
        {"id": "root", "kind": "root", "label": "root partition"}, {"id": "hypervisor", "kind": "hypervisor", "label": "hypervisor, 4 LPs"},
        {"id": "external", "kind": "switch", "label": "external"}, {"id": "nic", "kind": "nic", "label": "82599, 4 VFs"},
        {"id": "cable", "kind": "wire", "label": "10 Gbit/s, 25 m"}, {"id": "peer", "kind": "peer", "label": "echo server"},
    ],
    "edges": [
        {"from": "client", "to": "hypervisor", "label": ""}, {"from": "neighbour", "to": "hypervisor", "label": ""}, {"from": "root", "to": "hypervisor", "label": ""},
        {"from": "client", "to": "root", "label": "VMBus"}, {"from": "neighbour", "to": "root", "label": "VMBus"}, {"from": "root", "to": "external", "label": ""},
        {"from": "external", "to": "nic", "label": "PF"}, {"from": "client", "to": "nic", "label": "VF 0"}, {"from": "nic", "to": "cable", "label": "port 0"},
        {"from": "cable", "to": "peer", "label": ""},
    ],
}  # fmt: skip


def moved() -> dict[str, Any]:
    """A guest that arrived at another host, and one that stayed."""
    page, state = 4104, 188_569
    pages = [16384, 1935, 362, 194, 187]
    times = [58_903_507_131, 6_462_094_831, 1_295_977_299, 770_240_785, 1_643_773_775]
    rounds = [{"pages": n, "bytes": n * page, "time_ps": ps} for n, ps in zip(pages, times)]
    rounds[-1]["bytes"] += state
    one = {
        "partition": "guest", "from": "a", "to": "b", "arrived": True, "began_ps": 81_000_000_000, "link_bits_per_second": 10_000_000_000,
        "revocation_ps": 105_423_413, "total_ps": sum(times) + 40_000_000, "blackout_ps": times[-1], "bytes": sum(each["bytes"] for each in rounds),
        "state_bytes": state, "rounds": rounds,
    }  # fmt: skip
    stays = {**one, "partition": "other", "arrived": False, "total_ps": 0, "blackout_ps": 0, "rounds": rounds[:2]}
    return {**plain(), "migrations": [one, stays]}


def plain(seed: int = 1) -> dict[str, Any]:
    """What every run keeps, without a measurement."""
    random_ = random.Random(seed)
    stats: dict[str, dict[str, Any]] = {}

    def add(name: str, value: int, unit: str, description: str) -> None:
        stats[name] = {"value": value, "unit": unit, "description": description}

    for lp in range(4):
        add(f"host.hypervisor.lp{lp}.busy", random_.randrange(10**11, 5 * 10**11), "ps", "simulated time in which a virtual processor ran here")
        add(f"host.hypervisor.lp{lp}.switches", random_.randrange(200), "count", "changes from one virtual processor to another")
    for partition in (2, 3):
        for vp in range(2):
            place = f"host.hypervisor.partitions.{partition}.vp{vp}.exits"
            reasons = {"cpuid": 1687, "halt": 911, "host": 9227, "hypercall": 2480, "io": 5022, "nested_fault": 19404, "rdmsr": 312, "wrmsr": 8750, "interrupt_window": 0}
            counts = {reason: int(count * random_.uniform(0.4, 1.3)) for reason, count in reasons.items()}
            add(place, sum(counts.values()), "count", "exits from the guest to the hypervisor")
            for reason, count in counts.items():
                add(f"{place}.{reason}", count, "count", f"exits for {reason.upper()}")
    add("host.pci.nic.link.bytes", 2**63 + 12345, "bytes", "bytes on the link, a number beyond what a double holds")
    add("network.external.nic.out_frames", 81234, "count", "frames that left here")
    add("host.root.client.client-net1.dropped_ring_full", 0, "count", "frames dropped because <the ring> was full")
    return {
        "scenario": "scenarios/invented_figures.py",
        "parameters": {"vfs": 4, "memory": "512MiB", "text": "<b>no markup</b>"},
        "seed": seed,
        "version": "0.1.0",
        "ended": "finished",
        "interrupted": False,
        "trace_hash": f"{random_.getrandbits(128):032x}",
        "sim_time_ps": 583_931_361_254,
        "wall_s": 4.259,
        "instructions": 1_799_921_595,
        "host": {"cores": 4, "memory_bytes": 4 << 30, "profile": "sandy-bridge-ep", "fidelity": "fast", "quantum_ps": 100_000_000},
        "partitions": {name: {"state": "powered_off", "exit_code": 0, "crash_message": "", "instructions": 899_960_797} for name in ("client", "neighbour")},
        "checks": [
            {"name": "every request was answered", "passed": True, "detail": "20000 of 20000"},
            {"name": "the virtual function carried the traffic", "passed": True, "detail": "19998 frames by the VF, 2 by VMBus"},
            {"name": "no connection was lost", "passed": True, "detail": ""},
        ],
        "stats": stats,
    }


def three_paths(seed: int = 1, scale: float = 1.0, requests: int = 20_000) -> dict[str, Any]:
    """A run that compares three ways: request/response and a bulk stream."""
    random_ = random.Random(1000 + seed)
    result = plain(seed)
    window = 10**12
    result |= {"variants": VARIANTS, "latency": {}, "throughput": {}, "cpu": {}, "attribution": {}, "timeline": {}, "machine": MACHINE}
    for variant in VARIANTS:
        one = histogram(latencies(variant, random_, requests, scale))
        result["latency"][f"{variant}/request_response"] = one
        result["attribution"][f"{variant}/request_response"] = attribution(variant, one["sum"], one["count"])
        per_second = 10**12 * 16 // one["mean"]
        result["throughput"][f"{variant}/request_response"] = {"bits_per_second": 0, "per_second": per_second, "bytes": 64 * requests, "count": requests, "window_ps": window}
        bits = int(BITS[variant] / scale * random_.uniform(0.97, 1.0))
        result["throughput"][f"{variant}/bulk"] = {"bits_per_second": bits, "per_second": bits // 12_000, "bytes": bits // 8, "count": bits // 12_000, "window_ps": window}
        result["latency"][f"{variant}/bulk"] = histogram(latencies(variant, random_, requests // 4, scale * 2.6))
        result["cpu"][variant] = {"window_ps": window, "processors": processor_time(variant, window, random_)}
        values, level = [], float(bits)
        for step in range(200):
            target = bits * min(1, (step + 1) / 12)
            level = 0.6 * level + 0.4 * target * random_.uniform(0.94, 1.03) if step else target
            values.append(int(min(level, 9_414_000_000)))
        result["timeline"][f"{variant}/bulk"] = {"unit": "bit/s", "step_ps": 5 * 10**9, "start_ps": 0, "values": values}
        fill, bytes_waiting = [], 0.0
        for _ in range(200):
            bytes_waiting = 0.85 * bytes_waiting + 0.15 * random_.betavariate(2, 5) * {"emulated": 2_000, "synthetic": 131_072, "vf": 40_000}[variant]
            fill.append(int(bytes_waiting))
        result["timeline"][f"{variant} ring fill"] = {"unit": "bytes", "step_ps": 5 * 10**9, "start_ps": 0, "values": fill}
    result["drops"] = {"network.external.nic": {"no_buffer": 0, "queue_full": 214}, "host.pci.nic.vf0": {"no_descriptor": 37}, "host.root.client.client-net1": {"ring_full": 3}}
    return result


def write(folder: pathlib.Path, result: dict[str, Any]) -> None:
    """A folder as a run leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (folder / "console-client.txt").write_text("invented\n", encoding="utf-8")


def write_sweep(folder: pathlib.Path) -> None:
    """Points over one parameter, five seeds each."""
    for vfs in (1, 2, 4, 8, 16, 32, 63):
        for seed in range(1, 6):
            random_ = random.Random(vfs * 100 + seed)
            result = three_paths(seed, (1 + vfs / 90) * random_.uniform(0.96, 1.04), 600)
            result["parameters"]["vfs"] = vfs
            write(folder / f"vfs={vfs},seed={seed}", result)


def scale(partitions: int = 1024) -> dict[str, Any]:
    """A run with very many partitions."""
    result = three_paths()
    result["partitions"] = {f"tenant{number}": {"state": "running", "exit_code": 0, "crash_message": "", "instructions": 0} for number in range(partitions)}
    for number in range(partitions):
        for what in range(30):
            result["stats"][f"host.root.tenant{number}.counter{what}"] = {"value": number * what, "unit": "count", "description": f"what number {what} counts"}
    result["machine"] = {
        "nodes": MACHINE["nodes"] + [{"id": f"t{number}", "kind": "partition", "label": f"tenant{number}"} for number in range(partitions)],
        "edges": MACHINE["edges"] + [{"from": f"t{number}", "to": "hypervisor", "label": ""} for number in range(partitions)],
    }
    return result


def main() -> None:
    folder, kind = pathlib.Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "run"
    if kind == "sweep":
        write_sweep(folder)
    else:
        write(folder, {"run": three_paths, "plain": plain, "moved": moved, "scale": scale}[kind]())


if __name__ == "__main__":
    main()
