"""From the rows of a profile to records. A profile is hostile input: a value that is not valid is a ValueError."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from iotrace.profile.metrics import FILE, SYSCALL, TOTALS, FileStats, Metric, SyscallStats
from iotrace.profile.parts import ABSENT, COLUMNS, Part
from iotrace.profile.series import numbered, read
from iotrace.profile.values import (
    COUNT,
    FLAG,
    MAX_COUNTER,
    MAYBE,
    Histogram,
    Kind,
    check_counts,
    check_names,
    check_path,
    check_range,
    check_short_text,
    fine_above,
    latest,
    most,
)
from iotrace.untrusted import parse_json

_LONGEST_CALLS = 1 << 20  # characters of JSON, for all system calls of a file together


def _picker(kinds: Sequence[Kind], wanted: Sequence[Kind]) -> Callable[[Sequence[Any]], Tuple[Any, ...]]:
    """A function that picks the values of the wanted kinds out of a row."""
    places = [index for index, kind in enumerate(kinds) if kind in wanted]
    if len(places) < 2:  # itemgetter returns a tuple only for two and more
        return lambda row: tuple(row[index] for index in places)
    return itemgetter(*places)


class _Checked:
    """Checks the values of some metrics, given in their order, and converts them to those of a record."""

    def __init__(self, metrics: Sequence[Metric], convert: Callable[[Kind], Callable[[Any], Any]]) -> None:
        """`convert` returns the conversion for a kind. Numbers, which most values are, are checked all at once."""
        kinds = [metric.kind for metric in metrics]
        self._counts, self._maybes = _picker(kinds, (COUNT, FLAG)), _picker(kinds, (MAYBE,))
        self._others = [
            (index, bool if kind == FLAG else convert(kind))
            for index, kind in enumerate(kinds)
            if kind not in (COUNT, MAYBE)
        ]

    def __call__(self, values: List[Any]) -> List[Any]:
        """Convert the list in place and return it. Raises ValueError."""
        check_counts(self._counts(values), self._maybes(values))
        for index, convert in self._others:
            values[index] = convert(values[index])
        return values


class FileDecoder:
    """Makes files from rows with these columns. Metrics without a column keep their defaults."""

    def __init__(self, columns: Sequence[Metric]) -> None:
        self._names = [metric.name for metric in columns]
        self._checked = _Checked(columns, lambda kind: kind.load)

    def __call__(self, row: Sequence[Any]) -> FileStats:
        """A file without its system calls. Raises ValueError."""
        return FileStats(**dict(zip(self._names, self._checked(list(row)))))


_checked_call = _Checked(SYSCALL, lambda kind: kind.parse or kind.load)


_numbers = _picker([metric.kind for metric in SYSCALL], (COUNT, MAYBE))


def _checked_values(values: Tuple[Any, ...]) -> SyscallStats:
    checked = _checked_call(list(values))
    check_range(_numbers(checked))
    return SyscallStats(*checked)


def _make_call() -> Callable[[Tuple[Any, ...]], SyscallStats]:
    """Make a function that decodes a system call, with every check spelt out: a profile has millions of them.

    What is not as it mostly is, is left to `_checked_values`, which says what is wrong.
    """
    names = [metric.name for metric in SYSCALL]
    counts = [metric.name for metric in SYSCALL if metric.kind == COUNT]
    maybes = [metric.name for metric in SYSCALL if metric.kind == MAYBE]
    others = [metric for metric in SYSCALL if metric.kind not in (COUNT, MAYBE)]
    made: Dict[str, Any] = {f"to_{metric.name}": metric.kind.parsed for metric in others}
    made.update(SyscallStats=SyscallStats, checked=_checked_values, INT={int}, TOP=MAX_COUNTER)
    numbers = ", ".join(counts)
    maybe = " and ".join(f"({name} is None or type({name}) is int and 0 <= {name} <= TOP)" for name in maybes)
    values = [
        name if name in (*counts, *maybes) else f"{{}} if {name} is None else to_{name}({name})" for name in names
    ]
    source = f"""
def call(values):
    {", ".join(names)} = values
    if {{{", ".join(f"type({name})" for name in counts)}}} == INT:
        if min({numbers}) >= 0 and max({numbers}) <= TOP and {maybe}:
            return SyscallStats({", ".join(values)})
    return checked(values)
