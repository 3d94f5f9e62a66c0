"""Verdigris: a deterministic simulator of one x86-64 virtualization host, driven by scenario scripts.

A scenario is a Python file with module-level set-up and `async def main(sim)`:

    import verdigris as vg

    host = vg.Host(cores=4, memory="4GiB")
    vm = host.partition("web", vps=2, memory="512MiB", guest=vg.Linux(script="nproc"))

    async def main(sim):
        await vm.console.expect("user space reached", within="30s")
        await vm.stopped(within="10s")
        sim.check("powered off", vm.state == "powered_off")

Times are strings with a unit ("30s", "1.5ms", "250ns") or whole picoseconds; sizes are strings ("512MiB") or bytes.
Both are exact integers. A wrong value raises `UserError`, which ends the run with one line and exit status 2.
"""

import sys

from .errors import EMBEDDED, Cancelled, Refused, Timeout, UserError
from .histogram import Histogram
from .load import Results, load
from .units import format_time, parse_rate, parse_size, parse_time

# A plain Python reads results; machines are there in the executable only.
if EMBEDDED:
    from .guests import Elf, Linux
    from .host import Console, Host, Partition, Statistics
    from .input import Keyboard, Pointer, Screen
    from .measurements import Measurements
    from .memory import Memory, MemoryStatus
    from .migration import Migration
    from .network import Connection, NetworkAdapter, Peer, Traffic, VirtualSwitch
    from .parameters import parameter
    from .pci import AssignedDevice, ExampleDevice, HostAdapter, Intel82599, PciDevice, VirtualFunction
    from .processor_times import ProcessorTimes
    from .profile import Constant as TimingConstant
    from .profile import profile_constants
    from .services import Addresses, KeyValues, Services, Snapshots
    from .simulation import Simulation
    from .sockets import Listener, Socket, Sockets
    from .storage import Disk, Dvd, linux_root
    from .tasks import Event, Task
    from .translation import Access, Translation, Walk, WalkStep
    from .workload import (
        IMIX,
        ArrivalTrace,
        Attribution,
        Behavioural,
        Closed,
        Connections,
        Constant,
        CpuLoad,
        Datagrams,
        Latency,
        Measured,
        MemoryWriter,
        Mixture,
        OnOff,
        Poisson,
        RequestResponse,
        StorageMix,
        Stream,
        Throughput,
        Workload,
    )

__all__ = [
    "IMIX",
    "Access",
    "Addresses",
    "ArrivalTrace",
    "AssignedDevice",
    "Attribution",
    "Behavioural",
    "Cancelled",
    "Closed",
    "Connection",
    "Connections",
    "Console",
    "Constant",
    "CpuLoad",
    "Datagrams",
    "Disk",
    "Dvd",
    "Elf",
    "Event",
    "ExampleDevice",
    "Histogram",
    "Host",
    "HostAdapter",
    "Intel82599",
    "KeyValues",
    "Keyboard",
    "Latency",
    "Linux",
    "Listener",
    "Measured",
    "Measurements",
    "Memory",
    "MemoryStatus",
    "MemoryWriter",
    "Migration",
    "Mixture",
    "NetworkAdapter",
    "OnOff",
    "Partition",
    "PciDevice",
    "Peer",
    "Pointer",
    "Poisson",
    "ProcessorTimes",
    "Refused",
    "RequestResponse",
    "Results",
    "Screen",
    "Services",
    "Simulation",
    "Snapshots",
    "Socket",
    "Sockets",
    "Statistics",
    "StorageMix",
    "Stream",
    "Task",
    "Throughput",
    "TimingConstant",
    "Timeout",
    "Traffic",
    "Translation",
    "UserError",
    "VirtualFunction",
    "VirtualSwitch",
    "Walk",
    "WalkStep",
    "Workload",
    "format_time",
    "linux_root",
    "load",
    "parameter",
    "parse_rate",
    "parse_size",
    "parse_time",
    "profile_constants",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        raise AttributeError(f"verdigris.{name} is there in a scenario only: ./verdigris run SCENARIO.py")
    raise AttributeError(f"module 'verdigris' has no attribute {name!r}", name=name, obj=sys.modules[__name__])
