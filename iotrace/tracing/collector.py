"""Reads the programs' maps, file by file.

Names arrive as events while tracing. Counters are read once a file's record cannot change any more, one file after the
other, so that memory use does not depend on the number of files.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from typing import Any, Callable, DefaultDict, Dict, Iterator, List, Mapping, Optional, Tuple, Type

from asm import Layout
from iotrace.tracing import inflight
from iotrace.tracing.decoding import REQUESTS, Tally, device_name, errno_name, is_buffered, operations
from iotrace.tracing.gathering import Records
from iotrace.tracing.names import Name, Names
from iotrace.tracing.series import Series
from programs.facts.catalogue import BY_CODE, OPERATIONS, READ, WRITE, Operation
from programs.facts.records import (
    LATENCY_PIECES,
    Completed,
    Depth,
    FileId,
    FileKey,
    FileState,
    LatencyPiece,
    OpenFile,
    OpKey,
    Pending,
    Requested,
    Runs,
    TallyKey,
)
from pybpf.maps import Map

_ID = struct.Struct("<Q")
_TALLY = struct.Struct("<IIQQ")  # TallyKey without the file, and the count
_PIECE = struct.Struct("<I")  # OpKey.piece

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


class Rest:
    """What belongs to files but is stored under other keys: sparse counters and runs in progress."""

    def __init__(self) -> None:
        self.tallies: Dict[int, bytes] = {}
        self.runs: Dict[int, List[Tuple[int, int]]] = {}  # (0 for reads or 1 for writes, bytes)

    def add_tally(self, key: bytes, count: bytes) -> None:
        """Add a record of `tallies`."""
        file_id = _ID.unpack_from(key)[0]
        self.tallies[file_id] = self.tallies.get(file_id, b"") + key[_ID.size :] + count

    def add_run(self, file_id: int, direction: int, run: int) -> None:
        """Add a run in progress, if it has any bytes."""
        if run:
            self.runs.setdefault(file_id, []).append((direction, run))

    def of(self, file_id: int) -> Tuple[List[Tally], List[Tuple[int, int]]]:
        """The sparse counters and the runs of a file."""
        raw = self.tallies.get(file_id, b"")
        return (list(_TALLY.iter_unpack(raw)) if raw else []), self.runs.get(file_id, [])


class Collector:
    """Reads the maps: the records of each file."""

    def __init__(
        self, maps: Mapping[str, Map[Any]], names: Names, big_values: bool, series: Optional[Series] = None
    ) -> None:
        self._maps = maps
        self._names = names
        self.unattributed: DefaultDict[str, Dict[str, int]] = defaultdict(dict)
        self.unnamed = 0
        self.buffered = False  # whether there were requests to read that went through the page cache
        self._state = maps["states"].finder()
        self._depth = maps["depths"].finder() if "depths" in maps else None
        self._operation = maps["operations"].finder() if big_values else self._joined()
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

    def finish(self) -> Iterator[Records]:
        """Every file that is in the maps when tracing has ended, in the order in which files were first seen."""
        rest = self.rest()
        unnamed = self._unnamed()
        for file_id, name in list(unnamed.items()):
            self.unnamed += 1
            self._names.first[file_id] = name
        for file_id in list(self._names.first):
            records = self.records(file_id, rest)
            self.forget(file_id)
            if records is not None:
                yield records

    def rest(self) -> Rest:
        """The sparse counters of all files, and their runs in progress, as if tracing ended now."""
        rest = Rest()
        for key, count in self._maps["tallies"].items():
            if _ID.unpack_from(key)[0]:
                rest.add_tally(key, count)
            else:
                _file_id, op, _kind, item = TallyKey.struct.unpack(key)
                self.unattributed[BY_CODE[op].name][errno_name(item)] = _ID.unpack(count)[0]
        for _, raw in self._maps["opens"].items():
            values = OpenFile.struct.unpack(raw)
            for direction in (0, 1):
                rest.add_run(values[OpenFile.id.index], direction, values[OpenFile.run.index + direction])
        for _, raw in inflight.requests(self._maps):
            values = Pending.struct.unpack(raw)
            writes = BY_CODE[values[Pending.op.index]].direction == WRITE
            rest.add_run(values[Pending.id.index], int(writes), values[Pending.broken.index])
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

    def forget(self, file_id: int) -> None:
        """A file that is not going to be asked for again."""
        self._names.forget(file_id)
        if self._series is not None:
            self._series.forget(file_id)

    def delete_operations(self, keys: List[bytes]) -> None:
        """Delete the records with these keys, as `part` has read them."""
        self._maps["operations"].delete_all(keys)
        if self._in_parts:
            for name, _record, pieces in PARTS:
                for piece in map(_PIECE.pack, range(pieces)):
                    self._maps[name].delete_all([key[: OpKey.piece.offset] + piece for key in keys])

    # -- one file ---------------------------------------------------------------------------------------------------

    def records(self, file_id: int, rest: Rest, read: Optional[List[bytes]] = None) -> Optional[Records]:
        """What is known about a file at present; None if the programs have no record of it.

        Nothing is forgotten or deleted, so a file that is still being traced can be read any number of times. The keys
        of the operations' records are appended to `read`.
        """
        raw = self._state(_ID.pack(file_id))
        if raw is None:
            return None
        tallies, runs = rest.of(file_id)
        names = self._names
        state = FileState.struct.unpack(raw)
        found: Dict[Operation, bytes] = {}
        for operation in operations(state[FileState.operations.index]):
            key = OpKey.struct.pack(file_id, operation.code, 0)
            stats = self._operation(key)
            if stats is not None:
                found[operation] = stats
                if operation.name in REQUESTS and operation.direction == READ:
                    self.buffered |= is_buffered(stats)
                if read is not None:
                    read.append(key)
        depth = self._depth_of(file_id) if state[FileState.operations.index] & _REQUESTS else ()
        series = b"" if self._series is None else self._series.whole(file_id, found, tallies)
        fate = names.fate(file_id)
        return Records(file_id, names.first[file_id], fate, state, tallies, runs, found, depth, series=series)

    def _depth_of(self, file_id: int) -> Tuple[int, ...]:
        raw = self._depth(_ID.pack(file_id)) if self._depth is not None else None
        return () if raw is None else Depth.struct.unpack(raw)[Depth.most.index :]
