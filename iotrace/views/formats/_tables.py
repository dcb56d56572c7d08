"""A profile as tables in which each value stands once: their columns, and their rows. `README.md` describes them.

All of it is derived from the table of metrics: numbers and texts of a file become columns of `file`, those of a system
call columns of `operation`, those of a run columns of `run`. What has many values has a row for each in a table of its
own. A kind of value that is not known here becomes JSON text.
"""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from iotrace.profile import values
from iotrace.profile.failed_opens import FAILED_OPENS
from iotrace.profile.merge import with_runs
from iotrace.profile.metrics import FILE, HEADER, SYSCALL, FileStats, Header, Metric, SyscallStats
from iotrace.profile.runs import RUNS
from iotrace.profile.series import COUNTERS
from iotrace.profile.values import Histogram, Kind, fine_above
from iotrace.profile.whose import WHO
from iotrace.text import portable, portable_text
from iotrace.views.formats._runs import Run
from programs.facts.catalogue import WITHOUT_DATA

TEXT, JSON, INTEGER, UNSIGNED, FLAG = "text", "JSON", "integer", "unsigned", "flag"
"""The types of columns: UTF-8; the text of a JSON value; numbers from 0 to 2^63-1; to 2^64-1; true or false.

All may be null. Every text, those within JSON too, is `portable`.
"""


class Column(NamedTuple):
    """A column of a table."""

    name: str
    type: str
    doc: str


class Table(NamedTuple):
    """A table. A row has a value for each column: a str, an int, a bool, as its type is, or None."""

    name: str
    columns: Tuple[Column, ...]


Row = Tuple[Any, ...]
_RUN = Column("run", TEXT, "which run: the `run` of the table `run`")
_FILE_ID = Column("file_id", INTEGER, "which file: with `run` the key of the table `file`")
_OPERATION = Column("operation", TEXT, "the system call, such as `pread64`")
_INTERVAL = (
    Column("interval", INTEGER, "its number, from 0 when the run began; null: no interval is known"),
    Column("start_ns", INTEGER, "when it began"),
)
_COUNT = Column("count", INTEGER, "how often")


# --- values ----------------------------------------------------------------------------------------------------------


