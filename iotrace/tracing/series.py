"""What each file did in each interval, out of the programs' map while tracing.

The programs count by file, interval and *stamp*: the level, by which the intervals are 2^level times as long as at
first, and the phase. Two things are done while tracing:

- When there are more intervals than are wanted, or their rows take more memory than they may, each becomes twice as
  long, as in the heat maps of Darshan. It takes one word; rows of either length can be added up.
- When the map may be half full, a new phase begins. Once all programs that were running have ended, nobody writes to
  records of the phase before, so that these can be read and deleted, and no call is lost between the two.

Rows are kept by file until that goes to the profile, as `iotrace.profile.series.Raw`.
"""

from __future__ import annotations

import contextlib
import struct
import time
from typing import Any, Callable, Dict, Iterable, Iterator, Mapping, Optional, Tuple

from iotrace.profile import series
from iotrace.profile.series import ROW, UNKNOWN, Raw
from iotrace.tracing.decoding import Tally
from programs.facts.catalogue import BY_CODE, READ, Operation
from programs.facts.records import SERIES_LEVELS, TALLY_ERROR, Interval, OpHead, SeriesClock, SeriesKey
from pybpf.maps import Map
from pybpf.syscalls import BpfError

AUTO_NS, AUTO_INTERVALS = 100_000_000, 200  # as in Darshan's heat maps
INTERVALS = series.MOST_INTERVALS  # where their length was asked for
ROOM = 64 << 20  # bytes of rows
_LEVELS = (1 << SERIES_LEVELS) - 1
_PHASES = 1 << 20
_KEY = struct.Struct("<QII")
_COUNTERS = struct.Struct("<7Q")
_PAUSE_NS = 200_000_000  # at least, between two phases


class Series:
    """The intervals of a run, and what files did in them."""

    def __init__(self, maps: Mapping[str, Map[Any]], length_ns: int) -> None:
        """`length_ns` is that of an interval; 0 begins with short ones, of which there are never more than 200."""
        self._maps = maps
        self._length, self._most = (length_ns, INTERVALS) if length_ns else (AUTO_NS, AUTO_INTERVALS)
        self._level = self._phase = self._start = 0
        self._rows: Dict[int, Raw] = {}  # by file
        self._bytes = self._unplaced = 0
        self._missing: Dict[int, int] = {}  # calls of a file that are in no interval
        self._drained = 0  # when
        self.wait: Optional[Callable[[], None]] = None  # until programs that are running have ended, where that can be

    @property
    def interval_ns(self) -> int:
        """How long an interval is by now."""
        return self._length << self._level

    def begin(self) -> None:
        """The first interval begins now."""
        self._start = self._drained = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self._tell()

    def _tell(self) -> None:
        """Let the programs know."""
        stamp = self._phase << SERIES_LEVELS | self._level
        record = SeriesClock.pack(start=self._start, length=self._length, stamp=stamp)
        self._maps["series_clock"].update(bytes(4), record)

    def step(self, files: int) -> None:
        """What has to be done while tracing; `files` are in the tables, and each may be in every interval."""
        now = self._keep_few()
        intervals = (now - self._drained) // self.interval_ns + 2
        if 2 * files * intervals >= self._maps["series"].max_entries and now >= self._drained + _PAUSE_NS:
            self.drain()

    def _keep_few(self) -> int:
        """Make intervals longer if there are too many of them by now; the time, in ns."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        level = self._level
        while (now - self._start) // self.interval_ns >= self._most and self._level < _LEVELS:
            self._level += 1
        if self._level != level:
            self._tell()
        return now

    def drain(self) -> None:
        """Take all that the programs have counted; nothing where they cannot be waited for."""
        if self.wait is None:
            return
        self._drained = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self._phase = (self._phase + 1) % _PHASES
        self._tell()
        self.wait()
        with contextlib.suppress(BpfError):  # it changes faster than it can be read, without batches (5.6)
            done = [found for found in self._found() if found[1] >> SERIES_LEVELS != self._phase]
            for file_id, _, row, _ in done:
                self._keep(file_id, row)
            self._maps["series"].delete_all([key for *_, key in done])
        self._stay_within_bounds()

    def _found(self) -> Iterator[Tuple[int, int, Raw, bytes]]:
        """Everything in the map: file, stamp, row, key."""
        for key, raw in self._maps["series"].items():
            file_id, index, stamp = _KEY.unpack(key)
            begin = (index << (stamp & _LEVELS)) * self._length
            yield file_id, stamp, ROW.pack(begin, *_COUNTERS.unpack(raw)), key

    def _keep(self, file_id: int, row: Raw) -> None:
        before = self._rows.get(file_id, b"")
        rows = self._rows[file_id] = series.joined(before, row)
        self._bytes += len(rows) - len(before)

    def _stay_within_bounds(self) -> None:
        """Make intervals longer until what is kept of them takes half of the room, if it takes more than all of it."""
        if self._bytes <= ROOM:
            return
        while self._bytes > ROOM // 2 and self._level < _LEVELS and self._bytes > ROW.size * len(self._rows):
            self._level += 1
            length = self.interval_ns
            self._rows = {file_id: series.merged(rows, length) for file_id, rows in self._rows.items()}
            self._bytes = sum(map(len, self._rows.values()))
        self._tell()

    def finish(self) -> None:
        """Take what is in the map, when tracing has ended."""
        self._keep_few()
        with contextlib.suppress(BpfError):
            for file_id, _, row, _ in list(self._found()):
                self._keep(file_id, row)

    def whole(self, file_id: int, operations: Mapping[Operation, bytes], tallies: Iterable[Tally]) -> Raw:
        """What was taken of a file, and what is missing of its totals: `operations` are its OpStats.

        These were read later, so they are never less.
        """
        rows = self._rows.get(file_id, b"")
        totals = dict.fromkeys(series.COUNTERS, 0)
        for operation, raw in operations.items():
            head = dict(zip(OpHead.fields, OpHead.struct.unpack_from(raw)))
            if operation.direction is None:
                totals["syncs"] += head["calls"]
                continue
            kind = "read" if operation.direction == READ else "write"
            totals[f"{kind}_calls"] += head["calls"]
            totals[f"{kind}_bytes"] += head["bytes"]
            totals["busy_ns"] += head["busy"]
        totals["errors"] = sum(
            count for op, kind, _, count in tallies if kind == TALLY_ERROR and BY_CODE[op] in operations
        )
        missing = [max(0, total - known) for total, known in zip(totals.values(), series.sums(rows))]
        if not any(missing):
            return rows
        self._missing[file_id] = missing[0] + missing[2] + missing[4]
        return rows + ROW.pack(UNKNOWN, *missing)

    def account(self) -> str:
        """What is to be said of the intervals: the description of their coverage."""
        said = []
        if self._most == INTERVALS and self._level:
            said.append(f"each is {self.interval_ns / 1e9:g} s long, as rows of shorter ones would have had no room")
        if self._unplaced:
            said.append(f"{self._unplaced} calls are in none, for which there was no room")
        return "partial: " + "; ".join(said) if said else "full"

    def forget(self, file_id: int) -> None:
        """A file that has gone to the profile."""
        self._bytes -= len(self._rows.pop(file_id, b""))
        self._unplaced += self._missing.pop(file_id, 0)


assert Interval.size == _COUNTERS.size and SeriesKey.size == _KEY.size
