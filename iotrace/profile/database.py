"""A profile as a database that somebody else may have made: what SQLite does with it is bounded.

The file is opened immutable, so nothing is locked and no journal or WAL beside it is looked at. Its schema is measured
before SQLite parses it (`pages`). Then every query may take a number of steps of SQLite's virtual machine that is in
proportion to the size of the file: pages that a thousand others refer to are soon found out, on fast machines and slow
ones alike. A query that is silent for too long ends, too; and no value is longer than `LONGEST` bytes. SQLite calls
back all the while, so Ctrl-C works.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from typing import Any, Callable, Iterator, Optional, Tuple, TypeVar

from iotrace.errors import UserError
from iotrace.places import PathLike
from iotrace.profile import pages
from iotrace.untrusted import open_regular

LONGEST = 4 << 20
"""Bytes of a row, and of each value in it."""

CACHE = 2000
"""KiB of pages that are kept in memory, if nobody says otherwise."""

PATIENCE = "IOTRACE_READ_SECONDS"
"""The environment variable that says how long a query may be silent, in seconds of CPU time."""

_PATIENCE = 4.0  # SQLite sorts two million files in that time
_STEPS, _STEPS_PER_BYTE = 2_000_000, 2  # for a query; adding up and sorting the smallest possible rows takes 1.5
_COMPRESSED = 32  # bytes of a file for each byte that its file system has allocated
_EVERY = 2000  # steps between two looks at the clock
# What a signal's handler that raises at the very begin of a function of ours leads to.
_CUT_SHORT = ("interrupted", "user-defined function raised exception")
_LENGTH = 0  # SQLITE_LIMIT_LENGTH
_BATCH = 16  # rows fetched at once: half a microsecond is spent on each batch
_INDEXED = 100 << 20  # bytes of a file; of an index entry, SQLite reads all that it claims to have, at most this

Result = TypeVar("Result")


class ProfileError(UserError):
    """The file is not a profile that can be read."""


class _Query:
    """How much more a query may do."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.begun = 0.0  # CPU time when SQLite was last asked for rows


def _quoted(path: bytes) -> str:
    """As a part of a URI. urllib takes 3 ms to import, and every run reads or writes a profile."""
    return re.sub(rb"[^A-Za-z0-9/_.~-]", lambda byte: b"%%%02X" % ord(byte.group()), path).decode("ascii")


