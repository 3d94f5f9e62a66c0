"""A whole PCI device of the host's in a Linux guest: found, used, ejected while the guest runs, and given back."""

import re

import verdigris as vg

SCRIPT = """\
wait_for() {
    n=0
    until [ "$(ls /sys/bus/pci/devices | wc -l)" = "$1" ]; do
        n=$((n + 1))
        [ $n -lt 400 ] || { echo "still $(ls /sys/bus/pci/devices | wc -l) devices"; exit 1; }
        usleep 50000
    done
}
show() {
    cd /sys/bus/pci/devices/*
    echo "function: ${PWD##*/} $(cat vendor device class subsystem_vendor | tr '\\n' ' ')"
    echo "slot: $(ls /sys/bus/pci/slots)"
    cat resource | head -3 | sed 's/^/bar: /'
    echo 1 >enable
    set -- $(head -1 resource)
    bar=$(($1))
    echo "identification: $(devmem $bar 32)"
    devmem $((bar + 4)) 32 0x12345678
    echo "scratch: $(devmem $((bar + 4)) 32)"
    cd /
}
wait_for 1
show
echo "first round"
wait_for 0
echo "gone"
wait_for 1
show
dmesg | grep -i -e pci -e hv_pci
"""

host = vg.Host(cores=2, memory="1GiB")
device = host.add(vg.ExampleDevice("probe"))
vm = host.partition("linux", vps=2, memory="256MiB", guest=vg.Linux(script=SCRIPT))
assigned = vm.pci(device)


async def main(sim):
    await assigned.used(within="60s")
    await vm.console.expect("first round", within="60s")
    await assigned.eject(within="30s")
    await vm.console.expect("gone", within="30s")
    assigned.give()
    await vm.console.expect("verdigris: script exit", within="60s")
    await vm.stopped(within="30s")

    text = vm.console.text.replace("\r\n", "\n")
    found = re.findall(r"^function: (.*)$", text, re.MULTILINE)
    expected = "0001:00:00.0 0x5647 0x0001 0x118000 0x5647"
    sim.check("the guest finds the function, twice", [" ".join(f.split()) for f in found] == [expected] * 2, "; ".join(found))
    bars = re.findall(r"^bar: (0x\w+) (0x\w+) (0x\w+)$", text, re.MULTILINE)
    sizes = [int(last, 16) - int(first, 16) + 1 for first, last, _ in bars if int(last, 16)]
    sim.check("two BARs of 4 KiB, above 4 GiB", sizes == [4096] * 4 and all(int(b[0], 16) >> 32 for b in bars if int(b[1], 16)), f"{bars}")
    sim.check("its registers answer", len(re.findall(r"^identification: 0x76010001$", text, re.MULTILINE)) == 2)
    sim.check("and keep what is written", len(re.findall(r"^scratch: 0x12345678$", text, re.MULTILINE)) == 2)
    sim.check("the script succeeded", "verdigris: script exit 0" in text)
