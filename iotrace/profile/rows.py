"""From the rows of a profile to what they mean. A profile is hostile input: every value is checked, ValueError if not.

The same few histograms recur in most files, so what was decoded is kept for a while.
"""

from __future__ import annotations

import functools
import json
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from iotrace.profile.model import MAX_COUNTER, FileStats, Histogram, SyscallStats
from iotrace.profile.schema import CALL_FIELDS, SCALARS

_OPTIONAL = frozenset(
    (
        "lowest_offset",
        "highest_offset",
        "first_read_ns",
        "last_read_ns",
        "first_write_ns",
        "last_write_ns",
        "last_sync_ns",
    )
)
_BLOBS_AND_TEXTS = frozenset(("path", "renamed_to", "device", "fstype", "inode"))
_COUNTS = tuple(i for i, n in enumerate(SCALARS) if n not in _OPTIONAL and n not in _BLOBS_AND_TEXTS)
_MAYBES = tuple(i for i, n in enumerate(SCALARS) if n in _OPTIONAL)
_LONGEST_TABLE = 16384  # characters of JSON: 65 buckets, or every errno there is, with 19 digits each, fit twice
_LONGEST_CALLS = 64 * _LONGEST_TABLE  # of all system calls together

_INTEGERS = {int}
_OPTIONAL_INTEGERS = {int, type(None)}


class FileRow(NamedTuple):
    """What tables need to know of a file, without its system calls."""

    path: bytes
    mnt_ns: int
    device: str
    fstype: str
    deleted: int
    mapped: int
    renamed: int
    bytes_read: int
    bytes_written: int
    calls: int
    errors: int
    syncs: int
    busy_ns: int  # at least so long its calls took: the sum of the lower bounds of their latencies


def check(counts: List[Any], maybes: List[Any]) -> None:
    """Counts must be whole and not negative, the others may be unknown as well."""
    if not (_INTEGERS.issuperset(map(type, counts)) and _OPTIONAL_INTEGERS.issuperset(map(type, maybes))):
        raise ValueError("a count is no number")
    if min(counts) < 0 or min((value for value in maybes if value is not None), default=0) < 0:
        raise ValueError("a count is negative")


def check_text(*values: object) -> None:
    """Only text can be shown as such."""
    if not all(type(value) is str for value in values):
        raise ValueError("a text is no text")


def _check_path(path: object) -> None:
    if type(path) is not bytes or b"\0" in path:
        raise ValueError("a path is no path")


def _table(table: object) -> Dict[str, int]:
    """A table of counts, out of JSON."""
    if table is None:
        return {}
    if type(table) is not dict or not all(type(n) is int and 0 <= n <= MAX_COUNTER for n in table.values()):
        raise ValueError("not a table of counts")
    return table


def _histogram(table: object) -> Histogram:
    counts = _table(table)
    histogram = {int(key): count for key, count in counts.items() if key.isdecimal()}
    if len(histogram) != len(counts) or not all(key < 1 << 64 and key & (key - 1) == 0 for key in histogram if key):
        raise ValueError("not a histogram")
    return histogram


@functools.lru_cache(maxsize=8192)
def _decode(text: str) -> Histogram:
    return _histogram(json.loads(text) if len(text) <= _LONGEST_TABLE else [])


def _column(text: object) -> Histogram:
    if text is None:
        return {}
    if type(text) is not str:
        raise ValueError("not a histogram")
    return _decode(text).copy()


def read_file(row: Tuple[Any, ...]) -> FileStats:
    """A row of `SCALARS` and `HISTOGRAMS`, without its system calls."""
    values = list(row[: len(SCALARS)])
    check([values[i] for i in _COUNTS], [values[i] for i in _MAYBES])
    file = FileStats(*values)
    _check_path(file.path)
    _check_path(b"" if file.renamed_to is None else file.renamed_to)
    check_text(file.device, file.fstype)
    if type(file.inode) is not int:
        raise ValueError("an inode is no number")
    file.inode &= (1 << 64) - 1
    file.deleted, file.mapped = bool(file.deleted), bool(file.mapped)
    file.sequential_read, file.sequential_write, file.bytes_between_syncs = map(_column, row[len(SCALARS) :])
    return file


def _call(values: object) -> SyscallStats:
    if type(values) is not list or not 1 <= len(values) <= len(CALL_FIELDS):
        raise ValueError("not a system call")
    values += _DEFAULTS[len(values) :]
    calls, moved, first, last, errors, requested, completed, latency = values
    check([calls, moved], [first, last])
    if max(calls, moved, first or 0, last or 0) > MAX_COUNTER:
        raise ValueError("a count is out of range")
    return SyscallStats(
        calls, moved, _table(errors), _histogram(requested), _histogram(completed), _histogram(latency), first, last
    )


_DEFAULTS: List[Optional[int]] = [0 if name in ("calls", "bytes") else None for name in CALL_FIELDS]


def read_calls(text: object) -> Dict[str, SyscallStats]:
    """What `calls.by_syscall` holds; None if a file has no row there."""
    if text is None:
        return {}
    if type(text) is not str or len(text) > _LONGEST_CALLS:
        raise ValueError("no system calls")
    table = json.loads(text)
    if type(table) is not dict:
        raise ValueError("no system calls")
    return {name: _call(values) for name, values in table.items()}


def read_row(row: Tuple[Any, ...]) -> FileRow:
    """A row of the columns of `FileRow`."""
    _check_path(row[0])
    check_text(row[2], row[3])
    check([row[1], *row[4:]], [])
    return FileRow._make(row)
