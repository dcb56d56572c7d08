"""How often fio syncs: fsync=N counts writes, a profile has syncs."""

from __future__ import annotations

from typing import List, NamedTuple, Optional

from iotrace.fio.model import Load

OPTIONS = {
    "fsync": "fsync",
    "aio_fsync": "fsync",
    "fdatasync": "fdatasync",
    "aio_fdsync": "fdatasync",
    "uring_fsync": "fdatasync",
    "sync_file_range": "sync_file_range",
    "uring_sync_file_range": "sync_file_range",
}
"""System call -> the option that has fio make it, or what comes nearest."""

_ENOUGH = 0.05  # how far the number of syncs may be off before one job becomes two


class Pace(NamedTuple):
    """Syncs of one job: every so many writes, and one of each file in the end."""

    option: str
    every: int
    at_the_end: bool
    writes: int
    expected: int  # syncs that come out

    @property
    def value(self) -> str:
        """As fio takes it."""
        return f"write:{self.every}" if self.option == "sync_file_range" else str(self.every)


def wanted(load: Load) -> int:
    """Syncs that have something to sync: fio makes no others."""
    if not load.synced:
        return max(load.syncs.values(), default=0)  # of ranges
    return max(load.synced - load.empty_syncs, 0)


def option_of(load: Load) -> str:
    """fsync, fdatasync or sync_file_range: what there is most of."""
    covering = {name: count for name, count in load.syncs.items() if not name.endswith("sync_file_range")}
    syncs = covering or load.syncs
    return OPTIONS.get(max(sorted(syncs), key=lambda name: syncs[name], default=""), "fsync")


def ends_synced(load: Load) -> bool:
    """Whether the last write was followed by a sync."""
    return bool(load.synced) and load.activity.syncs.unsynced == 0


def pace(load: Load, writes: int, syncs: int, option: str, at_the_end: bool) -> Optional[Pace]:
    """The N of fsync=N that comes nearest to so many syncs of so many writes; None for none at all.

    fio looks after a write whether the next I/O is to be a sync, so that none follows the last write: end_fsync does.
    """
    if not syncs or not writes:
        return None
    last = load.files if at_the_end and syncs >= load.files else 0
    if syncs <= last:
        return Pace(option, 0, True, writes, last)

    def expected(every: int) -> int:
        return (writes - 1) // every + last

    middle = max(round(writes / max(syncs - last + 0.5, 1)), 1)
    every = min((n for n in range(max(middle - 2, 1), middle + 3)), key=lambda n: (abs(expected(n) - syncs), n))
    return Pace(option, every, bool(last), writes, expected(every))


def paces(load: Load, writes: int, *, divisible: bool) -> List[Pace]:
    """The jobs that it takes to sync as often as the profile says: one, or two that sync at different paces."""
    syncs, option, last = wanted(load), option_of(load), ends_synced(load)
    one = pace(load, writes, syncs, option, last)
    if one is None:
        return []
    if not one.expected:  # nothing but the end comes behind the last write
        one = pace(load, writes, max(syncs, load.files), option, True) or one
    if not divisible or one.every == 0 or abs(one.expected - syncs) <= _ENOUGH * syncs:
        return [one]
    often = max(writes // syncs, 1)
    # x / often + (writes - x) / (often + 1) = syncs
    first = min(max(often * (syncs * (often + 1) - writes), 1), writes - 1)
    parts = [
        pace(load, first, max(first // often, 1), option, last),
        pace(load, writes - first, max((writes - first) // (often + 1), 1), option, last),
    ]
    return [part for part in parts if part is not None]