"""
    exec(source, made)
    return made["call"]  # type: ignore[no-any-return]


_usual_call = _make_call()
_MISSING = [ABSENT[length:] for length in range(len(ABSENT) + 1)]  # of an array of that length


def _call(values: object) -> SyscallStats:
    if type(values) is not list or not 1 <= len(values) <= len(ABSENT):
        raise ValueError("a system call is not an array of values")
    return _usual_call((*values, *_MISSING[len(values)]))


def read_calls(text: object) -> Dict[str, SyscallStats]:
    """The system calls in a value of `calls.by_syscall`; none for None, a file without a row. Raises ValueError."""
    if text is None:
        return {}
    if type(text) is not str or len(text) > _LONGEST_CALLS:
        raise ValueError("the system calls of a file are not an object, or too long")
    table = parse_json(text)
    if type(table) is not dict:
        raise ValueError("the system calls of a file are not an object, or too long")
    check_names(table)
    return {name: _call(values) for name, values in table.items()}


def halved(histogram: Histogram) -> Histogram:
    """A histogram of latencies with four buckets for each power of two, in eight: half of each goes to either half."""
    finer: Histogram = {}
    for lower, count in histogram.items():
        half = count // 2 if lower >= 128 else 0  # where buckets of 16 ns end
        finer[lower] = count - half
        if half:
            finer[fine_above(lower)] = half
    return finer


def read_older_calls(text: object) -> Dict[str, SyscallStats]:
    """The same of a profile whose version is one of `FOURTHS`."""
    calls = read_calls(text)
    for call in calls.values():
        call.latency_ns, call.storage_latency_ns = halved(call.latency_ns), halved(call.storage_latency_ns)
    return calls


_decoded = FileDecoder(COLUMNS)


def file_of(part: Part, interval_ns: Optional[int] = None) -> FileStats:
    """The file whose rows a part consists of, with its intervals of that length."""
    file = _decoded(part.columns[: len(COLUMNS)])
    file.syscalls = read_calls(part.by_syscall)
    if isinstance(part.series, bytes):
        file.series = numbered(part.series, interval_ns or 1)
    else:
        file.series = read(part.series)
    return file


# --- what tables need ------------------------------------------------------------------------------------------------


class Sums(NamedTuple):
    """What tables add up over files."""

    bytes_read: int = 0
    bytes_written: int = 0
    calls: int = 0
    errors: int = 0
    syncs: int = 0
    busy_ns: int = 0


class Marks(NamedTuple):
    """Properties of a file, 0 or 1; for several files, 1 if any has it."""

    deleted: int = 0
    mapped: int = 0
    renamed: int = 0  # it has another name now
    folded: int = 0  # temporary files that became this one are part of it
    unreachable: int = 0  # no path leads to it


class FileRow(NamedTuple):
    """What tables need to know about a file."""

    path: bytes
    mnt_ns: int
    device: str
    fstype: str
    marks: Marks
    sums: Sums
    host: str = ""


def add_sums(a: Sums, b: Sums) -> Sums:
    """The sums over two groups of files together."""
    return Sums(*[x + y for x, y in zip(a, b)])


_MARKS_AT = 5
_SUMS_AT = _MARKS_AT + len(Marks._fields)
ROW_COLUMNS: Tuple[str, ...] = (*FileRow._fields[:4], "host", *Marks._fields, *Sums._fields)
"""The columns that `read_row` expects. `SQL` has expressions for those that are not columns of `file`."""

SQL = {"renamed": "(renamed_to IS NOT NULL)", "folded": "(0 + 0)"}


def read_row(row: Tuple[Any, ...], host: str = "") -> FileRow:
    """A file from a row of `ROW_COLUMNS`; `host` is that of the run. Raises ValueError."""
    path, mnt_ns, device, fstype, own_host = row[:_MARKS_AT]
    check_path(path)
    if own_host is not None:
        check_short_text(own_host)
        host = own_host
    check_short_text(device, fstype)
    check_counts((mnt_ns, *row[_MARKS_AT:]))
    marks, sums = Marks._make(row[_MARKS_AT:_SUMS_AT]), Sums._make(row[_SUMS_AT:])
    return FileRow(path, mnt_ns, device, fstype, marks, sums, host)


_MERGES: Dict[str, Callable[[Any, Any], Any]] = {
    "renamed": latest,
    "folded": most,
    **{metric.name: metric.merge for metric in (*FILE, *TOTALS)},
}
_MARKS = [_MERGES[name] for name in Marks._fields]


def add_rows(a: FileRow, b: FileRow) -> FileRow:
    """The sum of the rows of one file in two profiles, of which `b` is the later one."""
    marks = Marks(*[merge(x, y) for merge, x, y in zip(_MARKS, a.marks, b.marks)])
    return b._replace(marks=marks, sums=add_sums(a.sums, b.sums))
