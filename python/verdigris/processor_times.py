"""What a host's logical processors do in a window of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import _verdigris

from .world import world

if TYPE_CHECKING:
    from .host import Host
    from .simulation import Simulation


class ProcessorTimes:
    """What each logical processor does from now on; made by `host.processor_times()`."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._begin_ps = 0
        self._begin: list[dict[str, int]] = []
        self.reset()

    def reset(self) -> None:
        """Counting begins anew, now."""
        self._begin_ps = world().machine.now_ps
        self._begin = _verdigris.processor_times(self._host._native)

    @property
    def window_ps(self) -> int:
        """Time since the beginning."""
        return int(world().machine.now_ps) - self._begin_ps

    @property
    def causes(self) -> dict[str, dict[str, int]]:
        """For each processor, as "host.lp0" or "a.host.lp0": cause -> ps. The causes of one, "idle" included, add up to the window."""
        found: dict[str, dict[str, int]] = {}
        for number, (before, after) in enumerate(zip(self._begin, _verdigris.processor_times(self._host._native))):
            taken = {cause: ps - before.get(cause, 0) for cause, ps in after.items()}
            # A piece that was cut off at the beginning may be another cause's than the one at the end.
            for cause in [cause for cause, ps in taken.items() if ps < 0]:
                largest = max(taken, key=lambda name: taken[name])
                taken[largest] += taken.pop(cause)
            found[f"{self._host.prefix}host.lp{number}"] = {cause: ps for cause, ps in sorted(taken.items()) if ps}
        return found

    def measure(self, sim: Simulation, variant: str = "", workloads: Sequence[str] = ()) -> None:
        """Puts it into the run's result; `workloads` names those that were measured in the same window."""
        sim.measure.cpu(self.causes, window=self.window_ps, variant=variant, workloads=workloads)
