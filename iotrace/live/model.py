"""What a live screen shows: rates by file, directory, or whose I/O it is, out of one glance after the other.

Pure: it knows neither the kernel nor a terminal. What is in all intervals together is what the profile has in the end.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from operator import add
from typing import Callable, Deque, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from iotrace.errors import UserError
from iotrace.globs import glob_matcher
from iotrace.profile.latencies import Latencies
from iotrace.profile.whose import WHOSE
from iotrace.tracing.glances import (
    BUSY,
    CALLS,
    ERRORS,
    NOTHING,
    READ_BYTES,
    STORAGE_BYTES,
    SYNCS,
    WRITTEN_BYTES,
    Change,
    Counts,
    Glance,
    latency_histogram,
)

GROUPS = ("file", "directory", *WHOSE)
HISTORY = 60  # intervals that are remembered, and for which a line stays when it does nothing any more
MOST = 5_000  # lines that stay although they do nothing: those that did something last
_KEPT = 20_000  # changes that are kept to be grouped in another way

Key = Tuple[bytes, int]  # a name, and the mount namespace of a file


class Sort(NamedTuple):
    """An order of the lines, the largest first."""

    title: str
    value: Callable[[Line], float]


class Line:
    """A file, a directory, or a process, cgroup or user."""

    __slots__ = ("_slow", "counts", "history", "idle", "key", "latencies", "seconds")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.counts: Counts = NOTHING  # in the last interval
        self.latencies = 0
        self.history: Deque[Counts] = deque(maxlen=HISTORY)  # the latest last
        self.idle = 0  # intervals since it last did something
        self.seconds = 1.0  # of the last interval
        self._slow: List[Tuple[int, int]] = []

    @property
    def name(self) -> bytes:
        """Its path or name."""
        return self.key[0]

    def begin(self, seconds: float) -> None:
        """Another interval."""
        self.seconds = seconds
        self.counts, self.latencies, self._slow = NOTHING, 0, []

    def add(self, change: Change) -> None:
        """Something was done in this interval."""
        self.counts = change.counts if self.counts is NOTHING else tuple(map(add, self.counts, change.counts))
        self.latencies += change.latencies
        if change.slow:
            self._slow.extend(change.slow)

    def end(self) -> None:
        """The interval is over."""
        self.history.append(self.counts)
        self.idle = self.idle + 1 if self.counts is NOTHING else 0

    def rate(self, place: int) -> float:
        """One of the counts, a second."""
        return self.counts[place] / self.seconds

    @property
    def moved(self) -> float:
        """Bytes read and written, a second."""
        return (self.counts[READ_BYTES] + self.counts[WRITTEN_BYTES]) / self.seconds

    @property
    def p99(self) -> Optional[int]:
        """The latency that 99% of the data calls and syncs of the interval did not exceed; None without any."""
        if not self.latencies and not self._slow:
            return None
        return Latencies(latency_histogram(self.latencies, self._slow)).quantile(0.99)

    @property
    def from_storage(self) -> Optional[float]:
        """Bytes brought from storage for each byte read, at most 1; None where nothing was read."""
        read = self.counts[READ_BYTES]
        return min(1.0, self.counts[STORAGE_BYTES] / read) if read else None

    def series(self, place: Optional[int], columns: int) -> List[int]:
        """One of the counts (None: bytes) in each of the last so many intervals, the latest last."""
        last = list(self.history)[-columns:]
        values = [each[READ_BYTES] + each[WRITTEN_BYTES] if place is None else each[place] for each in last]
        return [0] * (columns - len(values)) + values


SORTS: Dict[str, Sort] = {
    "bytes": Sort("bytes", lambda line: line.moved),
    "calls": Sort("calls", lambda line: line.rate(CALLS)),
    "read": Sort("bytes read", lambda line: line.rate(READ_BYTES)),
    "written": Sort("bytes written", lambda line: line.rate(WRITTEN_BYTES)),
    "syncs": Sort("syncs", lambda line: line.rate(SYNCS)),
    "errors": Sort("errors", lambda line: line.rate(ERRORS)),
    "p99": Sort("p99", lambda line: line.p99 or 0),
    "time": Sort("time", lambda line: line.rate(BUSY)),
    "storage": Sort("bytes from storage", lambda line: line.rate(STORAGE_BYTES)),
}
_OF_HISTORY = {
    "calls": CALLS,
    "read": READ_BYTES,
    "written": WRITTEN_BYTES,
    "syncs": SYNCS,
    "errors": ERRORS,
    "time": BUSY,
    "storage": STORAGE_BYTES,
}


def drawn(sort: str) -> Optional[int]:
    """Which count the sparkline of a line is of, in that order; None: bytes."""
    return _OF_HISTORY.get(sort)


class Table(NamedTuple):
    """What is shown of an interval."""

    lines: Sequence[Line]  # in order
    total: Line  # of everything that is traced
    rest: Line  # of what is in no line that is shown
    hidden: int  # lines that are not shown, and did something
    seconds: float
    number: int  # of the interval, from 1
    files: int  # in the tables
    lost: int  # in this interval
    lost_so_far: int


class Live:
    """The intervals so far, grouped in one way."""

    def __init__(self, by: str = "file", *, started_ns: int = 0) -> None:
        """`started_ns` is when tracing began, by the clock of glances."""
        self.by = by
        self.number = 0
        self._then = started_ns
        self._recent: Deque[Tuple[float, List[Change]]] = deque(maxlen=HISTORY)
        self._lines: Dict[Key, Line] = {}
        self.total = Line((b"", 0))
        self._seconds = 0.0
        self._files = self._lost = self._lost_before = 0

    def add(self, glance: Glance) -> None:
        """Another interval ends, and is the one that is shown."""
        seconds = max((glance.taken_ns - self._then) / 1e9, 1e-3)
        self._then = glance.taken_ns
        self.number += 1
        self._seconds, self._files = seconds, glance.files
        self._lost_before, self._lost = self._lost, glance.lost
        self._recent.append((seconds, glance.changes))
        while sum(len(changes) for _, changes in self._recent) > _KEPT and len(self._recent) > 1:
            self._recent.popleft()
        _one_more(self.total, seconds, glance.changes)
        self._interval(seconds, glance.changes)

    def group(self, by: str) -> None:
        """From now on by something else; what is remembered is grouped anew."""
        self.by = by
        self._lines = {}
        for seconds, changes in self._recent:
            self._interval(seconds, changes)

    def _interval(self, seconds: float, changes: Iterable[Change]) -> None:
        lines, key_of = self._lines, _KEYS[self.by]
        for line in lines.values():
            line.begin(seconds)
        for change in changes:
            key = key_of(change)
            found = lines.get(key)
            if found is None:
                found = lines[key] = Line(key)
                found.begin(seconds)
            found.add(change)
        for line in lines.values():
            line.end()
        idle = [(line.idle, key) for key, line in lines.items() if line.idle]
        idle.sort(reverse=True)
        spare = max(len(lines) - MOST, 0)
        for number, (intervals, key) in enumerate(idle):
            if number >= spare and intervals < HISTORY:
                break
            del lines[key]

    def find(self, key: Key) -> Optional[Line]:
        """The line of that key, while there is one."""
        return self._lines.get(key)

    def table(self, *, sort: str = "bytes", limit: int = 0, only: str = "", active: bool = False) -> Table:
        """The lines, the largest first, at most `limit` (0: all) of those whose names match `only`: a part of the name,
        or a glob. With `active`, only those that did something in the interval."""
        value = SORTS[sort].value
        wanted = matcher(only)
        lines = [line for line in self._lines.values() if wanted(line.name) and not (active and line.counts is NOTHING)]
        lines.sort(key=lambda line: (-value(line), line.idle, line.key))
        shown = lines[:limit] if limit else lines
        rest = Line((b"", 0))
        rest.begin(self._seconds)
        taken = NOTHING
        for line in shown:
            taken = tuple(map(add, taken, line.counts))
        rest.counts = tuple(whole - part for whole, part in zip(self.total.counts, taken))
        keys = {line.key for line in shown}
        hidden = sum(1 for line in self._lines.values() if line.counts is not NOTHING and line.key not in keys)
        lost = self._lost - self._lost_before
        return Table(shown, self.total, rest, hidden, self._seconds, self.number, self._files, lost, self._lost)


def _one_more(line: Line, seconds: float, changes: List[Change]) -> None:
    line.begin(seconds)
    if changes:
        sums = tuple(map(sum, zip(*(change.counts for change in changes))))
        slow = tuple(cell for change in changes for cell in change.slow)
        line.add(changes[0]._replace(counts=sums, latencies=sum(change.latencies for change in changes), slow=slow))
    line.end()


def matcher(words: str) -> Callable[[bytes], bool]:
    """Whether a name has these words in it, in any case; or matches them, where they are a glob."""
    raw = os.fsencode(words)
    if "*" in words or "?" in words:
        with contextlib.suppress(UserError):  # while it is being typed
            return glob_matcher(raw)
    small = raw.lower()
    return lambda name: small in name.lower()


def _by_file(change: Change) -> Key:
    return change.place.path, change.place.mnt_ns


def _by_directory(change: Change) -> Key:
    return os.path.dirname(change.place.path) or b"/", 0


def _by_who(change: Change) -> Key:
    who = change.place.who
    return (b"", 0) if who is None else (who.word, 0)


_KEYS: Dict[str, Callable[[Change], Key]] = {
    "file": _by_file,
    "directory": _by_directory,
    **dict.fromkeys(WHOSE, _by_who),
}
