"""A two-dimensional page walk step by step, and what TLBs spare: for a lesson.

A guest's address goes through the guest's tables, and each address that these hold goes through the hypervisor's: with
four levels on four an access that no TLB knows reads 24 table entries before its own data. Larger pages on either side make
the walk shorter. Then a guest goes over more and more pages, twice: what fits into the TLBs costs nothing the second time.
Needs no guest and takes no simulated time. `--set guest=2MiB --set nested=2MiB` shows another walk.
"""

import verdigris as vg

guest = vg.parameter("guest", "4KiB", "page size of the guest: 4KiB, 2MiB or 1GiB")
nested = vg.parameter("nested", "4KiB", "page size of the hypervisor's second level")
tables = vg.parameter("tables", "nested", "format of the second level: nested (AMD) or extended (Intel)")
address = vg.parameter("address", 0x1234, "linear address that is walked")

host = vg.Host(cores=1, memory="1GiB")

WALKS = {("4KiB", "4KiB"): 24, ("4KiB", "2MiB"): 19, ("2MiB", "2MiB"): 15, ("4KiB", "1GiB"): 14, ("1GiB", "1GiB"): 8}


async def main(sim):
    one = vg.Translation(guest, nested, tables)
    print(one.explain(address))
    first, again = one.access(address), one.access(address)
    print(f"first access: {first.place}, {first.references} references, for a processor keeps nested entries even within a walk; again: {again.place}, {again.references}")
    sim.check("the second access needs no walk", again.place == "L1 TLB" and again.references == 0)
    one.flush(address)
    print(f"after INVLPG: {one.access(address).references} references: caches of the tables' entries went as well, nested ones did not\n")

    for (guest_page, nested_page), references in WALKS.items():
        found = len(vg.Translation(guest_page, nested_page, tables).steps(address))
        sim.check(f"{guest_page} on {nested_page}", found == references, f"{found} memory references")

    print("pages  found in the second round")
    for pages in (16, 64, 128, 256, 512):
        walker = vg.Translation(tables=tables)
        rounds = [[walker.access(page * 4096) for page in range(pages)] for _ in range(2)]
        places = {place: sum(access.place == place for access in rounds[1]) for place in ("L1 TLB", "L2 TLB", "walk")}
        print(f"{pages:5}  " + ", ".join(f"{count} in the {place}" for place, count in places.items() if count))
        sim.record(f"references_{pages}_pages", sum(access.references for access in rounds[0]), "references", "of the first round")
        if pages in (64, 512):
            place = "L1 TLB" if pages == 64 else "L2 TLB"
            sim.check(f"{pages} pages fit into the {place}", places["walk"] == 0, f"{places[place]} hits there")
