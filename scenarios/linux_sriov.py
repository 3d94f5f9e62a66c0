"""Two Linux guests with virtual functions of one adapter: TCP over them, which come and go in mid-transfer.

The guest's own drivers do all of it: pci-hyperv finds the function, ixgbevf binds, hv_netvsc takes it beside the
synthetic adapter and moves the traffic there and back. The host takes the client's function by policy, the server's by
surprise, and the client's while its drivers are still at it; each is given back. `--set mailbox=1` gives the guests the
adapter's ordinary virtual function, which asks its host by mailbox, instead of the one that Hyper-V's guests know.
`--set posted=1` gives the host an IOMMU that posts interrupts: those of the functions reach a guest that runs without an
exit, and without one more when it lets them in.
"""

import hashlib
import re

import verdigris as vg

mailbox = vg.parameter("mailbox", 0, "1: the ordinary virtual function, with its mailbox")
posted = vg.parameter("posted", 0, "1: the functions' interrupts are posted, and cost no exits")
chunks = vg.parameter("chunks", 300, "how many pieces of 109 kB go over the connection, one every 20 ms")

COMMON = """\
dmesg -n 1
modprobe ixgbevf
ip link set eth0 up
ip addr add $ADDRESS/24 dev eth0
until dmesg | grep -q 'Data path switched to VF'; do usleep 20000; done
cd /sys/bus/pci
echo "function: $(cat devices/*/vendor) $(cat devices/*/device) at $(cat slots/*/address)"
cd /
echo "driver: $(basename $(readlink /sys/bus/pci/devices/*/driver))"
echo "pair: $(cd /sys/class/net/eth0 && ls -d lower_*)"
counts() {
    vf=$(cd /sys/class/net/eth0 && ls -d lower_*)
    vf=${vf#lower_}
    for count in rx_packets rx_bytes tx_packets tx_bytes; do
        echo "vf $count $(cat /sys/class/net/$vf/statistics/$count)"
    done
    dmesg -r | grep '^<[0-4]>' | sed 's/^/warning: /'
    echo "counted"
}
"""
SERVER = (
    "ADDRESS=10.0.0.2\n"
    + COMMON
    + """\
seq 1 20000 >/tmp/chunk
echo "serving"
nc -l -p 5000 -e sh /vg/serve.sh
echo "served"
read -r line
counts
while :; do sleep 1; done
"""
)
SERVE = f"""\
i=0
while [ $i -lt {chunks} ]; do
    cat /tmp/chunk
    usleep 20000
    i=$((i + 1))
done
"""
CLIENT = (
    "ADDRESS=10.0.0.1\n"
    + COMMON
    + """\
until ping -c 1 -W 1 10.0.0.2 >/dev/null; do usleep 100000; done
until nc 10.0.0.2 5000 -e sh -c 'cat >/tmp/received'; do usleep 100000; done
echo "received: $(sha256sum </tmp/received | cut -d' ' -f1) $(wc -c </tmp/received) bytes"
dmesg | grep -e 'Data path' -e 'VF ' -e ixgbevf
read -r line
counts
while :; do sleep 1; done
"""
)

host = vg.Host(cores=4, memory="2GiB", profile="sandy-bridge-ep:posted" if posted else "sandy-bridge-ep")
nic = host.add(vg.Intel82599("nic", vfs=4))
switch = host.virtual_switch("external", uplink=nic)


def guest(name: str, script: str) -> vg.Partition:
    linux = vg.Linux(script=script, files={"/vg/serve.sh": SERVE}, command_line_extra="ipv6.disable=1")
    return host.partition(name, vps=1, memory="384MiB", guest=linux)


client, server = guest("client", CLIENT), guest("server", SERVER)
adapters = {vm.name: vm.network(switch, sriov=True, mailbox=bool(mailbox)) for vm in (client, server)}
chunk = "".join(f"{n}\n" for n in range(1, 20001)).encode()


def times(sim, adapter):
    """The steps of a virtual function's coming and going, for the result."""
    return "; ".join(f"{step} {vg.format_time(at)}" for step, at in adapter.vf.moments)


