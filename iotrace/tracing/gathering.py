"""Files on their way to the profile; many short-lived files of one name go there as one.

A program that writes a temporary file and renames it, or deletes it, leaves records of every file that had the name,
and one row in the profile. To add up the rows of two files takes longer than to make them, and to add up what the
programs hold is many times as fast (`stats`). So that is done with files of one name, as long as the name is among
those that came last, and each of them was created under it: nothing that is counted spans two files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from iotrace.profile import series
from iotrace.profile.parts import Part
from iotrace.profile.series import Raw
from iotrace.profile.values import agreed
from iotrace.profile.whose import Who
from iotrace.tracing import stats
from iotrace.tracing.clock import Clock
from iotrace.tracing.decoding import Decoder, Tally, thread_count
from iotrace.tracing.names import Fate, Name
from programs.facts.catalogue import Operation
from programs.facts.records import FILE_MAPPED, FileKey, FileState

_NAMESPACE = slice(FileKey.mnt_ns.offset, FileKey.mnt_ns.offset + FileKey.mnt_ns.total)
_THREADS = FileState.threads.index
ROOM = 1024  # names that are kept for files that may still come: with their records some MiB


@dataclass
class Records:
    """What is known of a file, or of several that had its name one after the other."""

    id: int
    name: Name
    fate: Fate
    state: Tuple[int, ...]  # the words of FileState
    tallies: List[Tally]
    runs: List[Tuple[int, int]]  # in progress: direction and bytes
    operations: Dict[Operation, bytes]  # OpStats
    depth: Tuple[int, ...] = ()  # Depth: the most, and the buckets; none without requests
    incarnations: int = 1
    stale: int = 0  # bytes that files before the last one left unsynced
    went: Optional[bytes] = None  # the path that all of those were renamed to
    series: Raw = b""
    who: Optional[Who] = None  # whose row it is, where a file has several
    row: int = 0  # its id

    def add(self, later: Records) -> None:
        """Add the records of a file that was created after all of these."""
        opens, closes, rewrites, first_write, _last_write, unsynced, synced, first_sync, flags, *more = self.state
        opened, closed, rewritten, _first, last_write, left, covered, _sync, marks, *newer = later.state
        first_open, first_close, mask, opening, slowest_open, closing, slowest_close, _seen, threads = more
        _open, _close, used, *took = newer
        self.state = (
            *(opens + opened, closes + closed, rewrites + rewritten, first_write, last_write),
            *(unsynced + left, synced + covered, first_sync, marks | flags & FILE_MAPPED),
            *(first_open, first_close, mask | used),
            *(opening + took[0], max(slowest_open, took[1]), closing + took[2], max(slowest_close, took[3]), took[4]),
            max(threads, took[5], key=thread_count),
        )
        self._follow(later)
        self.stale, self.row = unsynced, later.row
        if later.tallies:
            self.tallies = _sum_of_tallies(self.tallies + later.tallies)
        self.runs = self.runs + later.runs
        if self.depth and later.depth:
            most, buckets = max(self.depth[0], later.depth[0]), zip(self.depth[1:], later.depth[1:])
            self.depth = (most, *map(sum, buckets))
        else:
            self.depth = self.depth or later.depth
        self.series = series.joined(self.series, later.series)
        for operation, raw in later.operations.items():
            before = self.operations.get(operation)
            total, full = (raw, []) if before is None else stats.add(operation, before, raw)
            self.operations[operation] = total
            if full:
                self.tallies = _sum_of_tallies(self.tallies + full)

    def pass_over(self, later: Records) -> None:
        """A file was created after all of these, of which this row has nothing: whose it is did no I/O on that."""
        self._follow(later)
        words = dict(zip(FileState.fields, self.state))
        last = dict(zip(FileState.fields, later.state))
        self.stale = words["unsynced"]
        flags = words["flags"] & FILE_MAPPED | last["flags"] & ~FILE_MAPPED
        self.state = tuple({**words, "last_write": last["last_write"], "seen": last["seen"], "flags": flags}.values())

    def _follow(self, later: Records) -> None:
        ended_as = self.fate.renamed_to
        self.went = ended_as if self.incarnations == 1 else agreed(self.went, ended_as)
        self.id, self.name, self.fate = later.id, later.name, later.fate
        self.incarnations += 1

    def part(self, clock: Clock) -> Part:
        """As rows of the profile."""
        decoder = Decoder(clock, self.name, self.state, self.tallies, self.who)
        for direction, run in self.runs:
            decoder.add_run(direction, run)
        if self.depth:
            decoder.add_depth(self.depth[0], self.depth[1:])
        for operation, raw in self.operations.items():
            decoder.add_operation(operation, raw)
        return decoder.part(
            self.fate,
            order=self.id - (1 << 63),
            incarnations=self.incarnations,
            went=self.went,
            stale=self.stale,
            series=self.series,
            row=self.row - (1 << 63) if self.row else 0,
        )


def _join(earlier: List[Records], later: Sequence[Records]) -> List[Records]:
    """The rows of files that had one path one after the other, and those of a file that was created after them."""
    rows, new = ({each.who: each for each in records} for records in (earlier, later))
    for who, before in rows.items():
        if who in new:
            before.add(new[who])
        else:
            before.pass_over(later[0])
    for who, records in new.items():
        if who not in rows:
            records.incarnations, records.went = earlier[0].incarnations, earlier[0].went
            rows[who] = records
    threads = max((records.state[_THREADS] for records in rows.values()), key=thread_count)
    for records in rows.values():
        records.state = (*records.state[:_THREADS], threads, *records.state[_THREADS + 1 :])
    return list(rows.values())


def _sum_of_tallies(tallies: List[Tally]) -> List[Tally]:
    counts: Dict[Tuple[int, int, int], int] = {}
    for operation, kind, item, count in tallies:
        counts[operation, kind, item] = counts.get((operation, kind, item), 0) + count
    return [(*cell, count) for cell, count in counts.items()]


class Gathering:
    """Makes parts of the profile of files; each goes to `keep` unless it is not wanted."""

    def __init__(self, clock: Clock, wanted: Callable[[Sequence[bytes]], bool], keep: Callable[[Part], None]) -> None:
        """`wanted` says whether a file is, of the path that it had and the one that it has."""
        self._clock = clock
        self._wanted = wanted
        self._keep = keep
        self._held: Dict[Tuple[bytes, bytes], List[Records]] = {}
        self.apart = False  # whether each file is to make a part of its own

    def take(self, rows: Sequence[Records]) -> None:
        """The rows of a file, at least one. Those of one path come in the order in which they were opened first."""
        first, records = rows[0], [*rows]
        path, renamed = first.name.path, first.fate.renamed_to
        if not self._wanted((path,) if renamed is None else (path, renamed)):
            return
        place = path, first.name.key[_NAMESPACE]
        before = self._held.pop(place, None)
        if self.apart or not first.name.born or first.name.unreachable:
            self._give([*(before or ()), *records])
            return
        if before is not None and before[0].id < first.id:
            records = _join(before, records)
        elif before is not None:
            self._give(before)
        self._held[place] = records  # as the latest
        if len(self._held) > ROOM:
            self._give(self._held.pop(next(iter(self._held))))

    def drop(self) -> None:
        """Give up what is still held: in a forked process, as the other one has it."""
        self._held = {}

    def flush(self) -> None:
        """Keep what is still held."""
        held, self._held = self._held, {}
        for records in held.values():
            self._give(records)

    def _give(self, rows: Sequence[Records]) -> None:
        for records in rows:
            self._keep(records.part(self._clock))
