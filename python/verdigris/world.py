"""What belongs to the one run of this process: machine, scheduler, hosts, parameters, options."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from typing import TYPE_CHECKING, Any

import _verdigris

from .errors import UserError
from .tasks import Scheduler
from .units import parse_time

if TYPE_CHECKING:
    from .host import Host, Partition
    from .migration import Migration


# Linux' CLOCK_REALTIME_COARSE, with which files are stamped; another would be some milliseconds ahead of them.
_CLOCK_OF_FILES = 5


@dataclasses.dataclass
class Parameter:
    """A value that `--set` may change."""

    name: str
    value: Any
    description: str


@dataclasses.dataclass
class World:
    """The run's pieces, as the package's modules share them."""

    machine: Any
    scenario: pathlib.Path
    images: pathlib.Path
    settings: dict[str, str]
    scheduler: Scheduler = dataclasses.field(default_factory=Scheduler)
    parameters: dict[str, Parameter] = dataclasses.field(default_factory=dict)
    hosts: list[Host] = dataclasses.field(default_factory=list)
    migrations: list[Migration] = dataclasses.field(default_factory=list)
    out: pathlib.Path | None = None  # the folder of results
    # SHA-256 of what guests were made of, by path from the scenario's folder, or by FROM_IMAGES and path in that of images.
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    began_ns: int = dataclasses.field(default_factory=lambda: time.clock_gettime_ns(_CLOCK_OF_FILES))
    disks: int = 0  # made so far, for their names
    adapters: int = 0  # of partitions, for their addresses
    # Parameters are declared while the scenario's module runs, not later: only so can --set be checked at once.
    declaring: bool = True

    @property
    def host(self) -> Host | None:
        """The first one."""
        return self.hosts[0] if self.hosts else None

    @property
    def partitions(self) -> list[Partition]:
        """Of all hosts."""
        return [partition for host in self.hosts for partition in host.partitions]

    def now_ps(self) -> int:
        """Simulated time in picoseconds."""
        return int(self.machine.now_ps)


_world: World | None = None


def begin(scenario: str, images: str, settings: dict[str, str]) -> World:
    """Makes the world of this process's run."""
    global _world
    _world = World(_verdigris.machine(), pathlib.Path(scenario), pathlib.Path(images), settings)
    return _world


def world() -> World:
    """The run's world. Raises UserError outside of a run."""
    if _world is None:
        raise UserError("a scenario is run by `./verdigris run SCENARIO.py`")
    return _world


def deadline(within: str | int | None) -> int | None:
    """When a wait that begins now ends at the latest; None: never."""
    return None if within is None else world().now_ps() + parse_time(within, "within")
