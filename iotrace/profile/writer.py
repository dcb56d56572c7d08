"""Writing a profile: rows go as they come into a temporary file beside the target, which takes its place at the end.

So a profile is complete or absent, memory does not grow with the number of files, and a full disk never costs the
profile that was there. A file may come in several parts, one for each time that the programs held a record of it;
they are added up at the end, in the order in which they were made.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from dataclasses import dataclass, replace
from operator import attrgetter
from types import TracebackType
from typing import Any, Iterable, Iterator, List, Optional, Tuple, Type

from iotrace.atomic import PathLike, replacing
from iotrace.errors import Failure
from iotrace.profile.model import (
    HEADER_FIELDS,
    HISTOGRAMS,
    MAX_COUNTER,
    FileStats,
    Header,
    Histogram,
    SyscallStats,
    add_files,
    bucket,
)
from iotrace.profile.parts import Edges, Part, encode, signed
from iotrace.profile.rows import read_calls, read_file
from iotrace.profile.schema import APPLICATION_ID, INDEXES, SCALARS, SCHEMA_VERSION, TABLES, VIEWS
from programs.facts.catalogue import OPERATIONS

_BATCH = 500  # rows per INSERT: amortises the call, keeps memory flat
_COLUMNS = TABLES["file"].count("\n") - 2  # without the id


_scalars = attrgetter(*SCALARS)
_INODE = SCALARS.index("inode")
_SYNCS = frozenset(operation.name for operation in OPERATIONS if operation.syncs)


def _columns(file: FileStats) -> Tuple[Any, ...]:
    calls = errors = syncs = busy = 0
    for name, call in file.syscalls.items():
        calls += call.calls
        if call.errors:
            errors += sum(call.errors.values())
        if name in _SYNCS:
            syncs += call.calls
        for lower, count in call.latency_ns.items():
            busy += lower * count
    values = list(_scalars(file))
    values[_INODE] = signed(file.inode)
    histograms = (encode(getattr(file, name)) for name in HISTOGRAMS)
    return (*values, *histograms, *(min(total, MAX_COUNTER) for total in (calls, errors, syncs, busy)))


def _call(call: SyscallStats) -> List[object]:
    """The fields of `schema.CALL_FIELDS`, as far as there is anything in them."""
    histograms = (
        {str(key): count for key, count in sorted(h.items())} or None
        for h in (call.requested, call.completed, call.latency_ns)
    )
    values: List[object] = [call.calls, call.bytes, call.first_ns, call.last_ok_ns, call.errors or None, *histograms]
    while len(values) > 1 and not values[-1] and values[-1] != 0:
        values.pop()
    return values


def as_part(file: FileStats, edges: Edges) -> Part:
    """The rows of a file. Raises OverflowError for a number that SQLite has no room for."""
    if any(
        max(call.calls, call.bytes, call.first_ns or 0, call.last_ok_ns or 0) > MAX_COUNTER
        for call in file.syscalls.values()
    ):
        raise OverflowError("a counter is larger than 2^63-1")
    calls = {name: _call(call) for name, call in sorted(file.syscalls.items())}
    return Part(_columns(file), json.dumps(calls, separators=(",", ":")), edges)


def _header_rows(header: Header) -> Iterator[Tuple[str, str]]:
    for name in HEADER_FIELDS:
        value = getattr(header, name)
        if name == "command":
            value = [word.decode("utf-8", "surrogateescape") for word in value]
        if name not in ("lost", "unattributed"):
            yield name, json.dumps(value)


@dataclass
class _Sum:
    """Parts of one file, added up so far."""

    file: FileStats
    edges: Edges
    unsynced: int  # of the inode that is there now: those of one before it are never synced any more

    def add(self, file: FileStats, edges: Edges) -> None:
        same = _inode(self.file, self.edges) == _inode(file, edges)
        total = add_files(self.file, file)
        for name in ("renamed_to", "device", "inode", "fstype", "deleted"):
            setattr(total, name, getattr(file, name))
        before = self.edges
        if not same:
            self.unsynced = file.bytes_unsynced
        else:
            total.rewrites += edges.first_write != 0 and edges.first_write == before.last_write
            if edges.first_sync:
                _lengthen(total.bytes_between_syncs, edges.first_sync - 1, self.unsynced)
                total.bytes_synced += self.unsynced
                total.bytes_unsynced -= self.unsynced
                self.unsynced = 0
            self.unsynced += file.bytes_unsynced
            edges = edges._replace(last_write=edges.last_write or before.last_write)
        self.file, self.edges = total, edges


def _inode(file: FileStats, edges: Edges) -> Tuple[str, int, int]:
    return file.device, file.inode, edges.generation


def _lengthen(histogram: Histogram, value: int, more: int) -> None:
    """One of the values was larger than it seemed."""
    short, whole = bucket(value), bucket(value + more)
    if short != whole and histogram.get(short):
        histogram[short] -= 1
        if not histogram[short]:
            del histogram[short]
        histogram[whole] = histogram.get(whole, 0) + 1


def add_parts(parts: Iterable[Tuple[FileStats, Edges]]) -> FileStats:
    """One file out of its parts, in order."""
    ordered = iter(parts)
    first, edges = next(ordered)
    total, inodes = _Sum(replace(first), edges, first.bytes_unsynced), {_inode(first, edges)}
    for file, edges in ordered:
        total.add(file, edges)
        inodes.add(_inode(file, edges))
    total.file.incarnations = max(total.file.incarnations, len(inodes))
    return total.file


_EDGES = ("position", *Edges._fields[1:])  # as columns
_NEXT_FILE = f"INSERT INTO file VALUES (NULL, {', '.join('?' * _COLUMNS)})"
_INTO_FILE = f"INSERT INTO file VALUES ({', '.join('?' * (_COLUMNS + 1))})"
_SAME_FILE = f"""\
SELECT id, {", ".join((*SCALARS, *HISTOGRAMS))}, by_syscall, {", ".join(_EDGES)}
FROM file JOIN calls ON calls.file_id = id JOIN edges ON edges.file_id = id
WHERE path = ? AND mnt_ns = ? ORDER BY position"""
_TEMPORARY = (
    f"CREATE TEMP TABLE edges (file_id INTEGER PRIMARY KEY, {', '.join(_EDGES)})",
    "CREATE TEMP TABLE change (number INTEGER PRIMARY KEY, mnt_ns, old, new)",
)
_NEXT_EDGES = f"INSERT INTO edges VALUES (NULL, {', '.join('?' * len(_EDGES))})"

# What a change of names means for the files that it found in the profile already.
_CONCERNED = "mnt_ns = :mnt_ns AND NOT deleted AND (SELECT changes FROM edges WHERE file_id = file.id) <= :number"
_BELOW = "CAST(:new || substr({0}, length(:old) + 1) AS BLOB)"
_UNLINKED = (
    f"UPDATE file SET deleted = 1 WHERE path = :old AND renamed_to IS NULL AND {_CONCERNED}",
    f"UPDATE file SET deleted = 1 WHERE renamed_to = :old AND {_CONCERNED}",
)
_RENAMED = (
    f"UPDATE file SET deleted = 1 WHERE path = :new AND renamed_to IS NULL AND {_CONCERNED}",
    f"UPDATE file SET deleted = 1 WHERE renamed_to = :new AND {_CONCERNED}",
    f"UPDATE file SET renamed_to = nullif(:new, path) WHERE renamed_to = :old AND {_CONCERNED}",
    f"UPDATE file SET renamed_to = :new WHERE path = :old AND renamed_to IS NULL AND {_CONCERNED}",
    f"UPDATE file SET renamed_to = nullif({_BELOW.format('renamed_to')}, path)"
    f" WHERE renamed_to > :below AND renamed_to < :beyond AND {_CONCERNED}",
    f"UPDATE file SET renamed_to = {_BELOW.format('path')}"
    f" WHERE path > :below AND path < :beyond AND renamed_to IS NULL AND {_CONCERNED}",
)


_RENAMED_FILE = """\
SELECT path, renamed_to, mnt_ns, device, inode, generation, position
FROM file JOIN edges ON file_id = id WHERE id = ?"""
_SAME_INODE = """mnt_ns = :mnt_ns AND inode = :inode AND device = :device AND EXISTS
    (SELECT 1 FROM edges WHERE file_id = file.id AND generation = :generation AND position > :position)"""
_LATER_PARTS = (
    f"UPDATE file SET path = :first, renamed_to = :last WHERE path = :last AND renamed_to IS NULL AND {_SAME_INODE}",
    f"UPDATE file SET path = :first WHERE renamed_to = :last AND path <> :first AND {_SAME_INODE}",
)


class _Abandoned(Exception):
    """Unwinds what a profile that will never be finished has opened."""


class Writer:
    """A profile in the making; a context manager. Nothing is on disk before the first `add`.

    What was at `path` stays until `finish` has put the new profile there; without it nothing is left. Every method
    raises `Failure` when the file cannot be written, or a number is too large for it (2^63 and more), and `UserError`
    if something other than a file is at `path`. A writer that has failed once stays failed: what it holds is no longer
    whole, so it never becomes a profile.
    """

    def __init__(self, path: PathLike) -> None:
        self._path = path
        self._stack = contextlib.ExitStack()
        self._opened: Optional[sqlite3.Connection] = None
        self._failure: Optional[Failure] = None
        self._parts: List[Part] = []
        self.added = 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        with contextlib.suppress(_Abandoned), self._stack:  # nothing is left in it once `finish` has succeeded
            raise _Abandoned

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        if self._failure is not None:
            raise self._failure
        try:
            yield
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            self._failure = Failure(f"{os.fsdecode(self._path)}: profile not written: {error}")
            raise self._failure from error

    @property
    def _database(self) -> sqlite3.Connection:
        if self._opened is None:
            with contextlib.ExitStack() as stack:  # if anything in here fails, the temporary file goes at once
                temporary = stack.enter_context(replacing(self._path))
                database = sqlite3.connect(temporary, isolation_level=None)
                stack.callback(database.close)
                database.execute("PRAGMA journal_mode = OFF")  # the temporary file is thrown away whole
                database.execute("PRAGMA synchronous = OFF")
                database.execute("PRAGMA locking_mode = EXCLUSIVE")
                database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                database.execute("BEGIN")
                for statement in (*TABLES.values(), *VIEWS.values(), *_TEMPORARY):
                    database.execute(statement)
                self._opened, self._stack = database, stack.pop_all()
        return self._opened

    def add(self, part: Part) -> None:
        """A file, or a part of one."""
        self._parts.append(part)
        if len(self._parts) == _BATCH:
            self._flush()

    def add_file(self, file: FileStats) -> None:
        """A whole file, or one of several parts that come in the order in which they were made."""
        with self._refusing():
            part = as_part(file, Edges(self.added + len(self._parts)))
        self.add(part)

    def _flush(self) -> None:
        """Each part becomes a row of three tables, which number their rows alike."""
        parts = self._parts
        with self._refusing():
            database = self._database
            database.executemany(_NEXT_FILE, [part.columns for part in parts])
            database.executemany("INSERT INTO calls VALUES (NULL, ?)", [(part.by_syscall,) for part in parts])
            database.executemany(_NEXT_EDGES, [part.edges for part in parts])
        self.added += len(parts)
        self._parts = []

    def finish(self, header: Header) -> int:
        """Add up the parts and put the profile in its place; how many files it has."""
        self._flush()
        with self._stack, self._refusing():
            database = self._database
            for statement in INDEXES.values():
                database.execute(statement)
            self._rename()
            self._reunite()
            files = self.added - self._add_up()
            self._write_header(header)
            database.execute("COMMIT")
            self._opened = None
        return files

    def change(self, changes: Iterable[Tuple[int, bytes, Optional[bytes]]]) -> None:
        """Names that have changed: mount namespace, old path, new path or None if it was unlinked.

        In the order in which it happened. The n-th, counted from 0, concerns the files that were at the old path or
        below it, and those that the new path was taken from, in parts whose `Edges.changes` is n at most.
        """
        with self._refusing():
            self._database.executemany("INSERT INTO change VALUES (NULL, ?, ?, ?)", changes)

    def _rename(self) -> None:
        """Does to the rows what was told by `change`."""
        database = self._database
        for number, mnt_ns, old, new in database.execute("SELECT number - 1, mnt_ns, old, new FROM change"):
            names = {
                "number": number,
                "mnt_ns": mnt_ns,
                "old": old,
                "new": new,
                "below": old + b"/",
                "beyond": old + b"0",
            }
            for statement in _UNLINKED if new is None else _RENAMED:
                database.execute(statement, names)

    def _reunite(self) -> None:
        """Parts of a file that was renamed between them have its first name in common from now on."""
        database = self._database
        database.execute(
            "CREATE TEMP TABLE renamed AS SELECT id FROM file JOIN edges ON file_id = id"
            " WHERE renamed_to IS NOT NULL ORDER BY position"
        )
        for key in database.execute("SELECT id FROM renamed"):
            (found,) = database.execute(_RENAMED_FILE, key)
            names = dict(zip(("first", "last", "mnt_ns", "device", "inode", "generation", "position"), found))
            for statement in _LATER_PARTS:
                database.execute(statement, names)

    def _add_up(self) -> int:
        """Makes one file of all that have the same path in the same mount namespace; how many rows that saved."""
        database, saved = self._database, 0
        database.execute(
            "CREATE TEMP TABLE repeated AS SELECT path, mnt_ns FROM file GROUP BY path, mnt_ns HAVING count(*) > 1"
        )
        for place in database.execute("SELECT path, mnt_ns FROM repeated"):
            rows = database.execute(_SAME_FILE, place).fetchall()
            file = add_parts((_stats(row), Edges(*row[-len(_EDGES) :])) for row in rows)
            keys = [(row[0],) for row in rows]
            database.executemany("DELETE FROM file WHERE id = ?", keys)
            database.executemany("DELETE FROM calls WHERE file_id = ?", keys)
            whole = as_part(file, Edges(0))
            database.execute(_INTO_FILE, (*min(keys), *whole.columns))
            database.execute("INSERT INTO calls VALUES (?, ?)", (*min(keys), whole.by_syscall))
            saved += len(keys) - 1
        return saved

    def _write_header(self, header: Header) -> None:
        database = self._database
        database.executemany("INSERT INTO meta VALUES (?, ?)", _header_rows(header))
        database.executemany("INSERT INTO lost VALUES (?, ?)", header.lost.items())
        homeless = ((call, errno, n) for call, errors in header.unattributed.items() for errno, n in errors.items())
        database.executemany("INSERT INTO unattributed VALUES (?, ?, ?)", homeless)


def _stats(row: Tuple[Any, ...]) -> FileStats:
    """A row of `_SAME_FILE`."""
    *columns, calls = row[1 : -len(_EDGES)]
    file = read_file(tuple(columns))
    file.syscalls = read_calls(calls)
    return file


def write(path: PathLike, header: Header, files: Iterable[FileStats]) -> None:
    """Write a profile to `path`, whole or not at all; see `iotrace.atomic.replacing` for what that means.

    `files` is consumed once and need not fit in memory; `header` may be a `Profile`, whose own files are not looked at.
    Raises what `Writer` does.
    """
    with Writer(path) as writer:
        for file in files:
            writer.add_file(file)
        writer.finish(header)
