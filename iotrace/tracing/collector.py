"""Reads the programs' maps, file by file.

Names arrive as events while tracing. Counters are read once a file's record cannot change any more, one file after the
other, so that memory use does not depend on the number of files.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from typing import (
    AbstractSet,
    Any,
    Callable,
    DefaultDict,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Tuple,
    Type,
)

from asm import Layout
from iotrace.tracing import inflight, who
from iotrace.tracing.decoding import REQUESTS, Tally, device_name, errno_name, is_buffered, operations
from iotrace.tracing.gathering import Records
from iotrace.tracing.names import Fate, Name, Names
from iotrace.tracing.series import Series
from iotrace.tracing.stats import add
from iotrace.tracing.who import Row, Whose
from programs.facts.catalogue import BY_CODE, BY_NAME, OPERATIONS, READ, WRITE, Operation
from programs.facts.records import (
    LATENCY_PIECES,
    TALLY_LATENCY,
    Completed,
    Depth,
    FileId,
    FileKey,
    FileState,
    LatencyPiece,
    OpenFile,
    OpHead,
    OpKey,
    OwnedFile,
    Pending,
    Requested,
    Runs,
    TallyKey,
)
from pybpf.maps import Map

_ID = struct.Struct("<Q")
_TALLY = struct.Struct("<IIQQ")  # TallyKey without the file, and the count
_PIECE = struct.Struct("<I")  # OpKey.piece
_STATE, _OPERATIONS = FileState.struct.unpack, FileState.operations.index
_FIRSTS = tuple(
    (BY_NAME[name].code, field.index)
    for name, field in (("open", FileState.first_open), ("close", FileState.first_close))
)
_OP_KEY = OpKey.struct.pack
_KEPT = TallyKey.size - _ID.size  # of a TallyKey, beside the count
assert [*TallyKey.fields] == ["id", "op", "kind", "item"]

_REQUESTS = sum(
    1 << operation.code for operation in OPERATIONS if operation.name in REQUESTS
)  # of FileState.operations

PARTS: Tuple[Tuple[str, Type[Layout], int], ...] = (
    ("requested", Requested, 1),
    ("completed", Completed, 1),
    ("latency", LatencyPiece, LATENCY_PIECES),
    ("runs", Runs, 1),
)
"""Where the parts of an OpStats behind its head are kept in maps of their own: map, record, and number of pieces."""


_Known = Tuple[int, Name, Fate]
_Stats = Tuple[Dict[Operation, bytes], List[Tally]]  # OpStats, and tallies besides


def shards_in(maps: Mapping[str, Map[Any]]) -> Iterator[Tuple[bytes, bytes]]:
    """Key and record of everything that threads count on their own."""
    return maps["shards"].items() if "shards" in maps else iter(())


class Rest:
    """What belongs to files but is stored under other keys: sparse counters, runs in progress, rows.

    Counters and runs are by the id that is counted under: a file's, or a row's where there are any.
    """

    def __init__(self) -> None:
        self.tallies: Dict[int, bytes] = {}
        self.runs: Dict[int, List[Tuple[int, int]]] = {}  # (0 for reads or 1 for writes, bytes)
        self.shards: Dict[int, List[Tuple[bytes, bytes]]] = {}  # keys, and parts of the records of operations
        self.rows: Dict[int, List[Row]] = {}  # of files, where they are apart by who does the I/O: see `who`

    def add_tallies(self, keys: bytes, counts: bytes, wanted: Optional[AbstractSet[int]] = None) -> None:
        """Add records of `tallies` as `Map.blocks` gives them: all, or those counted under the ids `wanted`."""
        found, size = self.tallies, TallyKey.size
        ids = memoryview(keys).cast("Q")[:: size // _ID.size].tolist()
        for counted, key, count in zip(ids, range(_ID.size, len(keys), size), range(0, len(counts), _ID.size)):
            if counted and (wanted is None or counted in wanted):
                record = keys[key : key + _KEPT] + counts[count : count + _ID.size]
                before = found.get(counted)
                found[counted] = record if before is None else before + record

    def tally_keys(self, counted: int) -> List[bytes]:
        """The keys of the sparse counters under an id."""
        raw, first = self.tallies.get(counted, b""), _ID.pack(counted)
        return [first + raw[at : at + _KEPT] for at in range(0, len(raw), _TALLY.size)]

    def add_shards(self, shards: Iterable[Tuple[bytes, bytes]]) -> None:
        """Add records of `shards`."""
        for key, raw in shards:
            self.shards.setdefault(_ID.unpack_from(key)[0], []).append((key, raw))

    def add_run(self, file_id: int, direction: int, run: int) -> None:
        """Add a run in progress, if it has any bytes."""
        if run:
            self.runs.setdefault(file_id, []).append((direction, run))

    def shards_of(self, counted: int, operation: Operation) -> Iterator[bytes]:
        """The parts of the record of an operation that threads have of their own."""
        for key, raw in self.shards.get(counted, ()):
            if OpKey.struct.unpack(key)[OpKey.op.index] == operation.code:
                yield raw

    def of(self, file_id: int) -> Tuple[List[Tally], List[Tuple[int, int]]]:
        """The sparse counters and the runs of a file."""
        raw = self.tallies.get(file_id, b"")
        return (list(_TALLY.iter_unpack(raw)) if raw else []), self.runs.get(file_id, [])


class Collector:
    """Reads the maps: the records of each file."""

    def __init__(
        self,
        maps: Mapping[str, Map[Any]],
        names: Names,
        big_values: bool,
        series: Optional[Series] = None,
        whose: Optional[Whose] = None,
    ) -> None:
        """`whose` says whose rows are, where a file has several."""
        self._maps = maps
        self._whose = whose
        self._row_state = maps["row_states"].finder() if whose is not None else None
        self._names = names
        self.unattributed: DefaultDict[str, Dict[str, int]] = defaultdict(dict)
        self.unnamed = 0
        self.buffered = False  # whether there were requests to read that went through the page cache
        self._state = maps["states"].finder()
        self._depth = maps["depths"].finder() if "depths" in maps else None
        self.operation = maps["operations"].finder() if big_values else self._joined()
        self._in_parts = not big_values
        self._series = series

    def _joined(self) -> Callable[[bytes], Optional[bytes]]:
        """A function that finds an OpStats whose parts the programs keep in separate maps."""
        head = self._maps["operations"].finder()
        parts = [
            (self._maps[name].finder(), _PIECE.pack(piece), bytes(record.size))
            for name, record, pieces in PARTS
            for piece in range(pieces)
        ]

        def find(key: bytes) -> Optional[bytes]:
            raw = head(key)
            if raw is None:
                return None
            whole = key[: OpKey.piece.offset]
            return bytes(raw) + b"".join(part(whole + piece) or none for part, piece, none in parts)

        return find

    def ended(self) -> Tuple[List[int], Rest]:
        """Every file that is in the maps when tracing has ended, in the order in which files were first seen; `take`
        takes them."""
        rest = self.rest()
        for file_id, name in self._unnamed().items():
            self.unnamed += 1
            self._names.first[file_id] = name
        return list(self._names.first), rest

    def take(self, files: Iterable[int], rest: Rest) -> Iterator[List[Records]]:
        """The records of each file, which is then forgotten: one, unless rows are apart by who does the I/O."""
        for file_id in files:
            records = self.records(file_id, rest)
            self.forget(file_id, rest)
            if records:
                yield records

    def rest(self) -> Rest:
        """The sparse counters of all files, and their runs in progress, as if tracing ended now."""
        rest = Rest()
        rest.rows = who.rows(self._maps)
        rest.add_shards(shards_in(self._maps))
        for keys, counts in self._maps["tallies"].blocks():
            rest.add_tallies(keys, counts)
            for at, (file_id, op, _kind, item) in enumerate(TallyKey.struct.iter_unpack(keys)):
                if not file_id:
                    self.unattributed[BY_CODE[op].name][errno_name(item)] = _ID.unpack_from(counts, at * _ID.size)[0]
        for _, raw in self._maps["opens"].items():
            values = OpenFile.struct.unpack_from(raw)
            counted = values[OpenFile.id.index]
            if len(raw) == OwnedFile.size:
                counted = OwnedFile.struct.unpack(raw)[OwnedFile.row.index]
            for direction in (0, 1):
                rest.add_run(counted, direction, values[OpenFile.run.index + direction])
        for _, raw in inflight.requests(self._maps):
            values, counted = Pending.struct.unpack_from(raw), inflight.counted_for(raw)
            writes = BY_CODE[values[Pending.op.index]].direction == WRITE
            if counted:
                rest.add_run(counted, int(writes), values[Pending.broken.index])
        return rest

    def _unnamed(self) -> Dict[int, Name]:
        """The files whose names have never arrived, with made-up names that no file can have."""
        found: Dict[int, Name] = {}
        for key, raw in self._maps["files"].items():
            file_id = FileId.struct.unpack(raw)[0]
            if file_id not in self._names.first:
                _dentry, _chain, inode, device, *_ = FileKey.struct.unpack(key)
                path = b"/.../unresolved:%s:%d" % (device_name(device).encode(), inode)
                found[file_id] = Name(path, "", key)
        return dict(sorted(found.items()))

    def forget(self, file_id: int, rest: Rest) -> None:
        """A file that is not going to be asked for again."""
        self._names.forget(file_id)
        if self._series is not None:
            for counted in [file_id, *(row.id for row in rest.rows.get(file_id, ()))]:
                self._series.forget(counted)

    def delete_operations(self, keys: List[bytes]) -> None:
        """Delete the records with these keys, as `part` has read them."""
        self._maps["operations"].delete_all(keys)
        if self._in_parts:
            for name, _record, pieces in PARTS:
                for piece in map(_PIECE.pack, range(pieces)):
                    self._maps[name].delete_all([key[: OpKey.piece.offset] + piece for key in keys])

    # -- one file ---------------------------------------------------------------------------------------------------

    def delete_rows(self, file_ids: List[int], rest: Rest) -> None:
        """Delete the rows of these files, where rows are apart, as `records` has read them."""
        if self._whose is not None:
            found = [(file_id, row) for file_id in file_ids for row in rest.rows.get(file_id, ())]
            self._maps["rows"].delete_all([who.key(file_id, row) for file_id, row in found])
            self._maps["row_states"].delete_all([_ID.pack(row.id) for _, row in found])

    def records(self, file_id: int, rest: Rest, read: Optional[List[bytes]] = None) -> List[Records]:
        """What is known about a file at present, for each of its rows; nothing if the programs have no record of it.

        Nothing is forgotten or deleted, so a file that is still being traced can be read any number of times. The keys
        of the operations' records are appended to `read`.
        """
        raw = self._state(_ID.pack(file_id))
        if raw is None:
            return []
        names, state = self._names, _STATE(raw)
        known = (file_id, names.first[file_id], names.fate(file_id))
        if self._whose is not None:
            return self._rows(known, state, rest, read)
        return [self._counted(known, file_id, state, self._stats(file_id, state, rest, read), rest)]

    def _counted(self, known: _Known, counted: int, state: who.State, stats: _Stats, rest: Rest) -> Records:
        """What is counted under an id, which is a file's or a row's."""
        tallies, runs = rest.of(counted)
        of_operations, full = stats
        tallies += full
        for operation, first in _FIRSTS:
            if state[first]:
                tallies.append((operation, TALLY_LATENCY, state[first] - 1, 1))
        depth = () if self._depth is None else self._depth_of(counted, state)
        series = b"" if self._series is None else self._series.whole(counted, of_operations, tallies)
        return Records(*known, state, tallies, runs, of_operations, depth, series=series)

    def _stats(self, counted: int, state: who.State, rest: Rest, read: Optional[List[bytes]]) -> _Stats:
        """The records of the operations that are counted under an id, whose FileState this is."""
        found: Dict[Operation, bytes] = {}
        full: List[Tally] = []
        mask = state[_OPERATIONS]
        for operation in operations(mask):
            key = _OP_KEY(counted, operation.code, 0)
            stats = self.operation(key)
            if stats is not None:
                for shard in rest.shards_of(counted, operation) if rest.shards else ():
                    stats, more = add(operation, stats, shard)
                    full += more
                found[operation] = stats
                if mask & _REQUESTS and operation.name in REQUESTS and operation.direction == READ:
                    self.buffered |= is_buffered(stats)
                if read is not None:
                    read.append(key)
        return found, full

    def _depth_of(self, counted: int, state: who.State) -> Tuple[int, ...]:
        if self._depth is None or not state[_OPERATIONS] & _REQUESTS:
            return ()
        raw = self._depth(_ID.pack(counted))
        return () if raw is None else Depth.struct.unpack(raw)[Depth.most.index :]

    def _rows(self, known: _Known, file: who.State, rest: Rest, read: Optional[List[bytes]]) -> List[Records]:
        """What is known of each row of a file."""
        assert self._whose is not None and self._row_state is not None
        found = []
        for row in rest.rows.get(known[0], ()):
            raw = self._row_state(_ID.pack(row.id))
            if raw is not None:
                state = FileState.struct.unpack(raw)
                found.append((row, state, self._stats(row.id, state, rest, read)))
        whole = who.states(file, [(row, state, _written(stats)) for row, state, (stats, _) in found])
        of_rows = []
        for state, (row, _, stats) in zip(whole, found):
            records = self._counted(known, row.id, state, stats, rest)
            records.who, records.row = self._whose.of(row), row.id
            of_rows.append(records)
        return of_rows


def _written(stats: Mapping[Operation, bytes]) -> int:
    """The bytes that writes among these operations have moved."""
    at = OpHead.bytes.offset
    return sum(_ID.unpack_from(raw, at)[0] for operation, raw in stats.items() if operation.direction == WRITE)
