"""Everything that is known about one file: its facts, and its histograms as bars."""

from __future__ import annotations

import itertools
import os
from contextlib import suppress
from typing import Callable, Dict, Iterator, List, Optional, Sequence, TextIO

from iotrace import text
from iotrace.errors import UserError
from iotrace.globs import Selection, literal
from iotrace.profile import latencies
from iotrace.profile.combined import NamedFile, combined_files, combined_header, combined_rows
from iotrace.profile.latencies import Latencies, by_powers
from iotrace.profile.metrics import FILE, SYSCALL, FileStats, Metric, SyscallStats, Unit
from iotrace.profile.reader import Profile
from iotrace.profile.values import DELETED, FINE, HISTOGRAM, PRESENT, REPLACED, SIZES, Histogram
from iotrace.views.header import heading
from iotrace.views.screen import Screen

_FROM_THE_ROOT = ("/", "*", "?", "[", "\\")  # how a glob begins that says all from there
_BLOCKS = " ▏▎▍▌▋▊▉█"
_UNITS: Dict[Unit, Callable[[int], str]] = {Unit.BYTES: text.size, Unit.DURATION: text.duration}
"""How to write the bounds of a histogram's buckets."""


def bar(part: int, whole: int, columns: int, unicode: bool) -> str:
    """A bar of `part` in `whole`, at most `columns` wide; never empty unless `part` is 0."""
    if not part or not whole:
        return ""
    if not unicode:
        return "#" * max(1, part * columns // whole)
    eighths = max(1, part * columns * 8 // whole)
    return _BLOCKS[8] * (eighths // 8) + _BLOCKS[eighths % 8].strip()


def show_histogram(screen: Screen, caption: str, counts: Unit, histogram: Histogram) -> None:
    """Show every bucket between the smallest and the largest that occur; empty ones show the gaps."""
    if not histogram:
        return
    unit = _UNITS.get(counts, text.number)
    screen.beside("  ", caption)
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
    """The value of a fact: a number that is exact, a time, or for a moment the time since `start`."""
    if metric.unit == Unit.MOMENT:
        return "never" if value is None else f"{(value - start) / 1e9:+.6f} s"
    if metric.unit == Unit.DURATION and value is not None:
        return text.duration(value)
    return "none" if value is None else f"{value:,}"


def _show_facts(screen: Screen, metrics: Sequence[Metric], record: object, start: int, indent: str = "") -> None:
    """Show caption, value and definition of every metric that has a caption and is not a histogram."""
    for metric in metrics:
        if metric.caption and metric.kind not in (HISTOGRAM, FINE, SIZES):
            value = _value(metric, getattr(record, metric.name), start)
            screen.beside(f"{indent}{metric.caption:<15} {value:>{18 - len(indent)}}  ", metric.doc)


def _show_histograms(screen: Screen, metrics: Sequence[Metric], record: object) -> None:
    for metric in metrics:
        if metric.kind == HISTOGRAM:
            show_histogram(screen, metric.doc, metric.unit, getattr(record, metric.name))
        elif metric.kind == FINE:
            show_histogram(screen, metric.doc, metric.unit, by_powers(getattr(record, metric.name)))


def _show_syscall(screen: Screen, name: str, call: SyscallStats, start: int) -> None:
    errors = ", ".join(f"{errno} {count:,}" for errno, count in sorted(call.errors.items()))
    moved = f", {call.bytes:,} bytes" if call.bytes else ""
    line = f"{name}: {text.counted(call.calls, 'call')}{moved}{', errors: ' + errors if errors else ''}"
    screen.wrapped(screen.words(line))
    known = [metric for metric in SYSCALL if getattr(call, metric.name)]
    _show_facts(screen, known, call, start, indent="  ")
    if call.common_sizes:
        _show_common_sizes(screen, call)
    if call.latency_ns:
        _show_quantiles(screen, latencies.of(call))
    _show_histograms(screen, known, call)


def _show_common_sizes(screen: Screen, call: SyscallStats) -> None:
    most = sorted(call.common_sizes.items(), key=lambda item: (-item[1], item[0]))
    error = f", each at most {call.common_sizes_error:,} off" if call.common_sizes_error else ""
    screen.beside("  common sizes    ", ", ".join(f"{size:,} x {count:,}" for size, count in most) + error)


def _show_quantiles(screen: Screen, found: Latencies) -> None:
    shown = [f"p{100 * share:g} {text.duration(found.quantile(share) or 0)}" for share in (0.5, 0.9, 0.99, 0.999)]
    if found.mean is not None and not found.coarse:
        shown = [f"mean {text.duration(int(found.mean))}", *shown, f"max {text.duration(found.most)}"]
    screen.pieces("  latency         ", [*shown, f"(p50 to p99.9 are {_exactness(found)})"])


def _exactness(found: Latencies) -> str:
    return latencies.exactness(found.coarse) + latencies.sampled(found)


_STATES = {
    PRESENT: "present: the path leads to it now",
    REPLACED: "replaced: the path leads to another file now",
    DELETED: "deleted: the path leads to nothing now",
}


def _show_heading(screen: Screen, file: FileStats, temporary: Sequence[bytes], more: int) -> None:
    """Show which file it is, and what became of it."""
    screen.wrapped(screen.name(file.path))
    for name in temporary:
        screen.wrapped("with what was done when it was " + screen.name(name))
    if more:
        screen.line(f"and under {text.counted(more, 'more name')}")
    if temporary:
        screen.line("--names opened shows these apart")
    if file.renamed_to is not None:
        screen.wrapped("renamed to " + screen.name(file.renamed_to))
    where = f"inode {file.inode} on {file.fstype} {file.device}, mount namespace {file.mnt_ns}"
    if file.host is not None:
        where += f" of {file.host}"
    screen.wrapped(screen.words(where))
    if file.who is not None:
        screen.wrapped(screen.words(f"I/O of the {file.who.by} ") + screen.name(file.who.word))
    if file.incarnations > 1:
        screen.line(f"deleted and created again: {file.incarnations:,} inodes, this is the last")
        if file.ended_as is not None:
            screen.wrapped("all of them renamed to " + screen.name(file.ended_as))
    if file.state is not None:
        screen.line(_STATES[file.state])
    elif file.deleted:
        screen.line("deleted")
    if file.unreachable:
        screen.line("unreachable: no path leads to this file")
    if file.mapped:
        screen.loud("MAPPED: what was read or written through memory is not in these numbers.")


def show_file(screen: Screen, file: FileStats, start: int, temporary: Sequence[bytes] = (), more: int = 0) -> None:
    """Show everything that is known about a file; moments are given as the time since `start`.

    `temporary`, and as many `more`, are names that a part of it was done under.
    """
    _show_heading(screen, file, temporary, more)
    screen.line()
    _show_facts(screen, FILE, file, start)
    screen.line()
    _show_histograms(screen, FILE, file)
    for name, call in sorted(file.syscalls.items()):
        _show_syscall(screen, name, call, start)


def _only_match(profiles: Sequence[Profile], glob: str, folded: bool) -> bytes:
    """The path that a glob matches. Raises `UserError` if it matches none, or more than one."""
    rows = combined_rows(profiles, Selection(path=(_as_glob(glob),)), folded=folded)
    paths = itertools.groupby(rows, lambda row: row.path)
    matches: List[bytes] = [path for path, _ in itertools.islice(paths, 4)]
    if not matches:
        raise UserError(f"{glob}: no such file in the profile; `iotrace report PROFILE --limit 0` lists all files")
    if len(matches) > 1:
        names = ", ".join(text.shorten(text.safe(path), 200) for path in matches[:3])
        raise UserError(f"{glob}: matches more than one file: {names}{', ...' if len(matches) > 3 else ''}")
    return matches[0]


def _as_glob(path: str) -> bytes:
    """The glob for what somebody gives as a path: one from the root, the end of one, or what a table has cut."""
    if path.startswith(text.CUT):
        return b"*" + literal(text.unescape(path[len(text.CUT) :]))
    return os.fsencode(path if path[:1] in _FROM_THE_ROOT else "*/" + path)


def _readings(path: str) -> Iterator[bytes]:
    """The paths that somebody may mean."""
    yield os.fsencode(path)
    yield text.unescape(path)
    with suppress(OSError):  # this directory may be gone
        yield os.path.abspath(os.fsencode(path))


def _found(profiles: Sequence[Profile], path: bytes, folded: bool) -> Optional[Iterator[NamedFile]]:
    """The files with that path; None if there are none."""
    files = combined_files(profiles, path, folded=folded)
    first = next(files, None)
    return None if first is None else itertools.chain((first,), files)


def show(
    out: TextIO,
    profiles: Sequence[Profile],
    path: str,
    *,
    folded: bool = True,
    details: bool = False,
    columns: Optional[int] = None,
) -> None:
    """Show what was traced, and everything that one or more profiles know about a file in each mount namespace.

    `path` is its path, as it is, from here, or as tables write it; or the end of it, or a glob, that matches no other.
    Unless `folded` is false, temporary files are part of what they became. Raises `UserError` if there is no such file.
    """
    files = next(filter(None, (_found(profiles, name, folded) for name in dict.fromkeys(_readings(path)))), None)
    if files is None:
        files = combined_files(profiles, _only_match(profiles, path, folded), folded=folded)
    screen = Screen(out, columns)
    header = combined_header(profiles)
    heading(screen, header, details)
    for number, found in enumerate(files):
        if number:
            screen.line()
        show_file(screen, found.file, header.started_ns, found.temporary, found.more)
