"""A file, or a part of one, as the rows of a profile: what the collector makes and the writer adds up.

The order of the columns, and of what is stored of a system call, is the table's (`metrics`). Whoever makes a row has
the values by name.
"""

from __future__ import annotations

import json
from operator import attrgetter
from typing import Any, Callable, Dict, Mapping, NamedTuple, Tuple

from iotrace.profile.metrics import FILE, SYSCALL, TOTALS, CallTotals, FileStats, Metric, SyscallStats
from iotrace.profile.values import COUNT, MAX_COUNTER, MAYBE


class Edges(NamedTuple):
    """What is at the ends of a part, needed to add it to the parts before and after it."""

    order: int  # parts of a file are added up in this order
    generation: int = 0  # of its inode, whose number may have been used before
    first_write: int = 0  # offset of the first write, plus one; 0: none
    last_write: int = 0
    first_sync: int = 0  # bytes that the first sync covered, plus one; 0: none
    changes: int = 0  # of names, which the part had seen already: see `Writer.change`


class Part(NamedTuple):
    """A file, or a part of one, as its rows."""

    columns: Tuple[Any, ...]  # of `file`, without the id
    by_syscall: str
    edges: Edges

    @property
    def path(self) -> bytes:
        """The file's, as of its first traced I/O."""
        path: bytes = self.columns[_PATH]
        return path


COLUMNS: Tuple[Metric, ...] = tuple(metric for metric in FILE if metric.kind.column)
"""Of a file, in the order of the table `file`; the columns of `metrics.TOTALS` follow."""

_PATH = [metric.name for metric in COLUMNS].index("path")


_file_values, _total_values = (attrgetter(*(metric.name for metric in metrics)) for metrics in (COLUMNS, TOTALS))
_STORED = [(index, metric.kind.store) for index, metric in enumerate(COLUMNS) if metric.kind.store is not None]


def columns(file: object, totals: object) -> Tuple[Any, ...]:
    """The row of `file`, without the id, of what has each metric of a file, and each total, as an attribute."""
    row = list(_file_values(file))
    for index, store in _STORED:
        row[index] = store(row[index])
    return (*row, *_total_values(totals))


_NAMES = [metric.name for metric in SYSCALL]


def _make_call_text() -> Callable[..., str]:
    """A function with a parameter for each metric of a system call, as `namedtuple` makes one for each field."""
    array = "[" + ",".join("{" + name + "}" for name in _NAMES) + "]"
    made: Dict[str, Any] = {}
    exec(f"def call_text(*, {', '.join(_NAMES)}): return f'{array}'", made)
    return made["call_text"]  # type: ignore[no-any-return]


call_text = _make_call_text()
"""What is stored of a system call, of a number or JSON text for each of its metrics: TypeError if one is missing."""

ABSENT: Tuple[Any, ...] = tuple(0 if metric.kind == COUNT else None for metric in SYSCALL)
"""What is stored of a system call of which nothing is known."""


def call_json(values: Mapping[str, object]) -> str:
    """The same out of values as `json.dumps` takes them, as few as there are: what is missing is as in `ABSENT`.

    What would be so anyway is left out at the end. Raises KeyError for a name that is not in the table.
    """
    unknown = values.keys() - _NAMES
    if unknown:
        raise KeyError(*unknown)
    row = [absent if values.get(name) in (None, {}) else values[name] for name, absent in zip(_NAMES, ABSENT)]
    while len(row) > 1 and row[-1] == ABSENT[len(row) - 1]:
        row.pop()
    return json.dumps(row, separators=(",", ":"))


def _call_values(call: SyscallStats) -> Dict[str, object]:
    values = {metric.name: metric.kind.dumped(getattr(call, metric.name)) for metric in SYSCALL}
    if max(values[name] or 0 for name in _NUMBERS) > MAX_COUNTER:
        raise OverflowError("a counter is larger than 2^63-1")
    return values


_NUMBERS = [metric.name for metric in SYSCALL if metric.kind in (COUNT, MAYBE)]


def as_part(file: FileStats, edges: Edges) -> Part:
    """The rows of a file. Raises OverflowError for a number that SQLite has no room for."""
    calls = [f"{json.dumps(name)}:{call_json(_call_values(call))}" for name, call in sorted(file.syscalls.items())]
    row = columns(file, CallTotals.of(file.syscalls))
    return Part(row, "{" + ",".join(calls) + "}", edges)
