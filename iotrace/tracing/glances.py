"""What each file did between two looks, in a few numbers: for a live screen, every second, of thousands of files.

A snapshot (`snapshots`) makes of every file that changed what the profile would have of it, which takes 60 us each.
Here nothing is made of what did not change, and of what did no more than the words that a live screen shows are taken
out of the tables, which are read in blocks: 4 us for each operation on a file. Like a snapshot a glance changes
nothing, and what is in all glances of a run together is what the profile has in the end.
"""

from __future__ import annotations

import struct
from operator import sub
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple

from iotrace.profile.parts import COLUMNS, Part
from iotrace.profile.rows import read_calls
from iotrace.profile.values import fine_bounds
from iotrace.profile.whose import WHO, Who
from iotrace.tracing import who
from iotrace.tracing.decoding import REQUESTS
from iotrace.tracing.names import Names
from iotrace.tracing.who import Row, Whose
from programs.facts.catalogue import BY_CODE, BY_NAME, READ, WRITE
from programs.facts.records import (
    LATENCY_BUCKETS,
    TALLY_ERROR,
    TALLY_LATENCY,
    TALLY_STORAGE_BYTES,
    FileKey,
    FileState,
    Latency,
    OpHead,
    OpKey,
    OpStats,
)
from pybpf.maps import Map

CALLS, READ_BYTES, WRITTEN_BYTES, SYNCS, ERRORS, BUSY, STORAGE_BYTES = range(7)
"""The places in `Change.counts`: calls of every kind, bytes, calls that make data durable, calls that failed, ns that
successful ones took, and bytes that reads had brought from storage."""

NOTHING = (0,) * 7
_WORD = 8
_UNORDERED = 1 << 63  # see `Records.part`
_NEVER = (0,) * 4
_CELLS = struct.Struct(f"<{LATENCY_BUCKETS}Q")
_LATENCY = slice(OpStats.latency.offset, OpStats.latency.offset + Latency.size)
_LIFETIMES = (FileState.opens, FileState.closes, FileState.opening, FileState.closing)
_MANY = 500  # files moved to the profile since the last glance, of which all is looked up
_TALLIES = {TALLY_ERROR, TALLY_LATENCY, TALLY_STORAGE_BYTES}
_LIFETIME = (BY_NAME["open"].code, BY_NAME["close"].code)
_READ, _WRITTEN, _WHO, _MNT_NS = (
    [metric.name for metric in COLUMNS].index(name) for name in ("bytes_read", "bytes_written", "who", "mnt_ns")
)
_TOTALS = len(COLUMNS)  # where those of `metrics.TOTALS` begin: calls, errors, syncs, busy_ns

Counts = Tuple[int, ...]


class Place(NamedTuple):
    """Which file it is, and whose I/O, where that is told apart."""

    path: bytes
    mnt_ns: int
    who: Optional[Who] = None


class Change(NamedTuple):
    """What was done on a file since the glance before."""

    place: Place
    counts: Counts
    latencies: int = 0  # of data calls and syncs, 64 bits a bucket: see `latency_histogram`
    slow: Tuple[Tuple[int, int], ...] = ()  # buckets beyond those, and their counts


class Glance(NamedTuple):
    """What changed since the glance before."""

    taken_ns: int  # of the monotonic clock
    changes: List[Change]
    files: int  # in the tables
    lost: int  # so far, of everything


def latency_histogram(packed: int, slow: Iterable[Tuple[int, int]] = ()) -> Dict[int, int]:
    """The histogram of latencies, as profiles have it, of one or the sum of several `Change.latencies`."""
    raw = packed.to_bytes(_CELLS.size, "little")
    cells = {fine_bounds(number)[0]: count for number, count in enumerate(_CELLS.unpack(raw)) if count}
    for number, count in slow:
        lower = fine_bounds(number)[0]
        cells[lower] = cells.get(lower, 0) + count
    return cells


class _Delta:
    """What is new about a row."""

    __slots__ = ("counts", "latencies", "slow")

    def __init__(self) -> None:
        self.counts = [0] * 7
        self.latencies = 0
        self.slow: List[Tuple[int, int]] = []


_Words = Tuple[int, ...]
_ASYNCHRONOUS = {operation.code for operation in BY_CODE.values() if operation.name in REQUESTS}


