"""A Linux guest is stopped in the middle of disk writes and TCP traffic, goes on, is put back and goes on again: twice the same."""

from __future__ import annotations

import verdigris as vg

SCRIPT = """\
udhcpc -i eth0 -n -q -f
dd if=/dev/zero of=/var/zeros bs=64k count=64 2>/dev/null &
echo "traffic starts"
nc 10.0.0.1 5001 -e sh -c 'sha256sum >/tmp/sum'
wait
sync
echo "sum $(cut -d' ' -f1 /tmp/sum)"
while :; do sleep 1; done
"""

host = vg.Host(cores=2, memory="1GiB")
switch = host.virtual_switch("lan")
server = switch.peer("server", dhcp=("10.0.0.100", "10.0.0.200"))
expected = server.source(5001, 2_000_000, seed=9)
vm = host.partition("linux", vps=2, memory="256MiB", guest=vg.Linux(script=SCRIPT, root="LABEL=verdigris"))
vm.network(switch, channels=2)
vm.disk(vg.Disk.create("vhdx", "128MiB", content=vg.linux_root()))


def received_bytes() -> int:
    """What came to the guest on both channels; the hash of a connection chooses."""
    return int(sum(vm.stats[f"linux-net1.channel{n}.bytes_to_guest"] for n in range(2)))


async def main(sim: vg.Simulation) -> None:
    """Compares the straight run with the restored ones."""
    await vm.console.expect("traffic starts", within="60s")
    while received_bytes() < 500_000:
        await sim.after("100us")
    middle = sim.checkpoint()
    received = [0]
    hashes = []
    for turn in range(3):
        if turn > 0:
            sim.restore(middle)
        assert sim.now == middle.time_ps
        received.append(received_bytes())
        found = await vm.console.expect("sum ", within="60s")
        await sim.at(middle.time_ps + 2 * 10**12)
        hashes.append((sim.trace_hash(), dict(vm.stats)))
        text = vm.console.text[found.end() :].split()[0]
        sim.check(f"turn {turn}: what was received is what was sent", text == expected, text)
    sim.check("it was the middle", 0 < received[1] < 2_000_000 and len(set(received[1:])) == 1, f"{received[1:]}")
    for turn in (1, 2):
        sim.check(f"turn {turn}: the same hash", hashes[turn][0] == hashes[0][0], f"{hashes[turn][0]} {hashes[0][0]}")
        sim.check(f"turn {turn}: the same statistics", hashes[turn][1] == hashes[0][1])
