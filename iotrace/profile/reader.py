"""The profile: one SQLite file that holds a run. `SCHEMA.md` documents it for other tools, `writing` writes it.

Reading treats the file as hostile: it is opened immutable (no lock, no journal beside it is replayed), its tables must
be declared exactly as `schema` says (so no view, virtual table or generated column runs in their stead), and every
value is checked before it becomes a `FileStats`.

Sorting, limits and sums are SQLite's work, and everything is read as it is asked for: memory does not grow with the
number of files.
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import itertools
import json
import os
import sqlite3
import stat
import struct
import urllib.parse
from types import TracebackType
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple, Type, Union

from iotrace.atomic import PathLike
from iotrace.errors import UserError
from iotrace.globs import EVERYTHING, Selection
from iotrace.profile.model import HEADER_FIELDS, HISTOGRAMS, MAX_COUNTER, FileStats, Header, SyscallStats, add_files
from iotrace.profile.rows import FileRow, check, check_text, read_calls, read_file, read_row
from iotrace.profile.schema import APPLICATION_ID, SCALARS, SCHEMA_VERSION, TABLES
from iotrace.profile.writer import write

__all__ = [
    "EVERYTHING",
    "SORTS",
    "FileRow",
    "ProfileError",
    "ProfileReader",
    "Selection",
    "Totals",
    "combined_files",
    "combined_rows",
    "open",
    "write",
]

SORTS: Dict[str, str] = {
    "bytes": "bytes_read + bytes_written DESC",
    "read": "bytes_read DESC",
    "written": "bytes_written DESC",
    "calls": "calls DESC",
    "errors": "errors DESC",
    "syncs": "syncs DESC",
    "latency": "busy_ns DESC",
    "path": "path",
}
"""What files can be sorted by -> the SQL that does it; ties are in order of path and mount namespace."""


_WHOLE_FILE = ", ".join((*SCALARS, *HISTOGRAMS, "id"))
_MARKS = ("deleted", "mapped", "renamed")


def _column(name: str) -> str:
    """The SQL for a field of `FileRow` or `Totals`."""
    return "(renamed_to IS NOT NULL)" if name == "renamed" else name


class ProfileError(UserError):
    """The file is not a profile that can be read."""


class Totals(NamedTuple):
    """What the files of a profile come to."""

    files: int
    deleted: int  # 1 if any is
    mapped: int
    renamed: int
    bytes_read: int
    bytes_written: int
    calls: int
    errors: int
    syncs: int
    busy_ns: int


class ProfileReader:
    """A profile on disk, read lazily. Made by `open`; a context manager. Every method may raise `ProfileError`."""

    def __init__(self, name: str, database: sqlite3.Connection) -> None:
        self.name = name
        self._database = database
        with self._honest():
            self._check_schema()
            self.header = self._read_header()

    def __enter__(self) -> ProfileReader:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. Nothing can be read any more."""
        self._database.close()

    @contextlib.contextmanager
    def _honest(self) -> Iterator[None]:
        """Whatever SQLite or a value in the file complains about is the file's fault."""
        try:
            yield
        except (sqlite3.Error, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            reason = " ".join(str(error).split())[:200]  # SQLite quotes the file
            raise ProfileError(f"{self.name}: damaged profile: {reason}") from error

    def _check_schema(self) -> None:
        declared = dict(self._database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
        for table, statement in TABLES.items():
            if declared.get(table) != statement:
                what = "is not declared as it should be" if table in declared else "is missing"
                raise ProfileError(f"{self.name}: damaged profile: table {table} {what}")

    def _read_header(self) -> Header:
        meta = {}
        known = Header()
        for key, text in self._database.execute("SELECT key, value FROM meta"):
            if key in HEADER_FIELDS:
                check_text(text)
                meta[key] = json.loads(text)
                if type(meta[key]) is not type(getattr(known, key)):
                    raise ValueError(f"{key} is a {type(meta[key]).__name__}")
        check_text(*meta.get("command", ()), *meta.get("coverage", {}).values())
        meta["command"] = [word.encode("utf-8", "surrogateescape") for word in meta.get("command", ())]
        header = Header(**meta)
        check([header.started_ns, header.ended_ns], [])
        if max(header.started_ns, header.ended_ns) > MAX_COUNTER:
            raise ValueError("a time is out of range")
        for what, count in self._database.execute("SELECT what, count FROM lost"):
            check_text(what)
            check([count], [])
            header.lost[what] = count
        for syscall, errno, count in self._database.execute("SELECT syscall, errno, count FROM unattributed"):
            check_text(syscall, errno)
            check([count], [])
            header.unattributed.setdefault(syscall, {})[errno] = count
        return header

    def _where(self, selection: Selection) -> str:
        """The condition that selects; SQLite calls back into Python once a row, and only if there is a choice."""
        if selection == EVERYTHING:
            return "1"
        name = f"selected_{abs(hash(selection))}"
        self._database.create_function(name, 1, selection.matcher(), deterministic=True)
        return f"{name}(path)"

    def _select(self, columns: str, sort: Optional[str], selection: Selection) -> str:
        """The query for files in `SORTS` order or as they were written; its parameter is the limit, -1 for none."""
        order = f"{SORTS[sort]}, path, mnt_ns" if sort else "id"
        return f"SELECT {columns} FROM file WHERE {self._where(selection)} ORDER BY {order} LIMIT ?"

    def files(
        self, sort: Optional[str] = None, limit: int = 0, selection: Selection = EVERYTHING
    ) -> Iterator[FileStats]:
        """Files with all that is known of them, in `SORTS` order or as they were written; `limit` 0 is all."""
        with self._honest():
            yield from self._files(self._select(_WHOLE_FILE, sort, selection), (limit or -1,))

    def _files(self, query: str, parameters: Tuple[Union[int, bytes], ...]) -> Iterator[FileStats]:
        for row in self._database.execute(query, parameters):
            file = read_file(row[:-1])
            for calls in self._database.execute("SELECT by_syscall FROM calls WHERE file_id = ?", row[-1:]):
                file.syscalls = read_calls(calls[0])
            yield file

    def find(self, path: bytes) -> Iterator[FileStats]:
        """The files of exactly that path (or name since), one for each mount namespace."""
        named = f"SELECT {_WHOLE_FILE} FROM file WHERE path = ?1 OR renamed_to = ?1 ORDER BY path, mnt_ns"
        with self._honest():
            yield from self._files(named, (path,))

    def rows(self, sort: Optional[str] = None, limit: int = 0, selection: Selection = EVERYTHING) -> Iterator[FileRow]:
        """As `files`, but only what tables need: about ten times as fast."""
        query = self._select(", ".join(map(_column, FileRow._fields)), sort, selection)
        with self._honest():
            yield from map(read_row, self._database.execute(query, (limit or -1,)))

    def totals(self, selection: Selection = EVERYTHING) -> Totals:
        """The sums over all files, which SQLite adds up a million of in a second."""
        names = Totals._fields[1:]
        sums = ", ".join(f"coalesce({'max' if name in _MARKS else 'sum'}({_column(name)}), 0)" for name in names)
        smallest = f"coalesce(min(min({', '.join(map(_column, names))})), 0)"
        query = f"SELECT count(*), {sums}, {smallest} FROM file WHERE {self._where(selection)}"
        with self._honest():
            (row,) = self._database.execute(query)
            check(list(row), [])  # a sum over anything but whole numbers is none itself
            return Totals._make(row[:-1])

    def syscalls(self, selection: Selection = EVERYTHING) -> Iterator[Tuple[str, SyscallStats]]:
        """Every (system call, its statistics on one file), in no order."""
        chosen = "" if selection == EVERYTHING else " JOIN file ON file_id = id WHERE " + self._where(selection)
        with self._honest():
            for row in self._database.execute(f"SELECT by_syscall FROM calls{chosen}"):
                yield from read_calls(row[0]).items()


def _check_start(name: str, path: bytes) -> None:
    """Tell what a file is from its first bytes, before SQLite sees it."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # looked at first: opening a FIFO would wait
            raise ProfileError(f"{name}: not a regular file, so not a profile")
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
        raise ProfileError(f"{name}: a database, but not a profile of iotrace")
    if version > SCHEMA_VERSION:
        raise ProfileError(
            f"{name}: written by a newer iotrace (schema {version}, this one reads {SCHEMA_VERSION}): upgrade iotrace"
        )
    if version < SCHEMA_VERSION:
        raise ProfileError(f"{name}: written by an older iotrace (schema {version}, this one reads {SCHEMA_VERSION})")


def open(path: PathLike) -> ProfileReader:
    """Open a profile for reading. Raises `ProfileError` if it is not one, is damaged, or of a newer schema."""
    name, where = os.fsdecode(path), os.path.abspath(os.fsencode(path))
    _check_start(name, where)
    uri = "file:" + urllib.parse.quote(where) + "?mode=ro&immutable=1"
    try:
        database = sqlite3.connect(uri, uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise ProfileError(f"{name}: cannot read profile: {error}") from error
    try:
        database.execute("PRAGMA trusted_schema = OFF")  # 3.31; older ones ignore it
        database.execute("PRAGMA cell_size_check = ON")
        return ProfileReader(name, database)
    except sqlite3.Error as error:
        database.close()
        raise ProfileError(f"{name}: damaged profile: {error}") from error
    except BaseException:
        database.close()
        raise


def _same_file(row: Union[FileRow, FileStats]) -> Tuple[bytes, int]:
    return row.path, row.mnt_ns


def _add_rows(a: FileRow, b: FileRow) -> FileRow:
    sums = (x + y for x, y in zip(a[7:], b[7:]))
    return FileRow(a.path, a.mnt_ns, b.device, b.fstype, b.deleted, a.mapped | b.mapped, b.renamed, *sums)


def combined_rows(readers: List[ProfileReader], selection: Selection = EVERYTHING) -> Iterator[FileRow]:
    """The rows of several profiles, those of one file added up, in order of path. Memory stays flat."""
    merged = heapq.merge(*(reader.rows("path", selection=selection) for reader in readers), key=_same_file)
    for _, group in itertools.groupby(merged, _same_file):
        yield functools.reduce(_add_rows, group)


def combined_files(readers: List[ProfileReader], path: bytes) -> List[FileStats]:
    """All that several profiles know of one path: a record for each mount namespace."""
    found = sorted((file for reader in readers for file in reader.find(path)), key=_same_file)
    return [functools.reduce(add_files, group) for _, group in itertools.groupby(found, _same_file)]
