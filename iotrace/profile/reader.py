"""Reading a profile. `SCHEMA.md` documents the file for other tools.

A profile is hostile input. It is opened immutable, so nothing is locked and no journal beside it is replayed. Tables
must be declared exactly as `schema` says, so that no view, virtual table or generated column can take their place.
Every value is checked before it becomes part of a record.

SQLite does the sorting, limiting and summing, and rows are read as they are asked for, so memory use does not depend on
the number of files.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import struct
import urllib.parse
from types import TracebackType
from typing import Any, Dict, Iterator, NamedTuple, Optional, Tuple, Type, Union

from iotrace.errors import UserError
from iotrace.globs import EVERYTHING, Selection
from iotrace.places import PathLike
from iotrace.profile.metrics import FIRST_VERSION, HEADER, SCHEMA_VERSION, FileStats, Header, SyscallStats
from iotrace.profile.rows import ROW_COLUMNS, SQL, FileDecoder, FileRow, Marks, Sums, read_calls, read_row
from iotrace.profile.schema import APPLICATION_ID, schema
from iotrace.profile.values import check_counts, check_text

SORTS: Dict[str, Tuple[str, ...]] = {
    "bytes": ("bytes_read", "bytes_written"),
    "read": ("bytes_read",),
    "written": ("bytes_written",),
    "calls": ("calls",),
    "errors": ("errors",),
    "syncs": ("syncs",),
    "latency": ("busy_ns",),
    "path": (),
}
"""The orders of files: name -> the fields of `Sums` by whose total files are sorted, the largest first.

