"""CSV (RFC 4180, UTF-8): a line of column names, then one line per file and system call.

A file without system calls has one line. The columns of a file are repeated on each of its lines; the header of the
profile is left out. Paths are escaped as on the terminal: bytes that are not printable or not UTF-8, and backslashes,
are written as \\xNN, which `iotrace.text.unescape` reverses. A cell that starts with = + - @ or a single quote gets a
single quote in front, so that spreadsheets do not take it for a formula. Histograms and errors are `bucket:count` pairs
joined by semicolons; unknown values are empty.
"""

from __future__ import annotations

import csv
from typing import IO, Iterable, List, Mapping, Optional

from iotrace.profile.metrics import FILE, SYSCALL, FileStats, Header
from iotrace.profile.values import HISTOGRAM
from iotrace.text import safe, safe_text

START = b"mnt_ns,path,"
_FILE = [metric.name for metric in sorted(FILE, key=lambda metric: metric.kind == HISTOGRAM)]  # histograms come last
_CALL = [metric.name for metric in sorted(SYSCALL, key=lambda metric: not metric.in_document)]


def _pairs(table: Mapping[object, int]) -> str:
    return ";".join([f"{key}:{count}" for key, count in sorted(table.items())])


def _cell(value: object) -> str:
    """A value as a CSV cell that no spreadsheet evaluates."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return _guard(safe_text(_pairs(value)))
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, bytes):
        return _guard(safe(value))
    return _guard(safe_text(str(value)))


def _guard(cell: str) -> str:
    # Tab and carriage return, which spreadsheets skip before a formula, have been escaped by now.
    return "'" + cell if cell[:1] in ("=", "+", "-", "@", "'") else cell


def write(header: Header, files: Iterable[FileStats], out: IO[str]) -> None:
    """Write the lines, which end with CR LF."""
    del header
    rows = csv.writer(out, lineterminator="\r\n")
    rows.writerow((*_FILE, "syscall", *_CALL))
    out.flush()
    for file in files:
        shared = [_cell(getattr(file, name)) for name in _FILE]
        calls: List[Optional[str]] = [*sorted(file.syscalls)] or [None]
        for name in calls:
            call = None if name is None else file.syscalls[name]
            rows.writerow([*shared, _cell(name), *(_cell(getattr(call, column, None)) for column in _CALL)])
