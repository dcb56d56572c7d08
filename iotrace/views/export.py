"""A profile as JSON, JSON lines or CSV, streamed: memory stays flat and the first line appears at once.

JSON is pure ASCII. A path is decoded from UTF-8 with each byte that is not UTF-8 as a lone surrogate U+DC80..U+DCFF
(Python's surrogateescape), so `json.loads(...)["path"].encode("utf-8", "surrogateescape")` is the path.

CSV is RFC 4180 in UTF-8, one line per file and system call (a file without any has one line too), with the file's own
columns repeated on each. Paths are escaped as on the terminal: what is not printable, is not UTF-8, or is a backslash
stands as \\xNN, byte by byte (`iotrace.text.unescape` reverses it). A cell that starts with one of = + - @ or a single
quote gets a single quote before it, so that no spreadsheet takes it for a formula. Histograms and errors are
`bucket:count` pairs joined by semicolons; what is unknown is empty.
"""

from __future__ import annotations

import csv
import json
from dataclasses import fields
from typing import IO, Callable, Dict, Iterable, List, Optional, Union

from iotrace.profile.model import HISTOGRAMS, FileStats, Header, Histogram, SyscallStats
from iotrace.text import safe, safe_text
from programs.facts.catalogue import WITHOUT_DATA

SCHEMA = "iotrace/1"

_FILE_COLUMNS = tuple(f.name for f in fields(FileStats) if f.name not in ("syscalls", *HISTOGRAMS))
_CALL_COLUMNS = tuple(f.name for f in fields(SyscallStats))


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def header_object(header: Header) -> Dict[str, object]:
    """The document's keys before `files`."""
    return {
        "schema": SCHEMA,
        "version": header.version,
        "host": header.host,
        "kernel": header.kernel,
        "machine": header.machine,
        "command": [_text(word) for word in header.command],
        "started_ns": header.started_ns,
        "ended_ns": header.ended_ns,
        "filters": header.filters,
        "attach": header.attach,
        "coverage": header.coverage,
        "lost": header.lost,
        "unattributed": header.unattributed,
        "overhead": header.overhead,
    }


def _buckets(histogram: Histogram) -> Dict[int, int]:
    return dict(sorted(histogram.items()))


def syscall_object(name: str, call: SyscallStats) -> Dict[str, object]:
    """One system call; those that move no data have neither bytes nor sizes."""
    if name in WITHOUT_DATA:
        return {"calls": call.calls, "errors": call.errors, "latency_ns": _buckets(call.latency_ns)}
    return {
        "calls": call.calls,
        "bytes": call.bytes,
        "errors": call.errors,
        "requested": _buckets(call.requested),
        "completed": _buckets(call.completed),
        "latency_ns": _buckets(call.latency_ns),
    }


def file_object(file: FileStats) -> Dict[str, object]:
    """One element of the document's `files`."""
    result: Dict[str, object] = {name: getattr(file, name) for name in _FILE_COLUMNS}
    result["path"] = _text(file.path)
    result["renamed_to"] = None if file.renamed_to is None else _text(file.renamed_to)
    result["syscalls"] = {name: syscall_object(name, call) for name, call in sorted(file.syscalls.items())}
    for name in HISTOGRAMS:
        result[name] = _buckets(getattr(file, name))
    return result


def write_json(header: Header, files: Iterable[FileStats], out: IO[str]) -> None:
    """The document of schema iotrace/1: one object, a line for the header and a line for each file."""
    out.write(json.dumps(header_object(header))[:-1] + ', "files": [')
    out.flush()
    separator = "\n"
    for file in files:
        out.write(separator + json.dumps(file_object(file)))
        separator = ",\n"
    out.write("\n]}\n")


def write_jsonl(header: Header, files: Iterable[FileStats], out: IO[str]) -> None:
    """The same objects without the brackets: the header on the first line, then a file on each."""
    out.write(json.dumps(header_object(header)) + "\n")
    out.flush()
    out.writelines(json.dumps(file_object(file)) + "\n" for file in files)


def _pairs(table: Union[Histogram, Dict[str, int]]) -> str:
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


def write_csv(header: Header, files: Iterable[FileStats], out: IO[str]) -> None:
    """A line per file and system call under a line of column names. The header has no place in it."""
    del header
    rows = csv.writer(out, lineterminator="\r\n")
    rows.writerow((*_FILE_COLUMNS, *HISTOGRAMS, "syscall", *_CALL_COLUMNS))
    out.flush()
    for file in files:
        shared = [_cell(getattr(file, name)) for name in (*_FILE_COLUMNS, *HISTOGRAMS)]
        calls: List[Optional[str]] = [*sorted(file.syscalls)] or [None]
        for name in calls:
            call = None if name is None else file.syscalls[name]
            rows.writerow([*shared, _cell(name), *(_cell(getattr(call, column, None)) for column in _CALL_COLUMNS)])


FORMATS: Dict[str, Callable[[Header, Iterable[FileStats], IO[str]], None]] = {
    "json": write_json,
    "jsonl": write_jsonl,
    "csv": write_csv,
}
