"""More and more guests on one adapter: what each further one costs, while together they get what the wire has.

The classic experiment of SR-IOV papers: guests with a virtual function each, all sending; the sum of their rates stays the
wire's, and the question is what the processors have to do for it.
"""

import verdigris as vg

counts = vg.parameter("counts", "1,4,16", "numbers of guests, one after the other")
path = vg.parameter("path", "vf", "way of their frames: synthetic or vf")
window = vg.parameter("window", "10ms", "how long each is measured")

host = vg.Host(cores=8, memory="8GiB")
numbers = [int(count) for count in counts.split(",")]
adapter = host.add(vg.Intel82599("nic", vfs=min(63, max(numbers))))
switch = host.virtual_switch("external", uplink=adapter)
server = switch.peer("server", address="10.0.0.1/24")
guests = []
for number in range(max(numbers)):
    vm = host.partition(f"guest{number + 1}", memory="64MiB", guest=vg.Behavioural())
    vm.network(switch, address=f"10.0.0.{number + 2}/24", sriov=path == "vf")
    guests.append(vm)


async def main(sim):
    sim.measure.variants(*(f"{number} guests" for number in numbers))
    await sim.after("100ms")
    sums = []
    for number in numbers:
        streams = [guest.workload(vg.Stream(to=server)) for guest in guests[:number]]
        await sim.after("10ms")
        for stream in streams:
            stream.reset()
        times = host.processor_times()
        await sim.after(window)
        moved = [stream.throughput for stream in streams]
        variant = f"{number} guests"
        sim.measure.throughput("streams", bytes=sum(m.bytes for m in moved), count=sum(m.count for m in moved),
                               window=window, variant=variant)  # fmt: skip
        times.measure(sim, variant=variant, workloads=["streams"])
        sums.append(sum(m.bits_per_second for m in moved))
        least = min(m.bits_per_second for m in moved)
        sim.check(f"{variant}: everybody gets something", least > 0, f"the least is {least} bit/s")
        for stream in streams:
            stream.stop()
        await sim.after("20ms")
    sim.check("together they have the wire", min(sums) * 10 >= 9 * 9_300_000_000 or path != "vf", f"{sums} bit/s")
