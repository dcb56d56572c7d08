"""Reading a profile. `SCHEMA.md` documents the file for other tools.

A profile is hostile input. `database` bounds what SQLite does with it. Tables must be declared exactly as `schema`
says, so that no view, virtual table or generated column can take their place. Every value is checked before it becomes
part of a record.

SQLite does the sorting, limiting and summing, and rows are read as they are asked for, so memory use does not depend on
the number of files.
"""

from __future__ import annotations

import itertools
from types import TracebackType
from typing import Any, Collection, Dict, Iterator, List, NamedTuple, Optional, Tuple, Type, Union

from iotrace.globs import EVERYTHING, Selection
from iotrace.places import PathLike
from iotrace.profile import series
from iotrace.profile.database import CACHE, Database, ProfileError, weight
from iotrace.profile.folding import NAME, by_who, folded_rows, group_key
from iotrace.profile.headers import read_header
from iotrace.profile.merge import add_syscalls
from iotrace.profile.metrics import FOURTHS, FileStats, Header, SyscallStats
from iotrace.profile.rows import (
    ROW_COLUMNS,
    SQL,
    FileDecoder,
    FileRow,
    Marks,
    Sums,
    read_calls,
    read_older_calls,
    read_row,
)
from iotrace.profile.runs import host_name
from iotrace.profile.schema import APPLICATION_ID, check_version, schema
from iotrace.profile.values import check_counts
from iotrace.profile.whose import WHO, Who

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

