"""Three Linux guests on two virtual switches: on the plain one all reach each other, on the other only within a tenant."""

import re

import verdigris as vg

# Guest -> its last number, and the virtual subnet of its second adapter.
GUESTS = {"red1": (1, 5001), "red2": (2, 5001), "blue": (3, 6001)}

SCRIPT = """\
ip addr add 10.0.0.{number}/24 dev eth0
ip addr add 192.168.7.{number}/24 dev eth1
ip link set eth0 up
ip link set eth1 up
echo "addresses set"
sleep 3
if [ {number} = 1 ]; then
    for target in 10.0.0.2 10.0.0.3 192.168.7.2 192.168.7.3; do
        ping -q -c 3 -W 1 $target >/tmp/ping
        echo "ping $target: $(grep received /tmp/ping)"
    done
fi
sleep 12
"""

host = vg.Host(cores=3, memory="2GiB")
plain = host.virtual_switch("plain")
tenants = host.virtual_switch("tenants")
guests = {}
for name, (number, subnet) in GUESTS.items():
    guests[name] = host.partition(name, memory="256MiB", guest=vg.Linux(script=SCRIPT.format(number=number)))
    guests[name].network(plain)
    guests[name].network(tenants, virtual_subnet=subnet)


async def main(sim):
    for vm in guests.values():
        await vm.stopped(within="120s")
    text = guests["red1"].console.text.replace("\r\n", "\n")
    received = {target: int(count) for target, count in re.findall(r"^ping (\S+): 3 packets transmitted, (\d) packets", text, re.MULTILINE)}
    sim.check("guests reach each other through the switch", received.get("10.0.0.2") == 3 and received.get("10.0.0.3") == 3, f"{received}")
    sim.check("so do guests of one tenant", received.get("192.168.7.2") == 3, f"{received.get('192.168.7.2')} of 3")
    sim.check("another tenant is not there", received.get("192.168.7.3") == 0, f"{received.get('192.168.7.3')} of 3")