def _leaves(value: Any) -> Any:
    """A value for `json.dumps` with every text in it made portable."""
    if isinstance(value, dict):
        return {portable_text(str(key)): _leaves(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_leaves(part) for part in value]
    return portable_text(value) if isinstance(value, str) else value


def _json(kind: Kind) -> Callable[[Any], Optional[str]]:
    return lambda value: None if value is None else json.dumps(_leaves(kind.dumped(value)), ensure_ascii=False)


def _maybe(convert: Callable[[Any], str]) -> Callable[[Any], Optional[str]]:
    return lambda value: None if value is None else convert(value)


_SIMPLE: Dict[Kind, Tuple[str, Optional[Callable[[Any], Any]]]] = {
    values.COUNT: (INTEGER, None),
    values.MAYBE: (INTEGER, None),
    values.UNSIGNED: (UNSIGNED, None),
    values.FLAG: (FLAG, None),
    values.TEXT: (TEXT, portable_text),
    values.MAYBE_TEXT: (TEXT, _maybe(portable_text)),
    values.STATE: (TEXT, None),
    values.PATH: (TEXT, portable),
    values.MAYBE_PATH: (TEXT, _maybe(portable)),
    WHO: (TEXT, lambda who: None if who is None else f"{who.by}:{portable(who.word)}"),
}
_HISTOGRAMS = (values.HISTOGRAM, values.FINE)
_ELSEWHERE = (  # in rows of their own
    *_HISTOGRAMS,
    values.COUNTS,
    values.SIZES,
    values.TEXTS,
    values.NESTED_COUNTS,
    FAILED_OPENS,
    RUNS,
)


class _Columns:
    """The columns that a record has in the table of its own."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        wanted = [metric for metric in metrics if metric.kind not in _ELSEWHERE]
        found = [(metric, *_SIMPLE.get(metric.kind, (JSON, _json(metric.kind)))) for metric in wanted]
        self.columns = tuple(Column(metric.name, type, metric.doc) for metric, type, _ in found)
        self._names = [metric.name for metric in wanted]
        self._conversions = [(i, convert) for i, (_, _, convert) in enumerate(found) if convert is not None]

    def of(self, record: object) -> List[Any]:
        known = vars(record)
        row = [known[name] for name in self._names]
        for index, convert in self._conversions:
            row[index] = convert(row[index])
        return row


def _named(metrics: Sequence[Metric], *kinds: Kind) -> List[Metric]:
    return [metric for metric in metrics if metric.kind in kinds]


_of_run, _of_file, _of_call = map(_Columns, (HEADER, FILE, SYSCALL))
_NOT_OF_ALL = [
    1 + index
    for index, column in enumerate(_of_call.columns)
    if column.name in {metric.name for metric in SYSCALL if metric.of_transfers}
]  # the places, after that of the name, of what calls without data do not have


# --- tables ----------------------------------------------------------------------------------------------------------


_ERRNO = Column("errno", TEXT, "such as `ENOSPC`")
_SHAPES: Dict[Kind, Tuple[Column, ...]] = {
    values.COUNTS: (Column("what", TEXT, "what was counted"), _COUNT),
    values.TEXTS: (Column("what", TEXT, "of what"), Column("text", TEXT, "what there is to say")),
    values.NESTED_COUNTS: (_OPERATION, _ERRNO, _COUNT),
    FAILED_OPENS: (
        Column("path", TEXT, "what was opened; null: all others"),
        _ERRNO,
        Column("cut", FLAG, "the path has more bytes"),
        _COUNT,
    ),
    RUNS: (
        Column("id", TEXT, "the identity of the run"),
        Column("host", TEXT, "where it was"),
        Column("started_ns", INTEGER, "when tracing began"),
        Column("ended_ns", INTEGER, "when tracing ended"),
        Column("times", INTEGER, "how often it has been added"),
    ),
}
_ROWS: Dict[Kind, Callable[[Any], Iterable[Row]]] = {
    values.COUNTS: lambda table: ((portable_text(what), count) for what, count in sorted(table.items())),
    values.TEXTS: lambda table: ((portable_text(what), portable_text(text)) for what, text in sorted(table.items())),
    values.NESTED_COUNTS: lambda table: (
        (portable_text(name), portable_text(errno), count)
        for name, counts in sorted(table.items())
        for errno, count in sorted(counts.items())
    ),
    FAILED_OPENS: lambda opens: (
        (_maybe(portable)(path), portable_text(errno), cut, times) for path, errno, cut, times in opens
    ),
    RUNS: lambda runs: ((run.id, portable_text(run.host), *run[2:]) for run in runs),
}
_RENAMED = {"runs": "merged_run"}  # a table `run` there is already
PARTS = {_RENAMED.get(metric.name, metric.name): metric for metric in _named(HEADER, *_SHAPES)}
"""The metrics of a run that have a table of their own, by its name."""
OF_RUNS = ("run", *PARTS)
"""The tables that say nothing about files."""

TABLES: Dict[str, Table] = {
    table.name: table
    for table in (
        Table("run", (_RUN, *_of_run.columns)),
        *(Table(name, (_RUN, *_SHAPES[metric.kind])) for name, metric in PARTS.items()),
        Table("file", (_RUN, _FILE_ID, *_of_file.columns)),
        Table("operation", (_RUN, _FILE_ID, _OPERATION, *_of_call.columns)),
        Table(
            "histogram",
            (
                _RUN,
                _FILE_ID,
                _OPERATION._replace(doc="the system call; null if the metric is one of the file"),
                Column("metric", TEXT, "of what, such as `requested`"),
                Column("lower", UNSIGNED, "the smallest value that falls into the bucket"),
                Column("upper", UNSIGNED, "the largest"),
                _COUNT,
            ),
        ),
        Table("error", (_RUN, _FILE_ID, _OPERATION, _ERRNO, _COUNT)),
        Table("common_size", (_RUN, _FILE_ID, _OPERATION, Column("size", UNSIGNED, "bytes asked for"), _COUNT)),
        Table("series", (_RUN, _FILE_ID, *_INTERVAL, *(Column(name, INTEGER, doc) for name, doc in COUNTERS.items()))),
    )
}
"""Every table by its name."""


# --- rows ------------------------------------------------------------------------------------------------------------


def rows(runs: Sequence[Run]) -> Iterator[Tuple[str, Row]]:
    """The rows of all tables, each with the name of its table, as the files are read."""
    for run in runs:
        yield from _header_rows(run)
        for number, file in run.files:
            yield "file", (run.id, number, *_of_file.of(file))
            yield from _file_rows(run.id, number, file)
            yield from _series_rows(run, number, file)


def _header_rows(run: Run) -> Iterator[Tuple[str, Row]]:
    yield "run", (run.id, *_of_run.of(run.header))
    for name in PARTS:
        for row in part_rows(run.header, name):
            yield name, (run.id, *row)


def part_rows(header: Header, name: str) -> Iterable[Row]:
    """The rows of one of `PARTS`, without the run in front."""
    metric = PARTS[name]
    return _ROWS[metric.kind](getattr(with_runs(header) if metric.kind == RUNS else header, metric.name))


_FILE_HISTOGRAMS = [metric.name for metric in _named(FILE, *_HISTOGRAMS)]
_CALL_HISTOGRAMS = [(metric.name, metric.kind == values.FINE) for metric in _named(SYSCALL, *_HISTOGRAMS)]
_CALL_SIZES = [metric.name for metric in _named(SYSCALL, values.SIZES)]


_Rows = List[Tuple[str, Row]]


def _file_rows(run: str, number: int, file: FileStats) -> _Rows:
    """What there is of one file: a list, since a row that goes through several generators takes as long as to write."""
    found: _Rows = []
    for name in _FILE_HISTOGRAMS:
        histogram = getattr(file, name)
        if histogram:
            _add_buckets(found, (run, number, None, name), histogram, fine=False)
    for name, call in sorted(file.syscalls.items()):
        operation = portable_text(name)
        values_of_call = [operation, *_of_call.of(call)]
        if name in WITHOUT_DATA:
            for place in _NOT_OF_ALL:
                values_of_call[place] = None
        found.append(("operation", (run, number, *values_of_call)))
        _add_call_rows(found, (run, number, operation), call)
    return found


def _series_rows(run: Run, number: int, file: FileStats) -> Iterator[Tuple[str, Row]]:
    begun, length = run.header.started_ns, run.header.interval_ns or 0
    for interval, *counters in file.series:
        start = None if interval is None else min(begun + interval * length, values.MAX_COUNTER)
        yield "series", (run.id, number, interval, start, *counters)


def _add_call_rows(found: _Rows, key: Tuple[Any, ...], call: SyscallStats) -> None:
    coarse = not call.latency_sum_ns and any(call.latency_ns)  # of a profile of schema 3 or before
    for name, fine in _CALL_HISTOGRAMS:
        histogram = getattr(call, name)
        if histogram:
            _add_buckets(found, (*key, name), histogram, fine=fine and not coarse)
    if call.errors:
        found += [("error", (*key, portable_text(errno), count)) for errno, count in sorted(call.errors.items())]
    for name in _CALL_SIZES:
        sizes = getattr(call, name)
        if sizes:
            found += [("common_size", (*key, size, count)) for size, count in sorted(sizes.items())]


def _add_buckets(found: _Rows, key: Tuple[Any, ...], histogram: Histogram, *, fine: bool) -> None:
    for lower, count in sorted(histogram.items()):
        upper = fine_above(lower) - 1 if fine else 2 * lower - 1 if lower else 0
        found.append(("histogram", (*key, lower, upper, count)))
