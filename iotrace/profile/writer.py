"""Writing a profile: rows are collected as they come, and made into a database at the end.

So a profile is complete or absent, memory use does not depend on the number of files, and whatever disk fills up while
it is written, there is still everything that it takes to write it to another one. A file may come in several parts, one
for each time that the programs held a record of it. They are added up at the end, in the order in which they were made.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sqlite3
from types import TracebackType
from typing import Any, Iterable, Iterator, List, Optional, Sequence, Tuple, Type, Union

from iotrace.atomic import PRIVATE, Hidden
from iotrace.errors import Failure, UserError
from iotrace.places import PathLike, Place
from iotrace.profile import series
from iotrace.profile.merge import add_parts
from iotrace.profile.metrics import HEADER, SCHEMA_VERSION, FileStats, Header
from iotrace.profile.parts import Edges, Part, as_part
from iotrace.profile.rows import FileDecoder, read_calls
from iotrace.profile.schema import APPLICATION_ID, CURRENT, INDEXES, VIEWS
from iotrace.profile.spool import Spool
from iotrace.profile.target import Source, Target

_IN_MEMORY = 100_000  # parts for which SQLite needs no temporary files: they would have names for a moment
_BATCH = 500  # rows per INSERT: amortises the call, keeps memory flat
_COLUMNS = len(CURRENT.columns) + len(CURRENT.totals)  # of `file`, without the id
_EDGES = ("position", *Edges._fields[1:])  # as columns
_NEXT_FILE = f"INSERT INTO file VALUES (NULL, {', '.join('?' * _COLUMNS)})"
_INTO_FILE = f"INSERT INTO file VALUES ({', '.join('?' * (_COLUMNS + 1))})"
_INTO_SERIES = "INSERT INTO series VALUES (?, ?)"
_NEXT_EDGES = f"INSERT INTO edges VALUES (NULL, {', '.join('?' * len(_EDGES))})"
_SAME_FILE = f"""\
SELECT id, {", ".join(metric.name for metric in CURRENT.columns)}, intervals, by_syscall, {", ".join(_EDGES)}
FROM file JOIN calls ON calls.file_id = id JOIN edges ON edges.file_id = id LEFT JOIN series ON series.file_id = id
WHERE path = ? AND mnt_ns = ? AND host IS ? AND NOT unreachable ORDER BY position"""
_TEMPORARY = f"CREATE TEMP TABLE edges (file_id INTEGER PRIMARY KEY, {', '.join(_EDGES)})"
_TABLES_OF_THEIR_OWN = ("lost", "unattributed", "failed_opens", "runs")  # for these; the rest is in `meta`

_read_file = FileDecoder(CURRENT.columns)


def _part(row: Tuple[Any, ...]) -> Tuple[FileStats, Edges]:
    """The part in a row of `_SAME_FILE`."""
    *columns, intervals, calls = row[1 : -len(_EDGES)]
    file = _read_file(columns)
    file.series = series.read(intervals)
    file.syscalls = read_calls(calls)
    return file, Edges(*row[-len(_EDGES) :])


def _header_rows(header: Header) -> Iterator[Tuple[str, str]]:
    """The rows of `meta`."""
    for metric in HEADER:
        if metric.name not in _TABLES_OF_THEIR_OWN:
            yield metric.name, json.dumps(metric.kind.dumped(getattr(header, metric.name)))


class Writer:
    """A profile that is being written; a context manager. Nothing has a name on disk before `finish`, nor without it.

    `add` and `add_file` raise `Failure` if a number is too large for a profile (2^63 and more), `finish` also if the
    profile cannot be written anywhere; `UserError` if something is at its path that it does not replace.
    """

    def __init__(self, target: Union[Target, PathLike]) -> None:
        """A path stands for a `Target` of that path, where nothing may be yet."""
        self.target = target if isinstance(target, Target) else Target(target)
        self._spool = Spool(self.target.places())
        self._parts: List[Part] = []
        self._before: Optional[Writer] = None  # what this is a continued copy of
        self.added = self._order = 0
        self._place: Optional[Tuple[bytes, int, Optional[str]]] = None  # of the file added last

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._spool.close()

    def _failure(self, error: Exception) -> Failure:
        reason = getattr(error, "strerror", None) or str(error)
        most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if most != resource.RLIM_INFINITY and isinstance(error, (OSError, sqlite3.Error)):
            reason += f", where no file may be larger than {most:,} bytes (ulimit -f)"
        return Failure(f"{self.target.path}: profile not written: {reason}")

    def add(self, part: Part) -> None:
        """Add a file, or a part of one."""
        self._parts.append(part)
        self.added += 1
        if len(self._parts) == _BATCH:
            self._spool.add(self._parts)
            self._parts = []

    def apart(self) -> Writer:
        """One for another process, forked from this one: what is added to it can be adopted here."""
        return Writer(self.target)

    def handed(self) -> Tuple[int, List[Tuple[int, int, int]]]:
        """What `adopt` takes in another process, for as long as this one is there.

        Raises OSError if some is in memory, as there was no room on disk.
        """
        if self._parts:
            self._spool.add(self._parts)
            self._parts = []
        return self.added, self._spool.places()

    def adopt(self, pid: int, added: int, places: Sequence[Tuple[int, int, int]]) -> None:
        """Add what the process has added to its own. Raises OSError, and adds nothing."""
        self._spool.adopt(pid, places)
        self.added += added

    def add_file(self, file: FileStats) -> None:
        """Add a whole file, or one of its parts; parts are added in the order in which they were made.

        Raises UserError if a number is too large for a profile: what is traced never is.
        """
        place = file.path, file.mnt_ns, file.host
        if file.who is None or place != self._place:  # rows of one file that come together are no parts of it
            self._order = self.added
        self._place = place
        try:
            part = as_part(file, Edges(self._order))
        except OverflowError as error:
            raise UserError(str(self._failure(error))) from error
        self.add(part)

    def copy(self, target: Target, parts: Iterable[Part], header: Header) -> int:
        """Write a profile of all that was added so far, and of these parts, to another place; how many files it has.

        More can be added here afterwards.
        """
        other = Writer(target)
        other._before, other.added = self, self.added
        for part in parts:
            other.add(part)
        return other.finish(header)

    def finish(self, header: Header) -> int:
        """Add up the parts and put the profile in its place. Returns the number of files."""
        with self, contextlib.ExitStack() as stack:
            files, source = self._build(header, stack)
            self._spool.close()  # its room may be what the profile needs
            self.target.put(source)
        return files

    def _build(self, header: Header, stack: contextlib.ExitStack) -> Tuple[int, Source]:
        """Make the database, wherever there is room for it: how many files it has, and its file."""
        first: Optional[Exception] = None
        for in_memory in (False, True):  # SQLite's own temporary files, whose disk may be the one that is full
            for place in self.target.places():
                try:
                    with _nameless(place) as (database, descriptor):
                        files = _fill(
                            database, self._batches(), header, in_memory=in_memory or self.added <= _IN_MEMORY
                        )
                        return files, stack.enter_context(Source(descriptor))
                except (OverflowError, UnicodeEncodeError) as error:
                    raise UserError(str(self._failure(error))) from error
                except (OSError, UserError, sqlite3.Error) as error:
                    first = first or error
        assert first is not None
        raise self._failure(first) from first

    def _batches(self) -> Iterator[List[Part]]:
        if self._before is not None:
            yield from self._before._batches()
        yield from self._spool.batches()
        yield self._parts


@contextlib.contextmanager
def _nameless(place: Place) -> Iterator[Tuple[sqlite3.Connection, int]]:
    """An empty database in a directory, whose file no path leads to, and a descriptor of the file.

    SQLite opens files by name alone, and sees through /proc/self/fd. So there is a name for as long as that takes.
    Raises OSError, sqlite3.Error.
    """
    with place.opened() as spot, contextlib.ExitStack() as stack:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with Hidden(spot.directory) as name:
            descriptor = os.open(name, flags, PRIVATE, dir_fd=spot.directory)
            stack.callback(os.close, descriptor)
            database = sqlite3.connect(f"/proc/self/fd/{spot.directory}/{os.fsdecode(name)}", isolation_level=None)
            stack.callback(database.close)
        if not _is_open_twice(descriptor):  # SQLite makes paths of its own, and somebody has moved a directory
            raise OSError("the directory has been replaced")
        yield database, descriptor


def _is_open_twice(descriptor: int) -> bool:
    """Whether this process has the file of a descriptor open by another one too."""
    ours = os.fstat(descriptor)
    for number in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            if number != descriptor and os.path.samestat(os.fstat(number), ours):
                return True
    return False


def _fill(database: sqlite3.Connection, batches: Iterable[List[Part]], header: Header, *, in_memory: bool) -> int:
    """Make an empty file a profile. Returns the number of files in it. Raises sqlite3.Error, OSError."""
    database.execute("PRAGMA journal_mode = OFF")  # after an error the whole file is thrown away
    database.execute("PRAGMA synchronous = OFF")
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute(f"PRAGMA temp_store = {'MEMORY' if in_memory else 'FILE'}")
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    database.execute("BEGIN")
    for statement in (*CURRENT.tables.values(), *VIEWS.values(), _TEMPORARY):
        database.execute(statement)
    added = 0
    for batch in batches:
        added += _insert(database, batch, added, header.interval_ns)
    for statement in INDEXES.values():
        database.execute(statement)
    files = added - _add_up(database) - _others_of_files(database)
    _write_header(database, header)
    database.execute("COMMIT")
    return files


def _insert(database: sqlite3.Connection, parts: List[Part], before: int, interval_ns: Optional[int]) -> int:
    """Insert each part into the tables, which number their rows alike: how many there are. `before` it were so many."""
    database.executemany(_NEXT_FILE, [part.columns for part in parts])
    database.executemany("INSERT INTO calls VALUES (NULL, ?)", [(part.by_syscall,) for part in parts])
    database.executemany(_NEXT_EDGES, [part.edges for part in parts])
    texts = ((number, _series(part, interval_ns)) for number, part in enumerate(parts, before + 1) if part.series)
    database.executemany(_INTO_SERIES, texts)
    return len(parts)


def _series(part: Part, interval_ns: Optional[int]) -> str:
    """The rows of a part over time as JSON text, for intervals of that length."""
    rows = part.series
    return rows if isinstance(rows, str) else series.encode(series.numbered(rows or b"", interval_ns or 1))


def _add_up(database: sqlite3.Connection) -> int:
    """Merge all rows that one path led to in one mount namespace of a host, those of each who did I/O on it apart.

    Returns the number of rows saved.
    """
    saved = 0
    database.execute(
        "CREATE TEMP TABLE repeated AS SELECT path, mnt_ns, host FROM file JOIN edges ON file_id = id"
        " WHERE NOT unreachable GROUP BY path, mnt_ns, host HAVING count(*) > 1 AND min(position) < max(position)"
    )
    for place in database.execute("SELECT path, mnt_ns, host FROM repeated"):
        rows = database.execute(_SAME_FILE, place).fetchall()
        whole = [as_part(file, Edges(0)) for file in add_parts(map(_part, rows))]
        keys = [row[0] for row in rows]
        for table, key in (("file", "id"), ("calls", "file_id"), ("series", "file_id")):
            database.executemany(f"DELETE FROM {table} WHERE {key} = ?", zip(keys))
        for number, part in zip(sorted(keys), whole):
            database.execute(_INTO_FILE, (number, *part.columns))
            database.execute("INSERT INTO calls VALUES (?, ?)", (number, part.by_syscall))
            if part.series:
                database.execute(_INTO_SERIES, (number, part.series))
        saved += len(keys) - len(whole)
    return saved


def _others_of_files(database: sqlite3.Connection) -> int:
    """The number of rows that are not the first of their file, where a file has one for each who did I/O on it."""
    ((rows, files),) = database.execute(
        "SELECT total(rows), count(*) FROM (SELECT count(*) AS rows FROM file WHERE who IS NOT NULL"
        " GROUP BY path, mnt_ns, host, CASE WHEN unreachable THEN id END)"
    )
    return int(rows) - int(files)


def _write_header(database: sqlite3.Connection, header: Header) -> None:
    database.executemany("INSERT INTO meta VALUES (?, ?)", _header_rows(header))
    database.executemany("INSERT INTO lost VALUES (?, ?)", header.lost.items())
    unattributed = ((call, errno, n) for call, errors in header.unattributed.items() for errno, n in errors.items())
    database.executemany("INSERT INTO unattributed VALUES (?, ?, ?)", unattributed)
    database.executemany("INSERT INTO failed_open VALUES (?, ?, ?, ?)", header.failed_opens)
    database.executemany("INSERT INTO run VALUES (?, ?, ?, ?, ?)", header.runs)


def write(path: PathLike, header: Header, files: Iterable[FileStats], *, force: bool = False) -> None:
    """Write a profile to `path`, completely or not at all; with `force` in the place of one that is there.

    `files` is consumed once and need not fit in memory. Raises what `Writer` does.
    """
    with Writer(Target(path, force=force)) as writer:
        for file in files:
            writer.add_file(file)
        writer.finish(header)
