"""Writing a profile: rows go as they come into a temporary file beside the target, which takes its place at the end.

So a profile is complete or absent, memory use does not depend on the number of files, and a full disk never destroys an
older profile. A file may come in several parts, one for each time that the programs held a record of it. They are added
up at the end, in the order in which they were made.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from types import TracebackType
from typing import Any, Iterable, Iterator, List, Optional, Tuple, Type

from iotrace.atomic import PathLike, replacing
from iotrace.errors import Failure
from iotrace.profile.merge import add_parts
from iotrace.profile.metrics import HEADER, SCHEMA_VERSION, FileStats, Header
from iotrace.profile.parts import Edges, Part, as_part
from iotrace.profile.rows import FileDecoder, read_calls
from iotrace.profile.schema import APPLICATION_ID, CURRENT, INDEXES, VIEWS

_BATCH = 500  # rows per INSERT: amortises the call, keeps memory flat
_COLUMNS = len(CURRENT.columns) + len(CURRENT.totals)  # of `file`, without the id
_EDGES = ("position", *Edges._fields[1:])  # as columns
_NEXT_FILE = f"INSERT INTO file VALUES (NULL, {', '.join('?' * _COLUMNS)})"
_INTO_FILE = f"INSERT INTO file VALUES ({', '.join('?' * (_COLUMNS + 1))})"
_NEXT_EDGES = f"INSERT INTO edges VALUES (NULL, {', '.join('?' * len(_EDGES))})"
_SAME_FILE = f"""\
SELECT id, {", ".join(metric.name for metric in CURRENT.columns)}, by_syscall, {", ".join(_EDGES)}
FROM file JOIN calls ON calls.file_id = id JOIN edges ON edges.file_id = id
WHERE path = ? AND mnt_ns = ? AND NOT unreachable ORDER BY position"""
_TEMPORARY = f"CREATE TEMP TABLE edges (file_id INTEGER PRIMARY KEY, {', '.join(_EDGES)})"
_TABLES_OF_THEIR_OWN = ("lost", "unattributed")  # for these parts of the header; the rest is in `meta`

_read_file = FileDecoder(CURRENT.columns)


def _part(row: Tuple[Any, ...]) -> Tuple[FileStats, Edges]:
    """The part in a row of `_SAME_FILE`."""
    *columns, calls = row[1 : -len(_EDGES)]
    file = _read_file(columns)
    file.syscalls = read_calls(calls)
    return file, Edges(*row[-len(_EDGES) :])


def _header_rows(header: Header) -> Iterator[Tuple[str, str]]:
    """The rows of `meta`."""
    for metric in HEADER:
        if metric.name not in _TABLES_OF_THEIR_OWN:
            yield metric.name, json.dumps(metric.kind.dumped(getattr(header, metric.name)))


class _Abandoned(Exception):
    """Unwinds what has been opened for a profile that will not be finished."""


class Writer:
    """A profile that is being written; a context manager. Nothing is on disk before the first `add`.

    What is at `path` stays until `finish` replaces it; without `finish` nothing is left behind. Every method raises
    `Failure` if the file cannot be written or a number is too large for it (2^63 and more), and `UserError` if
    something other than a file is at `path`. After a failure all further calls fail: the rows are no longer complete.
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
        with contextlib.suppress(_Abandoned), self._stack:  # it is empty once `finish` has succeeded
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
            with contextlib.ExitStack() as stack:  # if anything in here fails, the temporary file is removed at once
                temporary = stack.enter_context(replacing(self._path))
                database = sqlite3.connect(temporary, isolation_level=None)
                stack.callback(database.close)
                database.execute("PRAGMA journal_mode = OFF")  # after an error the whole file is thrown away
                database.execute("PRAGMA synchronous = OFF")
                database.execute("PRAGMA locking_mode = EXCLUSIVE")
                database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                database.execute("BEGIN")
                for statement in (*CURRENT.tables.values(), *VIEWS.values(), _TEMPORARY):
                    database.execute(statement)
                self._opened, self._stack = database, stack.pop_all()
        return self._opened

    def add(self, part: Part) -> None:
        """Add a file, or a part of one."""
        self._parts.append(part)
        if len(self._parts) == _BATCH:
            self._flush()

    def add_file(self, file: FileStats) -> None:
        """Add a whole file, or one of its parts; parts are added in the order in which they were made."""
        with self._refusing():
            part = as_part(file, Edges(self.added + len(self._parts)))
        self.add(part)

    def _flush(self) -> None:
        """Insert each part into three tables, which number their rows alike."""
        parts = self._parts
        with self._refusing():
            database = self._database
            database.executemany(_NEXT_FILE, [part.columns for part in parts])
            database.executemany("INSERT INTO calls VALUES (NULL, ?)", [(part.by_syscall,) for part in parts])
            database.executemany(_NEXT_EDGES, [part.edges for part in parts])
        self.added += len(parts)
        self._parts = []

    def finish(self, header: Header) -> int:
        """Add up the parts and put the profile in its place. Returns the number of files."""
        self._flush()
        with self._stack, self._refusing():
            database = self._database
            for statement in INDEXES.values():
                database.execute(statement)
            files = self.added - self._add_up()
            self._write_header(header)
            database.execute("COMMIT")
            self._opened = None
        return files

    def _add_up(self) -> int:
        """Merge all rows that one path led to in one mount namespace. Returns the number of rows that this saved."""
        database, saved = self._database, 0
        database.execute(
            "CREATE TEMP TABLE repeated AS SELECT path, mnt_ns FROM file WHERE NOT unreachable"
            " GROUP BY path, mnt_ns HAVING count(*) > 1"
        )
        for place in database.execute("SELECT path, mnt_ns FROM repeated"):
            rows = database.execute(_SAME_FILE, place).fetchall()
            file = add_parts(map(_part, rows))
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
        unattributed = ((call, errno, n) for call, errors in header.unattributed.items() for errno, n in errors.items())
        database.executemany("INSERT INTO unattributed VALUES (?, ?, ?)", unattributed)


def write(path: PathLike, header: Header, files: Iterable[FileStats]) -> None:
    """Write a profile to `path`, completely or not at all: see `iotrace.atomic.replacing`.

    `files` is consumed once and need not fit in memory. Raises what `Writer` does.
    """
    with Writer(path) as writer:
        for file in files:
            writer.add_file(file)
        writer.finish(header)