Ties are in order of path and mount namespace.
"""

__all__ = ["SORTS", "Profile", "ProfileError", "Totals", "open"]

_HEADER = {metric.name: metric for metric in HEADER}


class ProfileError(UserError):
    """The file is not a profile that can be read."""


class Totals(NamedTuple):
    """Totals over the files of a profile."""

    files: int
    marks: Marks  # 1 if any file has the mark
    sums: Sums


class Profile:
    """A profile on disk, opened by `open`; a context manager. It is read as it is asked for.

        with iotrace.open("run.iotrace") as profile:
            for file in profile.files(sort="bytes", limit=10):
                print(file.path, file.bytes_read, file.syscalls["read"].calls)

    Every method may raise `ProfileError`, and so may the iterators that some of them return.
    """

    name: str
    """The path that was opened."""
    header: Header
    """What the profile says about the run as a whole."""

    def __init__(self, name: str, database: sqlite3.Connection, version: int) -> None:
        """`version` is that of the schema. The profile takes over the database and closes it."""
        self.name = name
        self._database = database
        self._schema = schema(version)
        self._file = FileDecoder(self._schema.columns)
        self._whole_file = ", ".join((*(metric.name for metric in self._schema.columns), "id"))
        with self._honest():
            self._check_schema()
            self.header = self._read_header()

    def __enter__(self) -> Profile:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Nothing can be read after that."""
        self._database.close()

    @contextlib.contextmanager
    def _honest(self) -> Iterator[None]:
        """Within the block, errors from SQLite and from checking values mean that the file is damaged."""
        try:
            yield
        except (sqlite3.Error, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            reason = " ".join(str(error).split())[:200]  # SQLite quotes the file's contents
            raise ProfileError(f"{self.name}: damaged profile: {reason}") from error

    def _check_schema(self) -> None:
        declared = dict(self._database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
        for table, statement in self._schema.tables.items():
            if declared.get(table) != statement:
                what = "is not declared as it should be" if table in declared else "is missing"
                raise ProfileError(f"{self.name}: damaged profile: table {table} {what}")

    def _read_header(self) -> Header:
        told: Dict[str, Any] = {}
        for key, text in self._database.execute("SELECT key, value FROM meta"):
            if key in _HEADER:
                check_text(text)
                told[key] = _HEADER[key].kind.parsed(json.loads(text))
        lost = _HEADER["lost"].default()
        for what, count in self._database.execute("SELECT what, count FROM lost"):
            check_text(what)
            lost[what] = count
        unattributed: Dict[str, Dict[str, Any]] = {}
        for syscall, errno, count in self._database.execute("SELECT syscall, errno, count FROM unattributed"):
            check_text(syscall, errno)
            unattributed.setdefault(syscall, {})[errno] = count
        told["lost"] = _HEADER["lost"].kind.parsed(lost)
        told["unattributed"] = _HEADER["unattributed"].kind.parsed(unattributed)
        return Header(**told)

    def _column(self, name: str) -> str:
        """The SQL for one of `ROW_COLUMNS`; it yields 0 if the profile is older than the metric.

        The zero is an expression, since ORDER BY takes a plain number for the position of a column.
        """
        return SQL.get(name) or (name if self._schema.has(name) else "(0 + 0)")

    def _where(self, selection: Selection) -> str:
        """The SQL condition for a selection. Unless it selects everything, SQLite calls into Python once per row."""
        if selection == EVERYTHING:
            return "1"
        name = f"selected_{abs(hash(selection))}"
        self._database.create_function(name, 1, selection.matcher(), deterministic=True)
        return f"{name}(path)"

    def _select(self, columns: str, sort: Optional[str], selection: Selection) -> str:
        """The query for files, sorted or as they were written. Its parameter is the limit, -1 for none."""
        if sort is not None and sort not in SORTS:
            raise ValueError(f"files cannot be sorted by {sort!r}, but by {', '.join(SORTS)}")
        largest = " + ".join(map(self._column, SORTS[sort])) if sort else ""
        order = f"{largest} DESC, path, mnt_ns" if largest else "path, mnt_ns" if sort else "id"
        return f"SELECT {columns} FROM file WHERE {self._where(selection)} ORDER BY {order} LIMIT ?"

    def files(
        self, sort: Optional[str] = None, limit: int = 0, selection: Selection = EVERYTHING
    ) -> Iterator[FileStats]:
        """The files that match `selection`, with everything that is known about them; at most `limit`, 0 for all.

        Without `sort` they come in the order in which they were first seen. "bytes", "read", "written", "calls",
        "errors", "syncs" and "latency" put the largest first, "path" sorts by path. Raises ValueError for any other.
        """
        query = self._select(self._whole_file, sort, selection)
        with self._honest():
            yield from self._files(query, (limit or -1,))

    def _files(self, query: str, parameters: Tuple[Union[int, bytes], ...]) -> Iterator[FileStats]:
        for row in self._database.execute(query, parameters):
            file = self._file(row[:-1])
            for calls in self._database.execute("SELECT by_syscall FROM calls WHERE file_id = ?", row[-1:]):
                file.syscalls = read_calls(calls[0])
            yield file

    def find(self, path: bytes) -> Iterator[FileStats]:
        """The files with exactly that path, or that were renamed to it; there may be one in each mount namespace."""
        named = f"SELECT {self._whole_file} FROM file WHERE path = ?1 OR renamed_to = ?1 ORDER BY path, mnt_ns"
        with self._honest():
            yield from self._files(named, (path,))

    def rows(self, sort: Optional[str] = None, limit: int = 0, selection: Selection = EVERYTHING) -> Iterator[FileRow]:
        """Like `files`, but with only what tables need, and about six times as fast."""
        query = self._select(", ".join(map(self._column, ROW_COLUMNS)), sort, selection)
        with self._honest():
            yield from map(read_row, self._database.execute(query, (limit or -1,)))

    def totals(self, selection: Selection = EVERYTHING) -> Totals:
        """The totals over all selected files. SQLite adds up a million of them in a second."""
        marks, sums = ([self._column(name) for name in kind._fields] for kind in (Marks, Sums))
        wanted = [f"max({column})" for column in marks] + [f"sum({column})" for column in sums]
        smallest = f"min(min({', '.join(marks + sums)}))"  # the sum of several may hide that one is negative
        columns = ", ".join(f"coalesce({column}, 0)" for column in (*wanted, smallest))
        query = f"SELECT count(*), {columns} FROM file WHERE {self._where(selection)}"
        with self._honest():
            ((files, *values),) = self._database.execute(query)
            check_counts(tuple(values))  # the sum of anything but whole numbers is not a whole number
            return Totals(files, Marks(*values[: len(marks)]), Sums(*values[len(marks) : -1]))

    def syscalls(self, selection: Selection = EVERYTHING) -> Iterator[Tuple[str, SyscallStats]]:
        """Each system call of each selected file, as (name, record), in no particular order."""
        chosen = "" if selection == EVERYTHING else " JOIN file ON file_id = id WHERE " + self._where(selection)
        with self._honest():
            for row in self._database.execute(f"SELECT by_syscall FROM calls{chosen}"):
                yield from read_calls(row[0]).items()


def _version(name: str, path: bytes) -> int:
    """The version of the schema, read from the first bytes of the file before SQLite sees it."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # looked at first: opening a FIFO would wait
            raise ProfileError(f"{name}: not a regular file, so it cannot be a profile")
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            start = os.read(descriptor, 100)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ProfileError(f"{name}: cannot read profile: {error.strerror}") from error
    if len(start) < 100 or not start.startswith(b"SQLite format 3\0"):
        raise ProfileError(f"{name}: not a profile of iotrace")
    (version,), (application,) = struct.unpack_from(">I", start, 60), struct.unpack_from(">I", start, 68)
    if application != APPLICATION_ID:
        raise ProfileError(f"{name}: an SQLite database, but not a profile of iotrace")
    reads = f"{FIRST_VERSION} to {SCHEMA_VERSION}" if FIRST_VERSION < SCHEMA_VERSION else str(SCHEMA_VERSION)
    if version > SCHEMA_VERSION:
        raise ProfileError(
            f"{name}: written by a newer iotrace (schema {version}, this one reads {reads}): upgrade iotrace"
        )
    if version < FIRST_VERSION:
        raise ProfileError(f"{name}: written by an older iotrace (schema {version}, this one reads {reads})")
    return int(version)


def open(path: PathLike) -> Profile:
    """Open a profile for reading. Raises `ProfileError` if it is not a profile, is damaged, or has a newer schema."""
    name, where = os.fsdecode(path), os.path.abspath(os.fsencode(path))
    version = _version(name, where)
    uri = "file:" + urllib.parse.quote(where) + "?mode=ro&immutable=1"
    try:
        database = sqlite3.connect(uri, uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise ProfileError(f"{name}: cannot read profile: {error}") from error
    try:
        database.execute("PRAGMA trusted_schema = OFF")  # 3.31; older ones ignore it
        database.execute("PRAGMA cell_size_check = ON")
        return Profile(name, database, version)
    except sqlite3.Error as error:
        database.close()
        raise ProfileError(f"{name}: damaged profile: {error}") from error
    except BaseException:
        database.close()
        raise
