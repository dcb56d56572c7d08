"""Two loads, metric by metric: what was traced, and what fio has made of it."""

from __future__ import annotations

from typing import Callable, List, NamedTuple, Optional

from iotrace.fio import sizes
from iotrace.fio.model import Load
from iotrace.profile.latencies import by_powers


class Allowed(NamedTuple):
    """How far a replay may be off: shares of the original, of the size histograms the total variation distance."""

    calls: float
    bytes: float
    mix: float  # of the share of reads, from 0 to 1
    syncs: float
    sizes: float
    run: float  # the mean run
    between: float  # the mean of bytes between syncs


ALLOWED_JOB = Allowed(calls=0.05, bytes=0.05, mix=0.05, syncs=0.05, sizes=0.05, run=0.10, between=0.10)
ALLOWED_LOG = Allowed(calls=0.01, bytes=0.01, mix=0.01, syncs=0.01, sizes=0.01, run=0.02, between=0.02)


class Compared(NamedTuple):
    """A line of the table."""

    metric: str
    original: Optional[float]  # None where there is only a difference
    replay: Optional[float]
    difference: float
    allowed: float
    bytes: bool = False  # what the figures are of

    @property
    def met(self) -> bool:
        """Whether it is near enough."""
        return abs(self.difference) <= self.allowed


def compared(original: Load, replay: Load, allowed: Allowed, scale: float = 1.0) -> List[Compared]:
    """Every metric that the original has anything of: transfers that moved something, syncs with something to sync."""
    found = []

    def add(
        metric: str, of: Callable[[Load], float], limit: float, *, scaled: bool = False, bytes: bool = False
    ) -> None:
        a, b = of(original) * (scale if scaled else 1), of(replay)
        if a or b:
            found.append(Compared(metric, a, b, b / a - 1 if a else float("inf"), limit, bytes))

    def spread(metric: str, a: sizes.Sizes, b: sizes.Sizes) -> None:
        if a or b:
            found.append(Compared(metric, None, None, sizes.distance(by_powers(a), by_powers(b)), allowed.sizes))

    add("reads", lambda load: load.read.calls, allowed.calls, scaled=True)
    add("writes", lambda load: load.write.calls, allowed.calls, scaled=True)
    if 0 < original.mix < 1 or 0 < replay.mix < 1:
        found.append(Compared("share of reads", original.mix, replay.mix, replay.mix - original.mix, allowed.mix))
    add("bytes read", lambda load: load.read.bytes, allowed.bytes, scaled=True, bytes=True)
    add("bytes written", lambda load: load.write.bytes, allowed.bytes, scaled=True, bytes=True)
    spread("sizes of reads", original.read.sizes, replay.read.sizes)
    spread("sizes of writes", original.write.sizes, replay.write.sizes)
    add("mean run of reads", lambda load: load.read.mean_run, allowed.run, bytes=True)
    add("mean run of writes", lambda load: load.write.mean_run, allowed.run, bytes=True)
    add("syncs", lambda load: max(load.synced - load.empty_syncs, 0), allowed.syncs, scaled=True)
    add("bytes between syncs", lambda load: load.between, allowed.between, bytes=True)
    return found
