"""A disk under a mix of reads and writes: operations per second and latency as the queue gets deeper.

The guest's driver keeps so many requests of 4 and 64 KiB under way, seven reads to three writes, at random places of a VHDX
on the synthetic SCSI controller. Little is gained once the root's service is busy all the time: then requests only wait.
"""

import verdigris as vg

depths = vg.parameter("depths", "1,4,16", "requests under way, one after the other")
window = vg.parameter("window", "20ms", "how long each is measured")

host = vg.Host(cores=2, memory="1GiB")
variants = depths.split(",")
guests = {}
for variant in variants:
    guests[variant] = host.partition(f"depth-{variant}", memory="64MiB", guest=vg.Behavioural())
    guests[variant].disk(vg.Disk.create("vhdx", "64MiB"))


async def main(sim):
    sim.measure.variants(*variants)
    await sim.after("50ms")
    rates, latencies = [], []
    for variant, guest in guests.items():
        mix = guest.workload(vg.StorageMix(read=7, write=3, size=[(4096, 9), (65536, 1)], depth=int(variant)))
        await sim.after("2ms")
        mix.reset()
        times = host.processor_times()
        await sim.after(window)
        measured = mix.measure(sim, "mix", variant=variant)
        times.measure(sim, variant=variant)
        rates.append(measured.throughput.per_second)
        latencies.append(measured.latency.percentiles["50"])
        mix.stop()
        await sim.after("5ms")
    sim.check("a deeper queue moves more", rates == sorted(rates) and rates[0] > 0, f"{rates} per second")
    sim.check("and waits longer", latencies == sorted(latencies), f"{latencies} ps")
