"""What has been counted so far, while tracing goes on: for a live screen, and for series over time.

A snapshot changes nothing: no record is deleted, no name forgotten, and the profile at the end is the same. It has the
files that changed since the snapshot before, as the profile would have them if tracing ended now, runs in progress
included. So what a file did between two snapshots is the difference of its two parts, and the sum of all differences
is what the profile says.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from iotrace.profile.metrics import FileStats
from iotrace.profile.parts import Part
from iotrace.tracing.clock import Clock
from iotrace.tracing.collector import Collector, Rest
from iotrace.tracing.names import Names
from iotrace.tracing.series import Series
from iotrace.tracing.who import by_row
from programs.facts.records import FileState, OpHead
from pybpf.maps import Map

_WORD = 8
# Whatever was counted shows in one of these.
_COUNTED = (OpHead.calls.offset, OpHead.bytes.offset, OpHead.last.offset)


class Snapshot(NamedTuple):
    """What changed since the snapshot before.

    Files are known by the `order` of their parts' edges, which each has as long as it is in the tables, and where rows
    are apart by who does the I/O by the `row` of those. A file that was moved to the profile and opened again has
    another one: its parts are added up at the end.
    """

    taken_ns: int  # unix time
    parts: Dict[int, Part]  # the files that changed, as they stand now
    left: Dict[int, Part]  # those that have been moved to the profile meanwhile: their last state
    interval_ns: Optional[int] = None  # how long the intervals are, if there are any

    def files(self) -> Iterator[FileStats]:
        """The files of `parts`, as `Profile.files` has them."""
        from iotrace.profile.rows import file_of  # noqa: PLC0415 - not needed to trace

        return (file_of(part, self.interval_ns) for part in self.parts.values())


class Snapshots:
    """Takes snapshots of a run. Only for the thread that steps the session."""

    def __init__(
        self,
        maps: Mapping[str, Map[Any]],
        collector: Collector,
        names: Names,
        clock: Clock,
        selected: Callable[..., bool],
        *,
        series: Optional[Series] = None,
    ) -> None:
        """`selected` says whether a file is wanted, by the names that it has had."""
        self._series = series
        self._maps = maps
        self._collector = collector
        self._names = names
        self._clock = clock
        self._selected = selected
        self._marks: Dict[int, int] = {}  # by file, at the last snapshot
        self._left: Dict[int, Part] = {}

    def leaves(self, part: Part) -> None:
        """A file is moved to the profile: the next snapshot has it."""
        self._left[part.edges.row or part.edges.order] = part

    def take(self) -> Snapshot:
        """What changed since the last time; the first time everything. It reads the whole tables.

        Raises BpfError where the tables change faster than they can be read, which only kernels without batches (5.6)
        let happen.
        """
        taken = time.time_ns()
        if self._series is not None:
            self._series.drain()
        rest = self._collector.rest()
        marks, before = self._look(rest), self._marks
        parts: Dict[int, Part] = {}
        for file_id, name in self._names.first.items():
            if marks.get(file_id) == before.get(file_id) or not self._selected(
                name.path, self._names.renamed.get(file_id)
            ):
                continue
            for records in self._collector.records(file_id, rest):
                part = records.part(self._clock)
                parts[part.edges.row or part.edges.order] = part
        self._marks = {file_id: mark for file_id, mark in marks.items() if file_id in self._names.first}
        left, self._left = self._left, {}
        return Snapshot(taken, parts, left, None if self._series is None else self._series.interval_ns)

    def _look(self, rest: Rest) -> Dict[int, int]:
        """A number for each file, which is another one once something has been counted."""
        marks: Dict[int, int] = {}
        for file_id, *values in self._words("states", range(0, FileState.size, _WORD)):
            marks[file_id] = hash(tuple(values))
        files = by_row(rest.rows)
        if "row_states" in self._maps:
            for row, *values in self._words("row_states", range(0, FileState.size, _WORD)):
                file_id = files.get(row, row)
                marks[file_id] = marks.get(file_id, 0) ^ hash((row, *values))
        for counted, *values in self._words("operations", _COUNTED):
            file_id = files.get(counted, counted)
            marks[file_id] = marks.get(file_id, 0) ^ hash(tuple(values))
        for counted, shards in rest.shards.items():  # as they are going to be added, and not as they are by now
            file_id = files.get(counted, counted)
            marks[file_id] = marks.get(file_id, 0) ^ hash(tuple(shards))
        for counted, tallies in rest.tallies.items():
            file_id = files.get(counted, counted)
            marks[file_id] = marks.get(file_id, 0) ^ hash(tallies)
        return marks

    def _words(self, name: str, offsets: Iterable[int]) -> Iterator[Tuple[int, ...]]:
        """The words of every key of a map, and those at these offsets of its value."""
        table = self._maps[name]
        for keys, values in table.blocks():
            columns = _columns(keys, table.key_size, range(0, table.key_size, _WORD))
            yield from zip(*columns, *_columns(values, table.value_size, offsets))


def _columns(joined: bytes, size: int, offsets: Iterable[int]) -> List[List[int]]:
    """The words at each of `offsets` in many records of `size` bytes."""
    words = memoryview(joined).cast("Q")
    return [words[offset // _WORD :: size // _WORD].tolist() for offset in offsets]