class Database:
    """The database in a file. Errors come out of `honest` blocks as `ProfileError`."""

    def __init__(self, path: PathLike, application: int, check: Callable[[str, int], None], cache: int = CACHE) -> None:
        """Open a database that has that application id. `check` is called with its name and the version of its schema
        before SQLite sees it. It keeps up to `cache` KiB in memory. Raises ProfileError."""
        self.name = os.fsdecode(path)
        where = os.path.abspath(os.fsencode(path))
        self.patience = _patience()
        self._running = _Query(_STEPS)
        self._reason: Optional[str] = None  # why the last query was ended
        self._raised: Optional[BaseException] = None  # by a signal's handler, or by a function that SQLite called
        self.version, self.size, self._room = self._look(where, application, check)
        uri = f"file:{_quoted(where)}?mode=ro&immutable=1"
        try:
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        except sqlite3.Error as error:
            raise ProfileError(f"{self.name}: cannot read profile: {error}") from error
        try:
            with self.honest():
                self._set_bounds(cache)
        except BaseException:
            self.close()
            raise

    def _look(self, where: bytes, application: int, check: Callable[[str, int], None]) -> Tuple[int, int, int]:
        """The version of the schema, the size of the file, and its room; found without SQLite."""
        try:
            descriptor = open_regular(where)
            try:
                status = os.fstat(descriptor)
                size = status.st_size
                # A file without a size may wait in read for what others write, such as the kernel's own.
                header = os.pread(descriptor, 100, 0) if size >= pages.SMALLEST else b""
                if len(header) < 100 or not header.startswith(pages.MAGIC):
                    raise ProfileError(f"{self.name}: not a profile of iotrace")
                with self.honest():
                    found = pages.start(header)
                    if found.application != application:
                        raise ProfileError(f"{self.name}: an SQLite database, but not a profile of iotrace")
                    check(self.name, found.schema)
                    pages.check_schema(descriptor, found.page_size)
                    if not hasattr(sqlite3.Connection, "setlimit"):
                        pages.check_payloads(descriptor, found.page_size, LONGEST, self.patience)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ProfileError(f"{self.name}: cannot read profile: {error.strerror}") from error
        # Not of holes; some file systems compress, and some do not say.
        allocated = status.st_blocks * 512
        return found.schema, size, min(size, _COMPRESSED * allocated) if allocated else size

    def _set_bounds(self, cache: int) -> None:
        connection = self._connection
        limit = getattr(connection, "setlimit", None)  # Python 3.11
        if limit is not None:
            limit(_LENGTH, LONGEST)
        connection.set_progress_handler(self._watch, _EVERY)
        connection.execute("PRAGMA trusted_schema = OFF")  # 3.31; older ones ignore it
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA mmap_size = 0")  # a file that becomes shorter would be SIGBUS
        connection.execute(f"PRAGMA cache_size = -{cache}")  # KiB; the file has a wish of its own

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @property
    def scan(self) -> str:
        """What to put behind the name of a table. Huge files are searched without their indexes."""
        return "NOT INDEXED" if self.size > _INDEXED else ""

    def _watch(self) -> int:
        """Called by SQLite every so many steps; anything but 0 ends the query."""
        try:
            query = self._running
            query.steps -= _EVERY
            if query.steps < 0:
                self._reason = self._overfull()
            elif time.thread_time() - query.begun > self.patience:
                self._reason = (
                    f"no answer within {self.patience:g} s; if you trust the file, {PATIENCE}=60 in the "
                    "environment waits longer"
                )
            return self._reason is not None
        except BaseException as error:  # Ctrl-C: SQLite would lose it
            self._raised = error
            return 1

    @contextlib.contextmanager
    def honest(self) -> Iterator[None]:
        """Within the block, errors from SQLite and from checking values mean that the file is damaged."""
        try:
            yield
        except sqlite3.Error as error:
            raised, reason = self._raised, self._reason
            self._raised = self._reason = None
            if raised is not None:
                raise raised from None
            if reason is None and str(error) in _CUT_SHORT:
                raise KeyboardInterrupt from None
            if isinstance(error, sqlite3.DataError):
                reason = f"a value of more than {LONGEST:,} bytes"
            raise self.damaged(reason or str(error)) from error
        except MemoryError as error:  # SQLite also says so of a row that claims gigabytes
            raise self.damaged("a row asks for more memory than there is (or is there a limit: ulimit -v?)") from error
        except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError) as error:
            raise self.damaged(str(error)) from error

    def charged(self, rows: Iterator[Result], weight: Callable[[Result], int]) -> Iterator[Result]:
        """Pass on rows for as long as their weights, in bytes, are no more than the file can hold."""
        room = self._room
        for row in rows:
            room -= weight(row)
            if room < 0:
                raise self.damaged(self._overfull())
            yield row

    def _overfull(self) -> str:
        return f"more in its tables than a file of {self.size:,} bytes has room for"

    def damaged(self, reason: str) -> ProfileError:
        """The error that says so; what SQLite quotes of the file's contents is cut."""
        return ProfileError(f"{self.name}: damaged profile: {' '.join(reason.split())[:200]}")

    def query(self, sql: str, parameters: Tuple[Any, ...] = ()) -> Iterator[Tuple[Any, ...]]:
        """The rows, as they are asked for. Queries may be under way side by side."""
        mine = _Query(_STEPS + _STEPS_PER_BYTE * self._room)
        self._begin(mine)
        cursor = self._connection.execute(sql, parameters)
        while True:
            self._begin(mine)
            rows = cursor.fetchmany(_BATCH)
            if not rows:
                return
            yield from rows

    def _begin(self, query: _Query) -> None:
        query.begun = time.thread_time()
        self._running = query

    def look_up(self, sql: str, key: int) -> Iterator[Tuple[Any, ...]]:
        """The rows of one key, of which there are few; faster than `query`, on whose account it goes."""
        return self._connection.execute(sql, (key,))

    def define(self, name: str, function: Callable[..., bool]) -> None:
        """Let queries call a function, which depends on nothing but its arguments."""

        def called(*values: Any) -> bool:
            try:
                return function(*values)
            except BaseException as error:
                self._raised = error
                raise

        self._connection.create_function(name, -1, called, deterministic=True)


def _patience() -> float:
    """Seconds of CPU time that a query may be silent."""
    try:
        wanted = float(os.environ.get(PATIENCE, _PATIENCE))
    except ValueError:
        wanted = 0.0
    if not 0 < wanted < 1e9:
        raise UserError(f"{PATIENCE}={os.environ[PATIENCE]}: not a number of seconds")
    return wanted


def weight(value: Any) -> int:
    """The least number of bytes that a value takes; what is of no valid type is refused where it is used."""
    return len(value) if isinstance(value, (bytes, str)) else 0
