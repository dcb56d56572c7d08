"""All that is known of one file: its facts, and its histograms drawn as bars."""

from __future__ import annotations

import itertools
import os
from typing import Callable, Dict, List, Optional, Sequence, TextIO

from iotrace import text
from iotrace.errors import UserError
from iotrace.globs import Selection
from iotrace.profile.combined import combined_files, combined_header, combined_rows
from iotrace.profile.metrics import FILE, SYSCALL, FileStats, Metric, SyscallStats, Unit
from iotrace.profile.reader import Profile
from iotrace.profile.values import HISTOGRAM, Histogram
from iotrace.views.header import show_header
from iotrace.views.screen import Screen

_BLOCKS = " ▏▎▍▌▋▊▉█"
_UNITS: Dict[Unit, Callable[[int], str]] = {Unit.BYTES: text.size, Unit.DURATION: text.duration}
"""How the bounds of a histogram's buckets are written."""


def bar(part: int, whole: int, columns: int, unicode: bool) -> str:
    """A bar of `part` in `whole`, at most `columns` wide; never empty unless `part` is 0."""
    if not part or not whole:
        return ""
    if not unicode:
        return "#" * max(1, part * columns // whole)
    eighths = max(1, part * columns * 8 // whole)
    return _BLOCKS[8] * (eighths // 8) + _BLOCKS[eighths % 8].strip()


def _show_histogram(screen: Screen, metric: Metric, histogram: Histogram) -> None:
    """Every bucket between the smallest and the largest that occur, empty ones too, so that gaps are seen."""
    if not histogram:
        return
    unit = _UNITS.get(metric.unit, text.number)
    screen.beside("  ", metric.doc)
    most = max(histogram.values())
    digits = max(12, len(f"{most:,}"))
    buckets = sorted(histogram)
    low = next((bucket for bucket in buckets if bucket), 0)
    between = [1 << k for k in range(low.bit_length() - 1, buckets[-1].bit_length())] if low else []
    for lower in sorted({*buckets, *between}):
        count = histogram.get(lower, 0)
        span = "0" if lower == 0 else f"{unit(lower)} .. {unit(2 * lower)}"
        room = min(50, screen.columns - 26 - digits)
        screen.line(f"    {span:>20} {count:>{digits},} {bar(count, most, room, screen.unicode)}")


def _value(metric: Metric, value: Optional[int], start: int) -> str:
    """A fact as a number; of a moment, how long after `start` it was."""
    if metric.unit == Unit.MOMENT:
        return "never" if value is None else f"{(value - start) / 1e9:+.6f} s"
    return "none" if value is None else f"{value:,}"


def _show_facts(screen: Screen, metrics: Sequence[Metric], record: object, start: int, indent: str = "") -> None:
    """Caption, value and definition of all that has a caption and is not a histogram."""
    for metric in metrics:
        if metric.caption and metric.kind != HISTOGRAM:
            value = _value(metric, getattr(record, metric.name), start)
            screen.beside(f"{indent}{metric.caption:<15} {value:>{18 - len(indent)}}  ", metric.doc)


def _show_histograms(screen: Screen, metrics: Sequence[Metric], record: object) -> None:
    for metric in metrics:
        if metric.kind == HISTOGRAM:
            _show_histogram(screen, metric, getattr(record, metric.name))


def _show_syscall(screen: Screen, name: str, call: SyscallStats, start: int) -> None:
    errors = ", ".join(f"{errno} {count:,}" for errno, count in sorted(call.errors.items()))
    moved = f", {call.bytes:,} bytes" if call.bytes else ""
    line = f"{name}: {text.counted(call.calls, 'call')}{moved}{', errors: ' + errors if errors else ''}"
    screen.wrapped(screen.words(line))
    known = [metric for metric in SYSCALL if getattr(call, metric.name)]
    _show_facts(screen, known, call, start, indent="  ")
    _show_histograms(screen, known, call)


def _show_heading(screen: Screen, file: FileStats) -> None:
    """Which file it is, and what became of it."""
    screen.wrapped(screen.name(file.path))
    if file.renamed_to is not None:
        screen.wrapped("renamed to " + screen.name(file.renamed_to))
    where = f"inode {file.inode} on {file.fstype} {file.device}, mount namespace {file.mnt_ns}"
    screen.wrapped(screen.words(where))
    if file.incarnations > 1:
        screen.line(f"deleted and created again: {file.incarnations:,} inodes, this is the last")
    if file.deleted:
        screen.line("deleted")
    if file.mapped:
        screen.loud("MAPPED: what was read or written through memory is not in these numbers.")


def show_file(screen: Screen, file: FileStats, start: int) -> None:
    """All that is known of a file; moments are shown by how long after `start` they were."""
    _show_heading(screen, file)
    screen.line()
    _show_facts(screen, FILE, file, start)
    screen.line()
    _show_histograms(screen, FILE, file)
    for name, call in sorted(file.syscalls.items()):
        _show_syscall(screen, name, call, start)


def _only_match(profiles: Sequence[Profile], glob: str) -> bytes:
    """The path that a glob matches. Raises `UserError` if there is none, or more than one."""
    rows = combined_rows(profiles, Selection(path=(os.fsencode(glob),)))
    paths = itertools.groupby(rows, lambda row: row.path)
    matches: List[bytes] = [path for path, _ in itertools.islice(paths, 4)]
    if not matches:
        raise UserError(f"{glob}: no such file in the profile; `iotrace report PROFILE --limit 0` lists those it has")
    if len(matches) > 1:
        names = ", ".join(text.safe(path) for path in matches[:3])
        raise UserError(f"{glob}: more than one file matches: {names}{', ...' if len(matches) > 3 else ''}")
    return matches[0]


def show(out: TextIO, profiles: Sequence[Profile], path: str, columns: Optional[int] = None) -> None:
    """The header and all that the profiles (one at least) know of one file, for each mount namespace that has it.

    `path` is its name, or how the tables write it, or a glob that it alone matches. Raises `UserError` if no profile
    has it.
    """
    files = combined_files(profiles, os.fsencode(path)) or combined_files(profiles, text.unescape(path))
    if not files:
        files = combined_files(profiles, _only_match(profiles, path))
    screen = Screen(out, columns)
    header = combined_header(profiles)
    show_header(screen, header)
    for number, file in enumerate(files):
        if number:
            screen.line()
        show_file(screen, file, header.started_ns)
