"""A file, or a part of one, in the form of rows: what the collector makes and the writer stores.

The table of metrics determines the order of columns and of the values stored for a system call. Callers of this module
pass values by name.
"""

from __future__ import annotations

import functools
import json
from operator import attrgetter
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Tuple, Union

from iotrace.profile.metrics import FILE, SYSCALL, TOTALS, CallTotals, FileStats, Metric, SyscallStats
from iotrace.profile.series import Raw, encode
from iotrace.profile.values import COUNT, FINE, HISTOGRAM, MAX_COUNTER, MAYBE, SIZES
from iotrace.profile.values import encode as encode_table


class Edges(NamedTuple):
    """The state at both ends of a part, which is needed to join it to the parts before and after it."""

    order: int  # the parts of a file are added up in this order
    generation: int = 0  # of its inode, whose number may have been used before
    first_write: int = 0  # offset of the first write, plus one; 0: none
    last_write: int = 0
    first_sync: int = 0  # bytes that the first sync covered, plus one; 0: none
    born: int = 0  # 1: the open that the part begins with has created the file
    stale: int = 0  # of its unsynced bytes: those of files that had the path before the one at its end
    went: Optional[bytes] = None  # the path that all of those were renamed to
    row: int = 0  # where a file has several rows (`FileStats.who`): tells them apart; else 0


class Part(NamedTuple):
    """The rows of a file, or of a part of one."""

    columns: Tuple[Any, ...]  # of `file`, without the id
    by_syscall: str
    edges: Edges
    series: Union[Raw, str, None] = None  # rows whose intervals are not numbered yet, or JSON text of `series`

    @property
    def path(self) -> bytes:
        """The path of the file, as of its first traced I/O."""
        path: bytes = self.columns[_PATH]
        return path

    @property
    def renamed_to(self) -> Optional[bytes]:
        """The path that the file has now, where that is another one."""
        path: Optional[bytes] = self.columns[_RENAMED_TO]
        return path


COLUMNS: Tuple[Metric, ...] = tuple(metric for metric in FILE if metric.kind.column)
"""The columns of the table `file` in their order, after the id; those of `metrics.TOTALS` follow."""

_PATH, _RENAMED_TO = ([metric.name for metric in COLUMNS].index(name) for name in ("path", "renamed_to"))


def _make_columns() -> Callable[[object, object], Tuple[Any, ...]]:
    """Make a function that reads each attribute by its name, as `namedtuple` does, and has it stored as its kind is."""
    made: Dict[str, Any] = {}
    values = []
    for metric in COLUMNS:
        value = f"file.{metric.name}"
        if metric.kind.store is not None:
            made[f"store_{metric.name}"] = metric.kind.store
            value = f"store_{metric.name}({value})"
            if metric.kind.store is encode_table:
                value += f" if file.{metric.name} else None"
        values.append(value)
    values += [f"totals.{metric.name}" for metric in TOTALS]
    exec(f"def columns(file, totals):\n    return ({', '.join(values)})", made)
    return made["columns"]  # type: ignore[no-any-return]


columns = _make_columns()
"""A row of the table `file` without its id. The arguments have every metric, and every total, as an attribute."""

_NAMES = [metric.name for metric in SYSCALL]


ABSENT: Tuple[Any, ...] = tuple(0 if metric.kind == COUNT else None for metric in SYSCALL)
"""The values stored for a system call about which nothing is known."""


def call_texts(*given: str) -> Callable[..., str]:
    """A function that makes what is stored for a system call, in the way that `namedtuple` makes one.

    It has a parameter for each metric that is given, a number or JSON text; the others are as in `ABSENT`. Zeros and
    nulls at the end are left out.
    """
    last = max(map(_NAMES.index, given))
    absent = ["{" + name + "}" if name in given else json.dumps(value) for name, value in zip(_NAMES, ABSENT)]
    made: Dict[str, Any] = {}
    source = f"""
def call_text({", ".join(given)}):
    text = f'[{",".join(absent[: last + 1])}'
    while text.endswith((",0", ",null")):
        text = text[: text.rindex(",")]
    return text + "]"
"""
    exec(source, made)
    return made["call_text"]  # type: ignore[no-any-return]


call_text = call_texts(*_NAMES)
"""What is stored for a system call: takes a number or JSON text for each metric. TypeError if one is missing."""


def call_json(values: Mapping[str, object]) -> str:
    """What is stored for a system call: takes values that `json.dumps` accepts; missing ones are as in `ABSENT`.

    Values at the end that equal those of `ABSENT` are left out. Raises KeyError for a name that is not in the table.
    """
    unknown = values.keys() - _NAMES
    if unknown:
        raise KeyError(*unknown)
    row = [absent if values.get(name) in (None, {}) else values[name] for name, absent in zip(_NAMES, ABSENT)]
    while len(row) > 1 and row[-1] == ABSENT[len(row) - 1]:
        row.pop()
    return json.dumps(row, separators=(",", ":"))


_values_of = attrgetter(*_NAMES)
_NUMBERS = [metric.kind in (COUNT, MAYBE) for metric in SYSCALL]
_TABLES = [metric.kind in (HISTOGRAM, FINE, SIZES) for metric in SYSCALL]  # whose keys are numbers
_DUMPS = [metric.kind.dumped for metric in SYSCALL]


def _call_of(call: SyscallStats) -> str:
    """`call_json` of a record, in a quarter of the time: merging makes millions of them."""
    values = _values_of(call)
    last = len(values)
    while last > 1 and (values[last - 1] == ABSENT[last - 1] or values[last - 1] == {}):
        last -= 1
    texts = []
    for value, number, table, dump in zip(values[:last], _NUMBERS, _TABLES, _DUMPS):
        if number and value is not None:
            if value > MAX_COUNTER:
                raise OverflowError("a counter is larger than 2^63-1")
            texts.append(str(value))
        elif not value:
            texts.append("null")
        else:
            texts.append(encode_table(value) or "" if table else json.dumps(dump(value), separators=(",", ":")))
    return "[" + ",".join(texts) + "]"


_quoted = functools.lru_cache(maxsize=1024)(json.dumps)


def as_part(file: FileStats, edges: Edges) -> Part:
    """The rows of a file. Raises OverflowError if a number is too large for SQLite."""
    calls = [f"{_quoted(name)}:{_call_of(call)}" for name, call in sorted(file.syscalls.items())]
    row = columns(file, CallTotals.of(file.syscalls))
    return Part(row, "{" + ",".join(calls) + "}", edges, encode(file.series) if file.series else None)
