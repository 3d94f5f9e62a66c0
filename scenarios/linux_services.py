"""An unmodified Linux kernel with its services: keys, snapshots, files, sockets, memory, keyboard, pointer, disks, DVD."""

import hashlib
import re
import struct

import verdigris as vg

parts = vg.parameter("parts", "sockets,keys,snapshot,files,memory,hands,disks", "what is looked at, with commas between")

# What the guest does by itself; the scenario does the rest through its services.
SCRIPT = """\
set -e
hostname guest
echo "127.0.1.1 guest.example guest" >/etc/hosts
for daemon in hv_kvp_daemon hv_vss_daemon hv_fcopy_daemon hv_fcopy_uio_daemon; do
    [ -x /usr/sbin/$daemon ] && /usr/sbin/$daemon
done
echo online >/sys/devices/system/memory/auto_online_blocks
ip link set lo up
ip link set eth0 up
udhcpc -i eth0 -n -q -f
for program in /usr/sbin/hv_kvp_daemon /usr/sbin/hv_vss_daemon /usr/bin/perl; do
    [ -x $program ] || echo "missing: $program"
done
[ -x /usr/sbin/hv_fcopy_daemon ] || [ -x /usr/sbin/hv_fcopy_uio_daemon ] || echo "no daemon for file copy"
openvt -c 1 -- sh -l
(vsock listen 6000 sh -c 'read line; echo "$line by the guest"; cat >/tmp/from_host; sha256sum </tmp/from_host') &
perl /vg/pointer.pl &
echo "ready"
# The scenario gives a command a line, and awaits its mark.
while read -r command; do
    echo "> $command"
    sh -c "$command" || echo "status $?"
    printf '\\nmark\\n'
done
"""

# Prints what the pointer reports, event by event.
POINTER = r"""
open(my $list, '<', '/proc/bus/input/devices') or die;
my $event;
{ local $/ = ""; for (<$list>) { $event = $1 if /Mouse/ && /Handlers=.*(event\d+)/ } }
open(my $input, '<:raw', "/dev/input/$event") or die "pointer: $!";
$| = 1;
print "pointer is $event\n";
my %names = ('1 272' => 'left', '3 0' => 'x', '3 1' => 'y', '2 8' => 'wheel');
while (sysread($input, my $data, 24) == 24) {
    my (undef, undef, $type, $code, $value) = unpack('q q S S l', $data);
    print "pointer $names{\"$type $code\"} $value\n" if $names{"$type $code"};
}
"""


def iso_image(files: dict[str, bytes]) -> bytes:
    """An ISO 9660 image (ECMA-119) with these files in its root."""

    def both(size: str, value: int) -> bytes:
        return struct.pack("<" + size, value) + struct.pack(">" + size, value)

    def record(name: bytes, sector: int, size: int, flags: int) -> bytes:
        body = both("I", sector) + both("I", size) + bytes(7) + bytes([flags, 0, 0]) + both("H", 1) + bytes([len(name)]) + name
        body += bytes(len(body) % 2)
        return bytes([len(body) + 2, 0]) + body

    content, sectors, at = [], {}, 21
    for name, data in files.items():
        sectors[name] = at
        content.append(data + bytes(-len(data) % 2048))
        at += len(content[-1]) // 2048
    root = record(b"\0", 20, 2048, 2) + record(b"\1", 20, 2048, 2)
    root += b"".join(record(f"{name};1".encode(), sectors[name], len(data), 0) for name, data in files.items())
    table = [bytes([1, 0]) + struct.pack(order + "IH", 20, 1) + bytes(2) for order in "<>"]
    volume = b"\1CD001\1\0" + b" " * 32 + b"VERDIGRIS".ljust(32) + bytes(8) + both("I", at) + bytes(32)
    volume += both("H", 1) * 2 + both("H", 2048) + both("I", 10) + struct.pack("<II", 18, 0) + struct.pack(">II", 19, 0)
    volume += record(b"\0", 20, 2048, 2)
    volume = volume.ljust(881, b" ") + bytes([1, 0])
    descriptors = [volume, b"\xffCD001\1", *table, root]
    return bytes(16 * 2048) + b"".join(part.ljust(2048, b"\0") for part in descriptors) + b"".join(content)


IOPS = 500  # the limit of the second disk
BANDWIDTH = 10_000_000  # and of the third, bytes per second

host = vg.Host(cores=4, memory="4GiB")
switch = host.virtual_switch("lan")
switch.peer("server", address="10.0.0.1/24", dhcp=("10.0.0.100", "10.0.0.200"))
vm = host.partition(
    "linux", vps=2, memory="1GiB", screen=True,
    guest=vg.Linux(script=SCRIPT, root="LABEL=verdigris", files={"/vg/pointer.pl": POINTER}),
)  # fmt: skip
adapter = vm.network(switch)
vm.disk(vg.Disk.create("vhdx", "1GiB", content=vg.linux_root()))
limited = vm.disk(vg.Disk.create("raw", "64MiB"), maximum_iops=IOPS)
vm.disk(vg.Disk.create("raw", "64MiB"), maximum_bytes=BANDWIDTH)


