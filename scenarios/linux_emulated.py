"""The emulated path beside the synthetic one: a Generation 1 machine with an IDE disk and a DEC 21140, driven by Debian's generic
kernel, moves the same amount of data through the legacy adapter and through a synthetic one."""

import re

import verdigris as vg

megabytes = vg.parameter("megabytes", 4, "how much TCP moves each way on each adapter, in units of 10^6 bytes")

SIZE = megabytes * 10**6
DRIVERS = ("tulip", "hv_netvsc")
# Of a PIIX4 with the revision that Hyper-V's has; and the processors report no machine checks.
WARNINGS = [
    "* Found PM-Timer Bug on the chipset. Due to workarounds for a bug,",
    "* this clock source is slow. Consider trying other clock sources",
    "mce: Unable to init MCE device (rc: -5)",
]
UNITS = {
    "frames": "frames",
    "exits": "exits",
    "emulated": "exits",
    "instructions": "instructions",
    "guest": "ps",
    "root": "ps",
    "time": "ps",
}
SCRIPT = """\
set -e
mount | grep ' / '
for device in /sys/block/sd?; do
    echo "disk: $(cat $device/device/vendor) $(cat $device/device/model) at $(readlink -f $device)"
done
measure() {
    for link in /sys/class/net/*/device/driver; do
        case $(readlink $link) in */$1) interface=$(echo $link | cut -d/ -f5) ;; esac
    done
    ip link set $interface up
    udhcpc -i $interface -n -q -f
    ping -c 3 $2
    echo "$1 begins"
    nc $2 5001 -e sh -c 'cat >/tmp/received'
    nc $2 5002 -e sh -c 'cat /tmp/received'
    echo "$1 ends"
    echo "$1 received: $(sha256sum </tmp/received | cut -d' ' -f1) $(wc -c </tmp/received) bytes"
    for count in rx_packets rx_bytes tx_packets tx_bytes; do
        echo "$1 $count $(cat /sys/class/net/$interface/statistics/$count)"
    done
}
measure tulip 10.0.0.1
measure hv_netvsc 10.0.1.1
rm /tmp/received
cat /proc/interrupts
echo "on disk" >/var/file
sync
dmesg -r | grep '^<[0-4]>' | sed 's/^/warning: /' || true
"""

host = vg.Host(cores=2, memory="2GiB")
vm = host.partition(
    "linux", memory="512MiB", generation=1, guest=vg.Linux(script=SCRIPT, flavour="generic", root="LABEL=verdigris")
)
vm.disk(vg.Disk.create("vhd", "256MiB", content=vg.linux_root()), ide=True)
adapters, servers, sums = {}, {}, {}
for number, driver in enumerate(DRIVERS):
    switch = host.virtual_switch(f"lan{number}")
    server = switch.peer(f"server{number}", address=f"10.0.{number}.1/24", dhcp=(f"10.0.{number}.100", f"10.0.{number}.200"))
    server.sink(5002)
    sums[driver] = server.source(5001, SIZE, seed=1 + number)
    servers[driver] = server
    adapters[driver] = vm.network(switch, legacy=driver == "tulip")


def snapshot(driver):
    """Frames of an adapter so far, and what all has cost: exits, instructions, picoseconds of processors."""
    carried, stats = adapters[driver], host.stats
    busy = sum(stats[f"host.hypervisor.lp{n}.busy"] for n in range(host.cores))
    root = sum(stats[f"host.hypervisor.root_vp{n}.busy"] for n in range(host.cores))
    return {
        "frames": carried.sent.frames + carried.received.frames,
        "exits": vm.stats["vp0.exits"],
        "emulated": vm.stats["legacy.emulation.intercepts"],
        "instructions": vm.instructions,
        "guest": busy - root,
        "root": root,
    }


async def main(sim):
    costs = {}
    for driver in DRIVERS:
        await vm.console.expect(f"{driver} begins", within="60s")
        before, begin = snapshot(driver), sim.now
        await vm.console.expect(f"{driver} ends", within="120s")
        after = snapshot(driver)
        costs[driver] = {name: after[name] - before[name] for name in after} | {"time": sim.now - begin}
    await vm.stopped(within="60s")
    text = vm.console.text.replace("\r\n", "\n")

    def said(name, pattern):
        found = re.search(pattern, text, re.MULTILINE)
        sim.check(name, found, found[0].strip() if found else f"no line with {pattern}")
        return found

    said("ext4 root on a disk", r"^/dev/(root|sda) on / type ext4.*$")
    said("the disk is an IDE disk", r"^disk: ATA +Virtual HD +at .*/ata\d/.*$")
    for driver, server in servers.items():
        said(f"{driver}: address by DHCP", rf"lease of {server.address[:-1]}1\d\d obtained.*$")
        got = said(f"{driver}: received by TCP", rf"^{driver} received: ([0-9a-f]{{64}}) (\d+) bytes$")
        if got:
            same = got[1] == sums[driver] and int(got[2]) == SIZE
            sim.check(f"{driver}: what was received is what was sent", same, f"{got[2]} bytes")
        sent = [c for c in server.connections if c.port == 5002]
        arrived = sent and sent[0].received_sha256 == sums[driver]
        sim.check(f"{driver}: what was sent has arrived", arrived, f"{sent and sent[0].received} bytes")
    sim.check("pings answered", text.count("3 packets transmitted, 3 packets received") == len(DRIVERS))
    for driver, cost in costs.items():
        each = {name: count / cost["frames"] for name, count in cost.items()}
        sim.check(
            f"{driver}: what a frame takes",
            cost["frames"] > SIZE // 1514,
            f"{each['exits']:.2f} exits, of them {each['emulated']:.2f} to emulated devices; {each['instructions']:.0f} instructions; "
            f"{each['guest'] / 10**6:.2f} us of the guest's processor, {each['root'] / 10**6:.2f} us of the root's; "
            f"{each['time'] / 10**6:.2f} us in all ({cost['frames']} frames)",
        )
        for name, unit in UNITS.items():
            sim.record(f"{driver}.{name}", cost[name], unit, f"while TCP moved {megabytes} MB each way")
    emulated, synthetic = (costs[driver] for driver in DRIVERS)
    slower = emulated["time"] / synthetic["time"]
    sim.check("the emulated path is the slower one", slower > 2, f"{slower:.1f} times as long for the same data")
    warnings = re.findall(r"^warning: <\d>\[ *[\d.]+\] (.*)$", text, re.MULTILINE)
    sim.check("the kernel warns of nothing else", warnings == WARNINGS, "; ".join(warnings))
    sim.check("powered off", vm.state == "powered_off", vm.state)