async def main(sim):
    mine, other = adapters["client"], adapters["server"]
    # The guest's counts begin anew with each coming of its function.
    begin = {name: adapter.vf.counts for name, adapter in adapters.items()}

    async def give_back(name):
        begin[name] = adapters[name].vf.counts
        adapters[name].offer_vf()
        await adapters[name].vf.carrying(within="30s")

    for vm in (client, server):
        await adapters[vm.name].vf.carrying(within="60s")
    await server.console.expect("serving", within="60s")
    await sim.after("2s")
    await mine.revoke_vf(within="30s")
    revoked = sim.now
    sim.check("no traffic on a function that is gone", not mine.vf.carries_traffic)
    before = mine.received.frames
    await sim.after("500ms")
    moved = mine.received.frames - before
    sim.check("the transfer goes on by the synthetic adapter", moved > 100, f"{moved} frames in 500 ms")
    await give_back("client")
    sim.check("and again by the function", mine.vf.carries_traffic, f"{vg.format_time(sim.now - revoked)} after it was gone")

    await sim.after("200ms")
    other.withdraw_vf()
    sim.check("a function withdrawn by surprise", not other.vf.given and not other.vf.carries_traffic)
    await sim.after("300ms")
    await give_back("server")

    await mine.revoke_vf(within="30s")
    mine.offer_vf()
    await sim.after("2ms")
    steps = [step for step, _ in mine.vf.moments]
    await mine.revoke_vf(within="30s")
    sim.check("a function revoked during the guest's probe", steps[-1] == "in_use", steps[-1])
    await give_back("client")
    sim.check("the transfer is not over yet", "received:" not in client.console.text)
    await client.console.expect("received:", within="60s")
    await server.console.expect("served", within="10s")
    await sim.after("1s")
    texts = {}
    for vm in (client, server):
        vm.console.write("\n")
        await vm.console.expect("counted", within="10s")
        texts[vm.name] = vm.console.text.replace("\r\n", "\n")

    exits = {vm.name: vm.stats["vp0.exits.interrupt"] for vm in (client, server)}
    interrupts = {way: host.stats[f"host.pci.iommu.{way}"] for way in ("posted", "remapped")}
    detail = f"{interrupts}, exits {exits}"
    if posted:
        sim.check("interrupts of the functions cost no exits", interrupts["posted"] > 1000 and not any(exits.values()), detail)
    else:
        sim.check("interrupts of the functions cost exits", interrupts["posted"] == 0 and min(exits.values()) > 50, detail)

    got = re.search(r"^received: ([0-9a-f]{64}) (\d+) bytes$", texts["client"], re.MULTILINE)
    expected = hashlib.sha256(chunk * chunks).hexdigest()
    sim.check("what was received is what was sent", got and got[1] == expected, got[0] if got else "nothing")
    device = "0x10ed" if mailbox else "0x152e"
    for name, text in texts.items():
        found = re.search(rf"^function: 0x8086 {device} .*$", text, re.MULTILINE)
        sim.check(f"{name}: pci-hyperv finds the function", found, found[0] if found else "")
        sim.check(f"{name}: ixgbevf binds", re.search(r"^driver: ixgbevf$", text, re.MULTILINE))
        sim.check(f"{name}: hv_netvsc takes it", re.search(r"^pair: lower_eth1$", text, re.MULTILINE))
        counts = {key: int(value) for key, value in re.findall(r"^vf (\w+) (\d+)$", text, re.MULTILINE)}
        hosts = adapters[name].vf.counts
        since = begin[name]
        seen = {"rx_packets": hosts["received"] - since["received"], "tx_packets": hosts["sent"] - since["sent"]}
        own = {key: counts.get(key) for key in seen}
        for key in ("received", "sent"):
            sim.record(f"{name}.vf.{key}", hosts[key], "frames", "of its virtual function, in all its stays")
        sim.check(f"{name}: guest and host count the same frames", own == seen, f"guest {own}, host {seen}")
        for number, (step, at) in enumerate(adapters[name].vf.moments):
            sim.record(f"{name}.{number:02}.{step}", at, "ps", "when this step of the virtual function's coming and going was")
        sim.check(f"{name}: steps", len(adapters[name].vf.moments) >= 4, times(sim, adapters[name]))