async def guest(command: str, within: str = "60s") -> str:
    """Has the guest's shell do something; gives what it printed."""
    before = len(vm.console.text)
    vm.console.write(command + "\n")
    await vm.console.expect(re.compile(r"^mark\r?$", re.MULTILINE), within=within)
    text = vm.console.text[before:].replace("\r\n", "\n")
    return text.split(f"> {command}\n", 1)[-1].rsplit("\nmark\n", 1)[0]


async def sockets(sim):
    """Connections both ways, a megabyte each."""
    data = bytes(range(256)) * 4096
    listener = vm.socket.listen(5000)
    vm.console.write("head -c 1048576 /dev/zero | vsock connect 2 5000 >/tmp/answer; cat /tmp/answer\n")
    inward = await listener.accept()
    received = await inward.read_exactly(1 << 20)
    sim.check("a megabyte by socket from the guest", received == bytes(1 << 20), f"{len(received)} bytes")
    inward.write("thank you, guest\n")
    inward.finish()
    await vm.console.expect("thank you, guest")
    await vm.console.expect("mark")
    await inward.closed()

    outward = await vm.socket.connect(6000)
    outward.write("hello\n")
    line = await outward.read_line()
    sim.check("answer of a program in the guest", line == b"hello by the guest\n", line.decode())
    outward.write(data)
    outward.finish()
    digest = (await outward.read_all()).decode().split(" ")[0]
    sim.check("a megabyte by socket to the guest", digest == hashlib.sha256(data).hexdigest(), digest)
    outward.close()
    await outward.closed()
    try:
        await vm.socket.connect(6001)
        sim.check("nobody listens there", False)
    except vg.Refused as refused:
        sim.check("nobody listens there", True, str(refused))


async def keys(sim):
    """What the guest's system says of itself, its addresses, a key of the host's."""
    await vm.services.kvp.ready()
    said = await vm.services.kvp.list("auto")
    names = (said.get("OSName"), said.get("FullyQualifiedDomainName"))
    sim.check("the guest names its system", names == ("Linux", "guest.example"), f"{said}")
    addresses = await vm.services.kvp.addresses(adapter)
    sim.check("the guest names its address", [a for a in addresses.addresses if a.startswith("10.0.0.1")], f"{addresses}")
    await vm.services.kvp.set("Purpose", "a test")
    known = await vm.services.kvp.list("external")
    sim.check("a key that the host has set", known == {"Purpose": "a test"}, f"{known}")
    stored = await guest("tr '\\0' ' ' </var/lib/hyperv/.kvp_pool_0 | tr -s ' '")
    sim.check("is where the guest's daemon keeps it", "Purpose a test" in stored, stored)
    await vm.services.kvp.remove("Purpose")
    known = await vm.services.kvp.list("external")
    sim.check("and is gone when removed", known == {}, f"{known}")


async def snapshot(sim):
    """A frozen file system takes no writes until it is thawed."""
    await vm.services.snapshot.ready()
    sim.check("a copy of the running guest is possible", await vm.services.snapshot.possible())
    await vm.services.snapshot.freeze()
    vm.console.write("echo begun; echo late >/var/late; sync; echo written\n")
    await vm.console.expect(re.compile(r"^begun", re.MULTILINE))
    index, _ = await sim.first(vm.console.expect(re.compile(r"^written", re.MULTILINE)), sim.after("1s"))
    sim.check("no writing while frozen", index == 1)
    await vm.services.snapshot.thaw()
    await vm.console.expect(re.compile(r"^written", re.MULTILINE))
    await vm.console.expect("mark")
    sim.check("writing after the thaw", True)


async def files(sim):
    """A file into the guest, where its system has a daemon for that: Debian 13 packages none."""
    if "no daemon for file copy" in vm.console.text:
        return
    content = "".join(f"line {n}\n" for n in range(5000))
    written = await vm.services.copy_file(content, "/var/given/notes.txt")
    got = await guest("wc -lc </var/given/notes.txt; tail -n 1 /var/given/notes.txt")
    sim.check("a file copied into the guest", got.split() == ["5000", str(len(content)), "line", "4999"], f"{written}: {got}")


async def memory(sim):
    """Less memory, the old amount again, and more than at the start."""
    total = re.compile(r"MemTotal: +(\d+) kB")
    full = vm.memory.assigned
    await vm.memory.reported()
    status = vm.memory.status
    sim.check("the guest reports its memory", 0 < status.available < full and status.committed, f"{status}, {status.pressure} %")
    before = int(total.search(await guest("cat /proc/meminfo"))[1])
    assigned = await vm.memory.balloon(to="512MiB")
    sim.check("the balloon has taken what it should", assigned == 512 << 20, f"{assigned}")
    small = int(total.search(await guest("cat /proc/meminfo"))[1])
    sim.check("the guest has less", before - small == (full - assigned) >> 10, f"{before} kB, {small} kB")
    assigned = await vm.memory.balloon(to="1GiB")
    again = int(total.search(await guest("cat /proc/meminfo"))[1])
    sim.check("all is back", assigned == full and again == before, f"{again} kB")
    # Pages that came back are used: the file lies in the page cache and is compared with itself.
    used = await guest("head -c 100000000 /dev/zero >/tmp/big; sha256sum </tmp/big; rm /tmp/big")
    sim.check("and holds data", used.split()[:1] == [hashlib.sha256(bytes(100000000)).hexdigest()], used)
    assigned = await vm.memory.add("256MiB")
    more = int(total.search(await guest("cat /proc/meminfo"))[1])
    sim.check("memory added", assigned == full + (256 << 20) and more - before == 256 << 10, f"{more} kB")