class Glances:
    """Takes glances at a run. Only for the thread that steps the session."""

    def __init__(
        self,
        maps: Mapping[str, Map[Any]],
        names: Names,
        selected: Callable[..., bool],
        *,
        whose: Optional[Whose] = None,
        operation: Optional[Callable[[bytes], Optional[bytes]]] = None,
        stand_for: int = 1,
    ) -> None:
        """`selected` says whether a file is wanted, by the names that it has had. `operation` finds the OpStats of a
        key where `operations` has no more than their heads. Of synchronous transfers one in `stand_for` is timed."""
        self._maps = maps
        self._names = names
        self._selected = selected
        self._whose = whose
        self._operation = operation
        self._stand_for = stand_for
        self._places: Dict[int, Place] = {}  # by the id that is counted under
        self._owners: Dict[int, Tuple[int, Row]] = {}  # of such ids: the file, and whose it is
        self._operations: Dict[Tuple[int, int], _Words] = {}  # as they were read last: calls, bytes, ns, latencies
        self._states: Dict[int, _Words] = {}
        self._tallies: Dict[Tuple[int, int, int], int] = {}
        self._left: List[Part] = []
        self._asked = False  # whether the rows have been read for this glance

    def leaves(self, part: Part) -> None:
        """A file is moved to the profile: the next glance has what was not seen of it."""
        self._left.append(part)

    def take(self) -> List[Change]:
        """What changed since the last time; the first time everything.

        Raises BpfError where the tables change faster than they can be read, which only kernels without batches (5.6)
        let happen. The next glance has it all, then.
        """
        self._asked = False
        deltas: Dict[int, _Delta] = {}
        fresh = self._look_at_operations(deltas), self._look_at_states(deltas), self._look_at_tallies(deltas)
        changes = list(self._gone()) if self._left else []
        self._operations, self._states, self._tallies = fresh
        places = self._places
        for counted, delta in deltas.items():
            changes.append(Change(places[counted], tuple(delta.counts), delta.latencies, tuple(delta.slow)))
        return changes

    def _place(self, counted: int) -> Optional[Place]:
        """What is counted under an id; None as long as its name is not known, and if it is not wanted."""
        found = self._places.get(counted)
        if found is None:
            file, row = self._owner(counted)
            name = self._names.first.get(file)
            if name is None or not self._selected(name.path, self._names.renamed.get(file)):
                return None
            namespace = FileKey.struct.unpack(name.key)[FileKey.mnt_ns.index]
            of = None if row is None or self._whose is None else self._whose.of(row)
            found = self._places[counted] = Place(name.path, namespace, of)
        return found

    def _owner(self, counted: int) -> Tuple[int, Optional[Row]]:
        """The file that has this row, and whose it is; the number is the file's where rows are not apart."""
        if "rows" not in self._maps:
            return counted, None
        if counted not in self._owners and not self._asked:
            self._owners = {row.id: (file, row) for file, rows in who.rows(self._maps).items() for row in rows}
            self._asked = True
        return self._owners.get(counted, (counted, None))

    def _delta(self, counted: int, deltas: Dict[int, _Delta]) -> Optional[_Delta]:
        """Where what is new of it goes; None as for `_place`."""
        found = deltas.get(counted)
        if found is None and self._place(counted) is not None:
            found = deltas[counted] = _Delta()
        return found

    # -- what is in the tables ----------------------------------------------------------------------------------------

    def _look_at_operations(self, deltas: Dict[int, _Delta]) -> Dict[Tuple[int, int], _Words]:
        fresh: Dict[Tuple[int, int], _Words] = {}
        for name in ("operations", "shards"):
            if name in self._maps:
                self._look_at_records(self._maps[name], deltas, fresh)
        return fresh

    def _look_at_records(
        self, table: Map[Any], deltas: Dict[int, _Delta], fresh: Dict[Tuple[int, int], _Words]
    ) -> None:
        before, size = self._operations, table.value_size
        wanted = (OpHead.calls.offset, OpHead.bytes.offset, OpHead.busy.offset, OpHead.direct.offset)
        for keys, values in table.blocks():
            rows = zip(*_columns(keys, table.key_size, (0, _WORD)), *_columns(values, size, wanted))
            for at, (counted, op, calls, moved, busy, direct) in enumerate(rows):
                key = counted, op
                old = before.get(key)
                if old is not None and old[0] == calls and old[2] == busy and old[1] == moved:
                    fresh[key] = old
                    continue
                delta = self._delta(counted, deltas)
                if delta is None:
                    continue
                if self._operation is None:
                    start = at * size + _LATENCY.start
                    latencies = int.from_bytes(values[start : start + Latency.size], "little")
                else:
                    raw = self._operation(OpKey.struct.pack(counted, op, 0)) or b""
                    latencies = int.from_bytes(raw[_LATENCY], "little")
                fresh[key] = new = calls, moved, busy, latencies
                _add(delta, op, new, old or _NEVER, brought=direct == calls, stand_for=self._stand_for)

    def _look_at_states(self, deltas: Dict[int, _Delta]) -> Dict[int, _Words]:
        """Opens and closes, which have no records of operations."""
        before, fresh = self._states, {}
        table = self._maps["row_states" if "row_states" in self._maps else "states"]
        wanted = tuple(member.offset for member in _LIFETIMES)
        for keys, values in table.blocks():
            found = _columns(keys, table.key_size, (0,))[0]
            for counted, words in zip(found, zip(*_columns(values, table.value_size, wanted))):
                old = before.get(counted)
                if old == words:
                    fresh[counted] = words
                    continue
                delta = self._delta(counted, deltas)
                if delta is not None:
                    fresh[counted] = words
                    opens, closes, opening, closing = map(sub, words, old or _NEVER)
                    delta.counts[CALLS] += opens + closes
                    delta.counts[BUSY] += opening + closing
        return fresh

    def _look_at_tallies(self, deltas: Dict[int, _Delta]) -> Dict[Tuple[int, int, int], int]:
        """Errors, what was brought from storage, and latencies beyond the dense histogram."""
        before, fresh = self._tallies, {}
        table = self._maps["tallies"]
        for keys, values in table.blocks():
            rows = zip(*_columns(keys, table.key_size, (0, _WORD, 2 * _WORD)), memoryview(values).cast("Q").tolist())
            for counted, what, item, count in rows:
                kind = what >> 32
                if kind not in _TALLIES or not counted:
                    continue
                key = counted, what, item
                old = before.get(key, 0)
                delta = self._delta(counted, deltas) if old != count else None
                if delta is None and old != count:
                    continue
                fresh[key] = count
                if delta is None:
                    continue
                _add_tally(delta, what, item, count - old)
        return fresh

    # -- what has been moved to the profile ---------------------------------------------------------------------------

    def _gone(self) -> Iterator[Change]:
        """What no glance has seen of the files that were moved to the profile; of their latencies nothing."""
        left, self._left = self._left, []
        numbers = [(part.edges.row or part.edges.order) + _UNORDERED for part in left]
        told = self._told(set(numbers))
        for place, (counted, part) in enumerate(zip(numbers, left)):
            known = self._places.pop(counted, None)
            before = told.get(counted, _Delta()).counts
            calls, errors, syncs, busy = part.columns[_TOTALS : _TOTALS + 4]
            storage = before[STORAGE_BYTES]
            if place < _MANY:
                storage = sum(call.storage_bytes for call in read_calls(part.by_syscall).values())
            read, written = part.columns[_READ], part.columns[_WRITTEN]
            counts = tuple(map(sub, (calls, read, written, syncs, errors, busy, storage), before))
            if any(counts):
                who_text = part.columns[_WHO]
                of = None if who_text is None else WHO.load(who_text)
                yield Change(known or Place(part.path, part.columns[_MNT_NS], of), counts)

    def _told(self, gone: Set[int]) -> Dict[int, _Delta]:
        """What all glances so far together have had of these."""
        found: Dict[int, _Delta] = {}
        for (counted, op), words in self._operations.items():
            if counted in gone:
                one = found.setdefault(counted, _Delta())
                _add(one, op, (*words[:3], 0), _NEVER, brought=False, stand_for=self._stand_for)
        for counted, (opens, closes, opening, closing) in self._states.items():
            if counted in gone:
                counts = found.setdefault(counted, _Delta()).counts
                counts[CALLS] += opens + closes
                counts[BUSY] += opening + closing
        for (counted, what, _item), count in self._tallies.items():
            if counted in gone:
                _add_tally(found.setdefault(counted, _Delta()), what, 0, count)
        return found