MOST_NAMES = 4096  # in one record: iotrace knows 40 system calls, Linux 133 errors
_PATH = ROW_COLUMNS.index("path")


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
    host: str
    """The host of files that do not say which (`FileStats.host`)."""

    def __init__(self, database: Database) -> None:
        """The profile takes over the database and closes it."""
        self.name = database.name
        self._database = database
        self._honest = database.honest
        self._table = f"main.file {database.scan}"
        self._schema = schema(database.version)
        self._file = FileDecoder(self._schema.columns)
        self._read_calls = read_older_calls if database.version in FOURTHS else read_calls
        self._whole_file = ", ".join((*(metric.name for metric in self._schema.columns), "id"))
        self._whole_path = [metric.name for metric in self._schema.columns].index("path")
        with self._honest():
            self._check_schema()
            self.header = self._whole = read_header(database, self._schema.tables)
        self.host = host_name(self.header.host)

    def __enter__(self) -> Profile:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Nothing can be read after that."""
        self._database.close()

    def _check_schema(self) -> None:
        query = "SELECT name, sql FROM main.sqlite_master WHERE type = 'table'"
        declared = dict(self._database.query(query))
        for table, statement in self._schema.tables.items():
            if declared.get(table) != statement:
                what = "is not declared as it should be" if table in declared else "is missing"
                raise ValueError(f"table {table} {what}")

    def _column(self, name: str) -> str:
        """The SQL for one of `ROW_COLUMNS`; it yields 0, or no host, if the profile is older than the metric.

        These are expressions, since ORDER BY takes a plain number for the position of a column.
        """
        missing = "nullif(0, 0)" if name == "host" else "(0 + 0)"
        return SQL.get(name) or (name if self._schema.has(name) else missing)

    def _where(self, selection: Selection, folded: bool = False) -> str:
        """The SQL condition for a selection. Unless it selects everything, SQLite calls into Python once per row.

        With `folded` a file is wanted under any name that any part of it has had.
        """
        if selection == EVERYTHING:
            return "1"
        if folded and selection.path:
            wanted = self._where(selection._replace(exclude=()))
            file = group_key(self._column)
            same = f"({file}) IN (SELECT {file} FROM {self._table} WHERE {wanted})"
            return f"{same} AND {self._where(selection._replace(path=()))}"
        name = f"selected_{abs(hash(selection))}"
        self._database.define(name, selection.matcher())
        # What is no path is refused by name where it is read: text that is not UTF-8 could not even be passed on.
        paths = "typeof(path) = 'blob' AND typeof(renamed_to) IN ('blob', 'null')"
        return f"CASE WHEN {paths} THEN {name}(path, renamed_to) ELSE 1 END"

    def _folds(self, folded: bool) -> bool:
        """Whether there is anything to fold."""
        if not folded or not self._schema.has("ended_as"):
            return False
        query = f"SELECT EXISTS (SELECT 1 FROM {self._table} WHERE ended_as IS NOT NULL)"
        return next(self._database.query(query)) == (1,)

    @property
    def apart(self) -> bool:
        """Whether a file may have several rows, by who did the I/O."""
        with self._honest():
            return self._is_apart()

    def _is_apart(self) -> bool:
        query = f"SELECT EXISTS (SELECT 1 FROM {self._table} WHERE who IS NOT NULL)"
        return self._schema.has("who") and next(self._database.query(query)) == (1,)

    def _rows(self, selection: Selection, folded: bool) -> str:
        """SQL for what `rows` and `totals` read from, with their columns."""
        temporary = self._folds(folded)
        if temporary or self._is_apart():
            where = self._where(selection, folded=temporary)
            return folded_rows(self._table, self._column, where, temporary=temporary)
        columns = ", ".join(
            f"{self._column(name)} AS {name}" for name in dict.fromkeys(("id", *ROW_COLUMNS, *Sums._fields))
        )
        return f"(SELECT {columns} FROM {self._table} WHERE {self._where(selection)})"

    def _ordered(self, columns: str, source: str, sort: Optional[str]) -> str:
        """The query for files, sorted or as they come. Its parameter is the limit, -1 for none."""
        if sort is not None and sort not in SORTS:
            raise ValueError(f"files cannot be sorted by {sort!r}, but by {', '.join(SORTS)}")
        largest = " + ".join(map(self._column, SORTS[sort])) if sort else ""
        by_path = f"path, mnt_ns, {self._column('unreachable')}, {self._column('host')}"
        order = f"{largest} DESC, {by_path}" if largest else by_path if sort else "id"
        return f"SELECT {columns} FROM {source} ORDER BY {order} LIMIT ?"

    def files(
        self, sort: Optional[str] = None, limit: int = 0, selection: Selection = EVERYTHING
    ) -> Iterator[FileStats]:
        """The files that match `selection`, with everything that is known about them; at most `limit`, 0 for all.

        A file comes once for each of those that did I/O on it if the run was `--by` these: see `FileStats.who`.
        Without `sort` they come in the order in which they were first seen. "bytes", "read", "written", "calls",
        "errors", "syncs" and "latency" put the largest first, "path" sorts by path. Raises ValueError for any other.
        """
        return (file for _, file in self.numbered(sort, limit, selection))

    def numbered(
        self, sort: Optional[str] = None, limit: int = 0, selection: Selection = EVERYTHING
    ) -> Iterator[Tuple[int, FileStats]]:
        """Like `files`, each with its `id` in the profile."""
        source = f"{self._table} WHERE {self._where(selection)}"
        if sort is None:
            with self._honest():
                yield from self._files(self._ordered(self._whole_file, source, sort), (limit or -1,))
            return
        ordered = self._ordered("id", source, sort)  # sorting all of each takes ten times as long
        whole = f"SELECT {self._whole_file} FROM main.file WHERE id = ?"
        with self._honest():
            names = self._database.query(ordered, (limit or -1,))
            yield from self._decoded(row for (key,) in names for row in self._database.look_up(whole, key))

    def brief(self, metrics: Collection[str], selection: Selection = EVERYTHING) -> Iterator[FileStats]:
        """Like `files`, with only these metrics of each file and its system calls; the others keep their defaults."""
        wanted = [metric for metric in self._schema.columns if metric.name in {"path", "mnt_ns", *metrics}]
        names = [metric.name for metric in wanted]
        query = self._ordered(", ".join((*names, "id")), f"{self._table} WHERE {self._where(selection)}", None)
        with self._honest():
            rows = self._database.query(query, (-1,))
            for _, file in self._decoded(rows, FileDecoder(wanted), names.index("path"), series_too=False):
                yield file

    def _files(self, query: str, parameters: Tuple[Union[int, bytes], ...]) -> Iterator[Tuple[int, FileStats]]:
        yield from self._decoded(self._database.query(query, parameters))

    def _decoded(
        self,
        rows: Iterator[Tuple[Any, ...]],
        decode: Optional[FileDecoder] = None,
        path: Optional[int] = None,
        *,
        series_too: bool = True,
    ) -> Iterator[Tuple[int, FileStats]]:
        """Files from their columns, of which `path` is the number of the path, and their ids."""
        decode = decode or self._file
        at = self._whole_path if path is None else path
        found = ((row, self._calls_of(row[-1]), self._series_of(row[-1]) if series_too else None) for row in rows)
        for row, calls, intervals in self._database.charged(
            found, lambda each: weight(each[0][at]) + weight(each[1]) + weight(each[2])
        ):
            file = decode(row[:-1])
            file.syscalls = self._read_calls(calls)
            file.series = self._in_time(series.read(intervals))
            yield row[-1], file

    def by_path(
        self, selection: Selection = EVERYTHING, *, folded: bool = False, since: bytes = b"", before: bytes = b""
    ) -> Iterator[FileStats]:
        """Every file, in the order in which several profiles are merged, with the host that it is on.

        With `folded` in that of the names under which temporary files are part of what they became, and a file is
        wanted under any of its names. Names alone are sorted, so that it takes little memory. Only the files whose name
        in that order is not less than `since`, and less than `before` unless that is empty.
        """
        whole = f"SELECT {self._whole_file} FROM main.file WHERE id = ?"
        with self._honest():
            temporary = self._folds(folded)
            name = NAME if temporary else "path"
            order = f"{name}, mnt_ns, {self._column('unreachable')}, {self._column('host')}, path"
            if self._schema.has("who"):
                order += ", coalesce(who, '')"
            where = self._where(selection, temporary)
            if since or before:
                where += f" AND {name} >= ?1 AND ({name} < ?2 OR ?2 = x'')"
            names = f"SELECT id FROM {self._table} WHERE {where} ORDER BY {order}"
            numbers = self._database.query(names, (since, before) if since or before else ())
            found = (row for (key,) in numbers for row in self._database.look_up(whole, key))
            for _, file in self._decoded(found):
                if file.host is None:
                    file.host = self.host
                yield file

    def _calls_of(self, file: int) -> Any:
        """The value of `by_syscall` for a file, which is not checked; None without."""
        for row in self._database.look_up("SELECT by_syscall FROM main.calls WHERE file_id = ?", file):
            return row[0]
        return None

    def in_time_of(self, whole: Header) -> None:
        """From now on files have the intervals of a profile with that header: of several together, of which this is."""
        self._whole = whole

    def _in_time(self, rows: List[series.Row]) -> List[series.Row]:
        own, whole = self.header, self._whole
        if whole is own or not rows or own.interval_ns is None:
            return rows
        later = own.started_ns - whole.started_ns
        return series.shifted(rows, own.interval_ns, later, whole.interval_ns or own.interval_ns)

    def _series_of(self, file: int) -> Any:
        """The value of `intervals` for a file, which is not checked; None without."""
        if self.header.interval_ns is not None:
            for row in self._database.look_up("SELECT intervals FROM main.series WHERE file_id = ?", file):
                return row[0]
        return None

    def find(self, path: bytes, *, folded: bool = False) -> Iterator[FileStats]:
        """The files with exactly that path, or that were renamed to it; there may be one in each mount namespace.

        With `folded` also all others that became the same file as one of them, in order of their final names.
        """
        condition, name = "path = ?1 OR renamed_to = ?1", "path"
        with self._honest():
            if self._folds(folded):
                host = f"coalesce({self._column('host')}, '')"
                names = (
                    f"SELECT DISTINCT {NAME} AS name, mnt_ns AS ns, {host} AS h FROM {self._table} WHERE {condition}"
                )
                condition = (
                    f"id IN (SELECT file.id FROM ({names}) JOIN {self._table}"
                    f" ON mnt_ns = ns AND {host} = h AND (path = name AND ended_as IS NULL OR ended_as = name))"
                )
                name = NAME
            order = f"{name}, mnt_ns, {self._column('unreachable')}, {self._column('host')}"
            named = f"SELECT {self._whole_file} FROM {self._table} WHERE {condition} ORDER BY {order}"
            yield from (file for _, file in self._files(named, (path,)))

    def rows(
        self,
        sort: Optional[str] = None,
        limit: int = 0,
        selection: Selection = EVERYTHING,
        *,
        folded: bool = False,
    ) -> Iterator[FileRow]:
        """Like `files`, but with only what tables need, and about six times as fast.

        With `folded`, temporary files are part of what they became.
        """
        with self._honest():
            source = self._rows(selection, folded)
        query = self._ordered(", ".join(ROW_COLUMNS), source, sort)
        with self._honest():
            found = self._database.query(query, (limit or -1,))
            for row in self._database.charged(found, _weight_of_path):
                yield read_row(row, self.host)

    def whose(self, by: str, selection: Selection = EVERYTHING) -> Iterator[Tuple[Who, int, Sums]]:
        """Whose I/O it was, of a run `--by` the same: each with the number of its files, and its totals."""
        with self._honest():
            query = by_who(self._table, self._where(selection)) if self._schema.has("who") else "SELECT 1 LIMIT 0"
            for text, files, *values in self._database.charged(self._database.query(query), _weight_of_calls):
                check_counts((files, *values))
                who = WHO.load(text)
                if who.by == by:
                    yield who, files, Sums(*values[:-1])

    def totals(self, selection: Selection = EVERYTHING, *, folded: bool = False) -> Totals:
        """The totals over all selected files. SQLite adds up a million of them in a second."""
        marks, sums = Marks._fields, Sums._fields
        wanted = [f"max({column})" for column in marks] + [f"sum({column})" for column in sums]
        smallest = f"min(min({', '.join(marks + sums)}))"  # the sum of several may hide that one is negative
        columns = ", ".join(f"coalesce({column}, 0)" for column in (*wanted, smallest))
        with self._honest():
            query = f"SELECT count(*), {columns} FROM {self._rows(selection, folded)}"
            ((files, *values),) = self._database.query(query)
            check_counts(tuple(values))  # the sum of anything but whole numbers is not a whole number
            return Totals(files, Marks(*values[: len(marks)]), Sums(*values[len(marks) : -1]))

    def syscalls(
        self, selection: Selection = EVERYTHING, *, folded: bool = False
    ) -> Iterator[Tuple[str, SyscallStats]]:
        """Each system call of each selected file, as (name, record), in no particular order."""
        with self._honest():
            temporary = self._folds(folded)
            if temporary or self._is_apart():
                key = group_key(self._column, temporary=temporary)
                yield from self._folded_calls(key, self._where(selection, folded=temporary))
                return
            every = selection == EVERYTHING
            chosen = "" if every else f" JOIN main.file ON file_id = id WHERE {self._where(selection)}"
            found = self._database.query(f"SELECT by_syscall FROM main.calls{chosen}")
            for row in self._database.charged(found, _weight_of_calls):
                yield from self._read_calls(row[0]).items()

    def _folded_calls(self, key: str, condition: str) -> Iterator[Tuple[str, SyscallStats]]:
        found = self._database.query(
            f"SELECT {key}, by_syscall FROM {self._table} JOIN main.calls ON file_id = id WHERE {condition}"
            " ORDER BY 1, 2, 3, 4"
        )
        rows = self._database.charged(found, lambda row: weight(row[-1]))
        for _, group in itertools.groupby(rows, lambda row: row[:-1]):
            calls: Dict[str, SyscallStats] = {}
            names = 0
            for row in group:
                for name, call in self._read_calls(row[-1]).items():
                    before = calls.get(name)
                    total = calls[name] = call if before is None else add_syscalls(before, call)
                    names += 1 + len(total.errors) if before is None else len(total.errors) - len(before.errors)
                if names > MOST_NAMES:
                    raise ValueError(f"more than {MOST_NAMES:,} system calls and errors on one file")
            yield from calls.items()


def _weight_of_path(row: Tuple[Any, ...]) -> int:
    return weight(row[_PATH])


def _weight_of_calls(row: Tuple[Any, ...]) -> int:
    return weight(row[0])


def open(path: PathLike, *, cache: int = CACHE) -> Profile:
    """Open a profile for reading. Raises `ProfileError` if it is not a profile, is damaged, or has a newer schema.

    `cache` is how many KiB of it may be kept in memory.
    """
    database = Database(path, APPLICATION_ID, check_version, cache)
    try:
        return Profile(database)
    except BaseException:
        database.close()
        raise