async def hands(sim):
    """Typed at the screen's shell; pointer moved, clicked, turned."""
    blank = vm.screen.png()
    vm.keyboard.type("echo typed on tty1 | tee /tmp/typed\n")
    await sim.after("2s")
    typed = await guest("cat /tmp/typed; cut -c 1-100 /dev/vcs1 | tr -s ' ' | grep -o 'typed on tty1 $' | head -n 1")
    sim.check("typed at the shell of the screen", typed.split("\n")[0] == "typed on tty1", typed)
    sim.check("the picture has changed", vm.screen.png() != blank)
    vm.screen.save("typed.png")
    await vm.pointer.ready()
    vm.pointer.move(16384, 8192)
    vm.pointer.click()
    vm.pointer.scroll(-3)
    await vm.console.expect("pointer wheel -3", within="5s")
    seen = re.findall(r"^pointer (\w+) (-?\d+)\r?$", vm.console.text, re.MULTILINE)
    wanted = [("x", "16384"), ("y", "8192"), ("left", "1"), ("left", "0"), ("wheel", "-3")]
    sim.check("pointer moved, clicked and turned", seen == wanted, f"{seen}")


async def disks(sim):
    """Rates under a limit; disks that come and go; a disc."""

    async def seconds(command):
        got = await guest(f"time -p {command} 2>&1")
        return float(re.search(r"^real ([\d.]+)$", got, re.MULTILINE)[1])

    def named(lun):
        return f"/dev/$(ls /sys/bus/scsi/devices/0:0:0:{lun}/block)"

    # What a limit lets pass at once (a tenth of a second's worth) goes first.
    took = await seconds(f"dd if={named(1)} of=/dev/null bs=8k count=1000 iflag=direct")
    rate = (1000 - IOPS / 10) / took
    sim.check(f"a disk of {IOPS} requests a second", abs(rate - IOPS) <= IOPS * 0.03, f"{rate:.1f}")
    took = await seconds(f"dd if={named(2)} of=/dev/null bs=64k count=320 iflag=direct")
    rate = (320 * 65536 - BANDWIDTH / 10) / took
    sim.check(f"a disk of {BANDWIDTH} bytes a second", abs(rate - BANDWIDTH) <= BANDWIDTH * 0.03, f"{rate:.0f}")
    fourth = vm.disk(vg.Disk.of(b"a disk that came later\n"))
    await sim.after("2s")
    came = await guest(f"head -c 22 {named(3)}")
    sim.check("a disk comes while the guest runs", came == "a disk that came later", came)
    vm.remove_disk(fourth)
    vm.remove_disk(limited)
    await sim.after("2s")
    left = await guest("echo /sys/bus/scsi/devices/0:*")
    left = [name.rsplit(":", 1)[1] for name in left.split()]
    sim.check("disks go while the guest runs", left == ["0", "2"], f"units {left}")
    drive = vm.dvd(vg.Disk.of(iso_image({"README.TXT": b"from the disc\n"})))
    await sim.after("2s")
    read = await guest("mount -t iso9660 -o ro /dev/sr0 /mnt && cat /mnt/readme.txt; umount /mnt")
    sim.check("a disc in the DVD drive", read.endswith("from the disc\n"), read)
    drive.eject()
    read = await guest("head -c 1 /dev/sr0 2>&1")
    sim.check("ejected", "No medium found" in read, read)


async def main(sim):
    await vm.console.expect(re.compile(r"^ready\r?$", re.MULTILINE), within="60s")
    missing = re.findall(r"^missing: (\S+)", vm.console.text, re.MULTILINE)
    if not sim.check("the root disk has the programs", not missing, f"{missing}: ./verdigris setup fetches them" if missing else ""):
        return
    for part in parts.split(","):
        await {f.__name__: f for f in (sockets, keys, snapshot, files, memory, hands, disks)}[part](sim)
    # No PCI bus without a device; no machine checks; and a disk that is pulled out cannot be told to write back (35h) any more.
    usual = re.compile(
        r" PCI: System does not support PCI| mce: Unable to init MCE device \(rc: -5\)| hv_storvsc \S+ tag#\d+ cmd 0x35 .* srb 0x20 .*|"
    )
    warnings = (await guest("dmesg -r | grep '^<[0-4]>' | cut -d ']' -f 2-")).splitlines()
    unusual = [line for line in warnings if not usual.fullmatch(line)]
    sim.check("the kernel warns of nothing else", not unusual, "; ".join(unusual))
    vm.services.shut_down()
    await vm.stopped(within="30s")
    sim.check("shut down by the service", vm.state == "powered_off", vm.state)
