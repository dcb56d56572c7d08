"""Reading what a profile says about the run as a whole: a few tables of bounded size, whatever the number of files."""

from __future__ import annotations

from typing import Any, Collection, Dict, Iterator, List, Set, Tuple

from iotrace.profile import failed_opens, runs
from iotrace.profile.database import Database
from iotrace.profile.failed_opens import FailedOpen
from iotrace.profile.metrics import HEADER, Header
from iotrace.profile.runs import Run
from iotrace.profile.values import check_text
from iotrace.untrusted import parse_json

_HEADER = {metric.name: metric for metric in HEADER}
_TABLES_OF_THEIR_OWN = ("lost", "unattributed", "failed_opens", "runs")  # for these; the rest is in `meta`
_IN_META = [name for name in _HEADER if name not in _TABLES_OF_THEIR_OWN]
_LONGEST_HEADER = 2 << 20  # characters of JSON: what the kernel lets a command have. In memory up to 60 times as many
_HEADER_ROWS = 10_000  # of each of its tables: more than there are pairs of a system call and an errno
_LONGEST_PATHS = 16 << 20  # bytes of all paths of failed opens
_ROOM_FOR_NAME = 256  # characters


def read_header(database: Database, tables: Collection[str]) -> Header:
    """What a profile with these tables says about the run as a whole. Raises ValueError, and what `Database` does."""
    told: Dict[str, Any] = {}
    left = _LONGEST_HEADER
    known = ", ".join(f"'{name}'" for name in _IN_META)
    # What others have added is not even fetched.
    for key, text in _few(database, "meta", f"key, CASE WHEN key IN ({known}) THEN value END"):
        if key in _IN_META:
            check_text(text)
            left -= len(text)
            if left < 0:
                raise ValueError(f"meta has more than {_LONGEST_HEADER:,} characters")
            told[key] = _HEADER[key].kind.parsed(parse_json(text))
    lost = _HEADER["lost"].default()
    for what, count in _few(database, "lost", "what, count"):
        _check_names(what)
        lost[what] = count
    unattributed: Dict[str, Dict[str, Any]] = {}
    for syscall, errno, count in _few(database, "unattributed", "syscall, errno, count"):
        _check_names(syscall, errno)
        unattributed.setdefault(syscall, {})[errno] = count
    told["lost"] = _HEADER["lost"].kind.parsed(lost)
    told["unattributed"] = _HEADER["unattributed"].kind.parsed(unattributed)
    if "failed_open" in tables:
        told["failed_opens"] = list(_read_failed_opens(database))
    if "run" in tables:
        told["runs"] = _read_runs(database)
    return Header(**told)


def _read_failed_opens(database: Database) -> Iterator[FailedOpen]:
    left = _LONGEST_PATHS
    for row in _few(database, "failed_open", "path, errno, cut, count"):
        failed = failed_opens.from_row(row)
        left -= len(failed.path or b"")
        if left < 0:
            raise ValueError(f"failed_open has more than {_LONGEST_PATHS:,} bytes of paths")
        yield failed


def _read_runs(database: Database) -> List[Run]:
    found = list(map(runs.from_row, _few(database, "run", ", ".join(Run._fields))))
    if len({run.id for run in found}) < len(found):
        raise ValueError("table run has a row twice")
    return found


def _few(database: Database, table: str, columns: str) -> Iterator[Tuple[Any, ...]]:
    """The rows of a table, of which there are not many; the last column says something about the others."""
    before: Set[Any] = set()
    query = f"SELECT {columns} FROM main.{table} LIMIT {_HEADER_ROWS + 1}"
    for number, row in enumerate(database.query(query)):
        if number == _HEADER_ROWS:
            raise ValueError(f"table {table} has more than {_HEADER_ROWS:,} rows")
        if row[:-1] in before:
            raise ValueError(f"table {table} has a row twice")
        before.add(row[:-1])
        yield row


def _check_names(*names: object) -> None:
    check_text(*names)
    if max(map(len, names)) > _ROOM_FOR_NAME:  # type: ignore[arg-type]
        raise ValueError(f"a name of more than {_ROOM_FOR_NAME} characters")
