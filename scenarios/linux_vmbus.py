"""An unmodified Linux kernel finds its disk, network, keyboard and integration services on the VMBus, and works with them."""

import re

import verdigris as vg

megabytes = vg.parameter("megabytes", 100, "how much TCP moves each way, in units of 10^6 bytes")
vps = vg.parameter("vps", 2, "virtual processors of the first guest")

SIZE = megabytes * 10**6
SCRIPT = f"""\
set -e
mount | grep ' / '
ls /sys/bus/vmbus/devices | wc -l
ip link set eth0 up
udhcpc -i eth0 -n -q -f
ping -c 3 10.0.0.1
nc 10.0.0.1 5001 -e sh -c 'cat >/tmp/received'
echo "received: $(sha256sum </tmp/received | cut -d' ' -f1) $(wc -c </tmp/received) bytes"
nc 10.0.0.1 5002 -e sh -c 'cat /tmp/received'
rm /tmp/received
echo "on disk" >/var/file
sync
for count in rx_packets rx_bytes tx_packets tx_bytes; do
    echo "eth0 $count $(cat /sys/class/net/eth0/statistics/$count)"
done
dmesg -r | grep '^<[0-4]>' | sed 's/^/warning: /' || true
echo "work done"
while :; do sleep 1; done
"""

host = vg.Host(cores=4, memory="4GiB")
switch = host.virtual_switch("lan")
server = switch.peer("server", address="10.0.0.1/24", dhcp=("10.0.0.100", "10.0.0.200"))
server.sink(5002)
expected = server.source(5001, SIZE, seed=1)

vm = host.partition("linux", vps=vps, memory="1GiB", screen=True, guest=vg.Linux(script=SCRIPT, root="LABEL=verdigris"))
adapter = vm.network(switch, channels=vps)
disk = vm.disk(vg.Disk.create("vhdx", "1GiB", content=vg.linux_root()))


async def main(sim):
    await vm.console.expect("work done", within="60s")
    text = vm.console.text.replace("\r\n", "\n")

    def said(name, pattern):
        found = re.search(pattern, text, re.MULTILINE)
        sim.check(name, found, found[0].strip() if found else f"no line with {pattern}")
        return found

    said("ext4 root on the synthetic SCSI disk", r"^/dev/(root|sda) on / type ext4.*$")
    said("address by DHCP", r"lease of 10\.0\.0\.1\d\d obtained.*$")
    said("pings answered", r"^3 packets transmitted, 3 packets received.*$")
    got = said("received by TCP", r"^received: ([0-9a-f]{64}) (\d+) bytes$")
    if got:
        sim.check("what was received is what was sent", got[1] == expected and int(got[2]) == SIZE, f"{got[2]} bytes")
    sent = [c for c in server.connections if c.port == 5002]
    sim.check("what was sent has arrived", sent and sent[0].received_sha256 == expected, f"{sent and sent[0].received} bytes")
    # A host of the second generation has no PCI bus until it is given a device; and the processors report no machine checks,
    # which only some kernels ask about.
    usual = {"PCI: System does not support PCI", "mce: Unable to init MCE device (rc: -5)"}
    warnings = re.findall(r"^warning: <\d>\[ *[\d.]+\] (.*)$", text, re.MULTILINE)
    sim.check("the kernel warns of nothing else", set(warnings) <= usual, "; ".join(warnings))
    sim.check("heartbeats answered", vm.services.heartbeats >= 2, f"{vm.services.heartbeats}")
    sim.check("time of day taken", vm.services.time_samples >= 1, f"{vm.services.time_samples}")

    vm.screen.save("screen.png")

    vm.services.shut_down(text="the scenario is over")
    await vm.stopped(within="30s")
    sim.check("shut down by the service", vm.state == "powered_off" and vm.services.shutdown_accepted, vm.state)