def _add(delta: _Delta, op: int, new: _Words, old: _Words, *, brought: bool, stand_for: int = 1) -> None:
    """Add what is new of an operation. `brought`: all that it has moved passed by the page cache.

    `op` is a word of OpKey: which shard it is stands in the upper half. A synchronous transfer that was timed stands
    for `stand_for`.
    """
    operation, counts = BY_CODE[op & 0xFFFFFFFF], delta.counts
    calls, moved = new[0] - old[0], new[1] - old[1]
    counts[CALLS] += calls
    sampled = operation.direction is not None and operation.code not in _ASYNCHRONOUS
    counts[BUSY] += (new[2] - old[2]) * (stand_for if sampled else 1)
    delta.latencies += _widened(new[3] - old[3])
    if operation.direction == READ:
        counts[READ_BYTES] += moved
        if brought and op in _ASYNCHRONOUS:
            counts[STORAGE_BYTES] += moved
    elif operation.direction == WRITE:
        counts[WRITTEN_BYTES] += moved
    elif operation.syncs:
        counts[SYNCS] += calls


def _widened(cells: int) -> int:
    """Cells of 32 bits, as they are counted, in 64 bits, in which sums have room."""
    narrow = memoryview(cells.to_bytes(Latency.size, "little")).cast("I")
    wide = memoryview(bytearray(_CELLS.size)).cast("I")
    wide[:: _WORD // narrow.itemsize] = narrow
    return int.from_bytes(wide, "little")


def _add_tally(delta: _Delta, what: int, item: int, more: int) -> None:
    """Add what is new of a tally."""
    op, kind = what & 0xFFFFFFFF, what >> 32
    if kind == TALLY_STORAGE_BYTES:
        delta.counts[STORAGE_BYTES] += more
    elif kind == TALLY_ERROR:
        delta.counts[ERRORS] += more
        if op in _LIFETIME:
            delta.counts[CALLS] += more
    elif op not in _LIFETIME:
        delta.slow.append((item, more))


def _columns(joined: bytes, size: int, offsets: Tuple[int, ...]) -> List[List[int]]:
    """The words at each of `offsets` in many records of `size` bytes."""
    words = memoryview(joined).cast("Q")
    return [words[offset // _WORD :: size // _WORD].tolist() for offset in offsets]
