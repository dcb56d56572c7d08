"""Profiles as tables for a terminal: totals by file, directory, mount, extension or system call; one file in detail.

Whatever was lost while tracing stands above the numbers that it spoils. Tables fit 80 columns, or the terminal where it
is wider. No name reaches the terminal unescaped (`iotrace.text`).
"""

from __future__ import annotations

import heapq
import itertools
import os
import shlex
import shutil
import time
from dataclasses import dataclass
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, TextIO, Tuple, Union

from iotrace import text
from iotrace.errors import UserError
from iotrace.profile.model import MAX_COUNTER, FileStats, Header, Histogram, SyscallStats, add_headers
from iotrace.profile.reader import EVERYTHING, FileRow, ProfileReader, Selection, Totals, combined_files, combined_rows
from programs.facts.catalogue import BY_NAME, WRITE

GROUPS = ("file", "directory", "mount", "extension", "syscall")


class Screen:
    """Where tables go: knows how wide it is, whether it can draw, and lets nothing through that it cannot show."""

    def __init__(self, out: TextIO, columns: Optional[int] = None) -> None:
        self._out = out
        self.columns = max(80, shutil.get_terminal_size((80, 24)).columns) if columns is None else columns
        self.unicode = _can_encode(out, "\u2588\u258f\u2026\u65e5")
        self._bold = out.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"

    def name(self, raw: bytes) -> str:
        """A path or another name from outside."""
        return self.label(text.safe(raw))

    def label(self, safe: str) -> str:
        """Safe text, in what characters the terminal has."""
        return safe if self.unicode else text.ascii_only(safe)

    def line(self, line: str = "") -> None:
        """One line of safe text."""
        self._out.write(line.rstrip(" ") + "\n")

    def wrapped(self, line: str) -> None:
        """As many lines as the safe text needs."""
        for part in text.wrap(line, self.columns):
            self.line(part)

    def loud(self, line: str) -> None:
        """A line that must not be overlooked."""
        for part in text.wrap(self.label(text.safe_text(line)), self.columns):
            self._out.write(f"\x1b[1;7m{part}\x1b[0m\n" if self._bold else part + "\n")

    def field(self, title: str, value: str) -> None:
        """A line `title  value`, continued below the value where it is long."""
        for number, part in enumerate(text.wrap(self.label(text.safe_text(value or "-")), self.columns - 12)):
            self.line(f"{'' if number else title:<11} {part}")


def _can_encode(out: TextIO, sample: str) -> bool:
    try:
        sample.encode(out.encoding or "utf-8")  # io.StringIO has none, and takes everything
    except (UnicodeEncodeError, LookupError):
        return False
    return True


# --- the header ------------------------------------------------------------------------------------------------------


def _sum_headers(readers: Sequence[ProfileReader]) -> Header:
    header = readers[0].header
    for reader in readers[1:]:
        header = add_headers(header, reader.header)
    return header


def _lost(header: Header) -> Optional[str]:
    """What tracing missed, as a sentence; None if nothing."""
    parts = [f"{count:,} {what}" for what, count in sorted(header.lost.items()) if count]
    if not parts:
        return None
    return f"LOST: {', '.join(parts)}. The numbers below are too small; a larger --max-files, or fewer targets, helps."


def _coverage(coverage: Dict[str, str]) -> str:
    whole = [what for what, how in coverage.items() if how == "full"]
    rest = [f"{what}: {how}" for what, how in coverage.items() if how != "full"]
    return "; ".join(rest + (["full: " + ", ".join(whole)] if whole else []))


_COST = ("bystander_ns", "own_ns", "own_share", "start_ns")
_PROGRAM_COST = ("program_runs", "program_ns", "program_share", "sampled_ns")


def _overhead(told: Dict[str, object]) -> str:
    """What tracing cost. A profile that has other words for it, or impossible numbers, is quoted."""
    numbers = {name: value for name, value in told.items() if isinstance(value, (int, float)) and 0 <= value < 1 << 63}
    measured = "not_measured" not in told
    if told.keys() != {*_COST, *(_PROGRAM_COST if measured else ("not_measured",))} or not numbers.keys() >= {
        name for name in told if name != "not_measured"
    }:
        return ", ".join(f"{name}: {value}" for name, value in told.items())
    programs = f"time in programs not measured: {told.get('not_measured')}"
    if measured:
        runs, ns = numbers["program_runs"], numbers["program_ns"]
        programs = (
            f"{text.number(round(runs))} runs of programs, {ns / max(runs, 1):.0f} ns each, "
            f"{_share(numbers['program_share'])}"
        )
    return (
        f"{programs}; a system call that is not traced: +{numbers['bystander_ns']:.0f} ns; "
        f"iotrace itself: {text.duration(round(numbers['own_ns']))} of CPU, {_share(numbers['own_share'])}, "
        f"and {text.duration(round(numbers['start_ns']))} to start"
    )


def _share(share: float) -> str:
    return f"{share:.2%} of a CPU" if share < 0.1 else f"{share:.0%} of a CPU"


def show_header(screen: Screen, header: Header) -> None:
    """Whom, where, when and how; what was lost, and what belongs to no file."""
    command = " ".join(shlex.quote(word.decode("utf-8", "surrogateescape")) for word in header.command)
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(header.started_ns // 10**9))
    if header.command:
        screen.field("command", command)
    if header.filters:
        screen.field("filters", ", ".join(f"{name}: {value}" for name, value in header.filters.items()))
    screen.field("host", f"{header.host}, Linux {header.kernel}, {header.machine}")
    screen.field(
        "traced",
        f"{started}, {text.duration(max(0, header.ended_ns - header.started_ns))},"
        f" by {header.attach or 'unknown means'}, iotrace {header.version}",
    )
    screen.field("coverage", _coverage(header.coverage))
    if header.unattributed:
        calls = (
            f"{call} {errno}: {count}"
            for call, errors in sorted(header.unattributed.items())
            for errno, count in sorted(errors.items())
        )
        screen.field("on no file", ", ".join(calls))
    if header.overhead:
        screen.field("overhead", _overhead(header.overhead))
    lost = _lost(header)
    if lost:
        screen.loud(lost)
    screen.line()


# --- tables ----------------------------------------------------------------------------------------------------------


@dataclass
class Total:
    """A line of a table: what the files of one group come to."""

    name: str
    files: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    calls: int = 0
    errors: int = 0
    syncs: int = 0
    busy_ns: int = 0
    flags: str = ""

    def add(self, row: FileRow) -> None:
        self.files += 1
        self.bytes_read += row.bytes_read
        self.bytes_written += row.bytes_written
        self.calls += row.calls
        self.errors += row.errors
        self.syncs += row.syncs
        self.busy_ns += row.busy_ns


_ORDER: Dict[str, Callable[[Total], int]] = {
    "bytes": lambda total: total.bytes_read + total.bytes_written,
    "read": lambda total: total.bytes_read,
    "written": lambda total: total.bytes_written,
    "calls": lambda total: total.calls,
    "errors": lambda total: total.errors,
    "syncs": lambda total: total.syncs,
    "latency": lambda total: total.busy_ns,
}


def _ordered(totals: Iterable[Total], sort: str, limit: int) -> List[Total]:
    """The first `limit` (0: all) totals; ties in order of name."""
    key: Callable[[Total], Tuple[int, str]] = lambda total: (0 if sort == "path" else -_ORDER[sort](total), total.name)  # noqa: E731
    return heapq.nsmallest(limit, totals, key) if limit else sorted(totals, key=key)


class Column(NamedTuple):
    title: str
    width: int
    value: Callable[[Total], str]


_FILES = Column("FILES", 6, lambda total: text.number(total.files))
_TIME = Column("TIME", 7, lambda total: text.duration(min(total.busy_ns, MAX_COUNTER)) if total.busy_ns else "-")
_SUMS = (
    Column("READ", 8, lambda total: text.size(total.bytes_read)),
    Column("WRITTEN", 8, lambda total: text.size(total.bytes_written)),
    Column("CALLS", 5, lambda total: text.number(total.calls)),
    Column("ERRS", 5, lambda total: text.number(total.errors)),
    Column("SYNCS", 5, lambda total: text.number(total.syncs)),
    _TIME,
)
_FLAG_MEANINGS = {
    "d": "d: deleted while open or since",
    "m": "m: also memory-mapped; what was read or written through memory is in no column",
    "r": "r: renamed since; --file, with either name, shows both",
}


def _show_table(
    screen: Screen, title: str, columns: Sequence[Column], totals: Iterable[Total], flags: str = ""
) -> None:
    """Each line is written as it comes; `flags` are those that any of them may have."""
    wide = max(2, len(flags))
    used = sum(column.width + 1 for column in columns) + (wide + 1 if flags else 0)
    titles = " ".join(f"{column.title:>{column.width}}" for column in columns)
    screen.line(titles + (f" {'F':<{wide}} " if flags else " ") + title)
    for total in totals:
        cells = " ".join(f"{column.value(total):>{column.width}}" for column in columns)
        mark = f" {total.flags:<{wide}}" if flags else ""
        screen.line(f"{cells}{mark} {text.shorten(total.name, screen.columns - used)}")
    for flag in flags:
        screen.line(_FLAG_MEANINGS[flag])


def _directory(path: bytes, depth: int) -> bytes:
    """The directory of a path, or that of its ancestors which is `depth` names deep."""
    directory = os.path.dirname(path)
    if not depth:
        return directory or b"/"
    return b"/".join(directory.split(b"/")[: depth + 1]) or b"/"


def _extension(path: bytes) -> bytes:
    return os.path.splitext(path)[1] or b"(none)"


def _group_by(
    screen: Screen, rows: Iterable[FileRow], whole: Total, key: Callable[[FileRow], bytes]
) -> Iterator[Total]:
    groups: Dict[bytes, Total] = {}
    for row in rows:
        whole.add(row)
        name = key(row)
        total = groups.get(name)
        if total is None:
            total = groups[name] = Total(screen.name(name))
        total.add(row)
    return iter(groups.values())


def _group_mounts(screen: Screen, rows: Iterable[FileRow], whole: Total) -> Iterator[Total]:
    """By file system and mount namespace, each named with the deepest directory that holds all its files."""
    groups: Dict[Tuple[int, str, str], Tuple[Total, List[bytes]]] = {}
    for row in rows:
        whole.add(row)
        names = os.path.dirname(row.path).split(b"/")
        total, common = groups.setdefault((row.mnt_ns, row.device, row.fstype), (Total(""), names))
        same = next((i for i, (a, b) in enumerate(zip(common, names)) if a != b), min(len(common), len(names)))
        del common[same:]
        total.add(row)
    one_namespace = len({mnt_ns for mnt_ns, _, _ in groups}) == 1
    for (mnt_ns, device, fstype), (total, common) in groups.items():
        namespace = "" if one_namespace else f"{mnt_ns} "
        source = text.safe_text(f"{namespace}{fstype} {device} ")
        total.name = screen.label(source + text.safe(b"/".join(common) or b"/"))
        yield total


def _group(screen: Screen, rows: Iterable[FileRow], whole: Total, by: str, depth: int) -> Iterator[Total]:
    """The lines of the table `by`; their sum goes to `whole`."""
    if by == "mount":
        return _group_mounts(screen, rows, whole)
    if by == "directory":
        return _group_by(screen, rows, whole, lambda row: _directory(row.path, depth))
    return _group_by(screen, rows, whole, lambda row: _extension(row.path))


def _add_to(histogram: Histogram, other: Histogram) -> None:
    for bucket, count in other.items():
        histogram[bucket] = histogram.get(bucket, 0) + count


def _sum_syscalls(readers: Sequence[ProfileReader], selection: Selection) -> Dict[str, Tuple[int, SyscallStats]]:
    """System call -> number of files, and their statistics added up (calls, bytes, errors and latencies)."""
    files: Dict[str, int] = {}
    sums: Dict[str, SyscallStats] = {}
    for reader in readers:
        for name, call in reader.syscalls(selection):
            total = sums.setdefault(name, SyscallStats())
            files[name] = files.get(name, 0) + 1
            total.calls += call.calls
            total.bytes += call.bytes
            for errno, count in call.errors.items():
                total.errors[errno] = total.errors.get(errno, 0) + count
            _add_to(total.completed, call.completed)
            _add_to(total.latency_ns, call.latency_ns)
    return {name: (files[name], total) for name, total in sums.items()}


def quantile(histogram: Histogram, share: float) -> Optional[int]:
    """The bucket (its lower bound) in which the value lies that `share` of all values do not exceed."""
    rank, seen = share * sum(histogram.values()), 0
    for bucket, count in sorted(histogram.items()):
        seen += count
        if seen >= rank:
            return bucket
    return None


def _show_syscalls(screen: Screen, readers: List[ProfileReader], selection: Selection, sort: str, limit: int) -> None:
    """One line per system call, with the latency (lower bound of the bucket) that half and 99 % of the calls meet."""
    totals: List[Total] = []
    latency: Dict[str, Histogram] = {}
    for name, (files, call) in _sum_syscalls(readers, selection).items():
        label = screen.label(text.safe_text(name))
        latency[label] = call.latency_ns
        operation = BY_NAME.get(name)  # none: a profile may hold any name
        writes = operation is not None and operation.direction == WRITE
        totals.append(
            Total(
                label,
                files,
                0 if writes else call.bytes,
                call.bytes if writes else 0,
                call.calls,
                sum(call.errors.values()),
                call.calls if operation is not None and operation.syncs else 0,
                sum(bucket * count for bucket, count in call.latency_ns.items()),
            )
        )

    def reached(share: float) -> Callable[[Total], str]:
        def value(total: Total) -> str:
            bucket = quantile(latency[total.name], share)
            return "-" if bucket is None else text.duration(bucket)

        return value

    columns = (
        _FILES,
        Column("BYTES", 8, lambda total: text.size(total.bytes_read + total.bytes_written)),
        Column("CALLS", 5, lambda total: text.number(total.calls)),
        Column("ERRS", 5, lambda total: text.number(total.errors)),
        _TIME,
        Column("P50", 7, reached(0.5)),
        Column("P99", 7, reached(0.99)),
    )
    _show_table(screen, "SYSTEM CALL", columns, _ordered(totals, sort, limit))


def _flags(of: Union[FileRow, Totals]) -> str:
    marks = {"d": of.deleted, "m": of.mapped, "r": of.renamed}
    return "".join(flag for flag, value in marks.items() if value)


def _file_line(screen: Screen, row: FileRow) -> Total:
    total = Total(screen.name(row.path), flags=_flags(row))
    total.add(row)
    return total


def _more(screen: Screen, lines: int) -> None:
    if lines > 0:
        screen.line(f"{text.counted(lines, 'more line')}: --limit 0 shows all")


def _show_files(screen: Screen, reader: ProfileReader, selection: Selection, sort: str, limit: int) -> None:
    """One line per file of one profile: SQLite sorts them and adds them up."""
    sums = reader.totals(selection)
    whole = Total(f"total, {text.counted(sums.files, 'file')}", sums.files, *sums[4:])
    lines: Iterable[Total] = (_file_line(screen, row) for row in reader.rows(sort, limit, selection))
    flags = _flags(sums)
    if limit:
        lines = list(lines)
        flags = "".join(flag for flag in flags if any(flag in total.flags for total in lines))
    _show_table(screen, "FILE", _SUMS, itertools.chain(lines, (whole,)), flags)
    _more(screen, sums.files - limit if limit else 0)


def _show_groups(
    screen: Screen, readers: List[ProfileReader], selection: Selection, *, by: str, depth: int, sort: str, limit: int
) -> None:
    """One line per group, or per file of several profiles."""
    whole, lines = Total(""), 0
    rows = combined_rows(readers, selection) if len(readers) > 1 else readers[0].rows(selection=selection)

    def files() -> Iterator[Total]:
        for row in rows:
            whole.add(row)
            yield _file_line(screen, row)

    def counted(totals: Iterable[Total]) -> Iterator[Total]:
        nonlocal lines
        for total in totals:
            lines += 1
            yield total

    groups = files() if by == "file" else _group(screen, rows, whole, by, depth)
    shown = _ordered(counted(groups), sort, limit)
    whole.name = f"total, {text.counted(whole.files, 'file')}"
    flags = "".join(flag for flag in _FLAG_MEANINGS if any(flag in total.flags for total in shown))
    _show_table(screen, by.upper(), _SUMS if by == "file" else (_FILES, *_SUMS), [*shown, whole], flags)
    _more(screen, lines - len(shown))


def show(
    out: TextIO,
    readers: List[ProfileReader],
    *,
    by: str = "file",
    depth: int = 0,
    sort: str = "bytes",
    limit: int = 20,
    selection: Selection = EVERYTHING,
    columns: Optional[int] = None,
) -> None:
    """The header and one table of all profiles together. `depth` is that of directories; 0 for `limit` is no limit."""
    screen = Screen(out, columns)
    show_header(screen, _sum_headers(readers))
    out.flush()  # a million files take their time
    if by == "syscall":
        _show_syscalls(screen, readers, selection, sort, limit)
    elif by == "file" and len(readers) == 1:
        _show_files(screen, readers[0], selection, sort, limit)
    else:
        _show_groups(screen, readers, selection, by=by, depth=depth, sort=sort, limit=limit)


# --- one file --------------------------------------------------------------------------------------------------------

_BLOCKS = " ▏▎▍▌▋▊▉█"


def bar(part: int, whole: int, columns: int, unicode: bool) -> str:
    """A bar of `part` in `whole`, at most `columns` wide; never empty unless `part` is 0."""
    if not part or not whole:
        return ""
    if not unicode:
        return "#" * max(1, part * columns // whole)
    eighths = max(1, part * columns * 8 // whole)
    return _BLOCKS[8] * (eighths // 8) + _BLOCKS[eighths % 8].strip()


def _show_histogram(screen: Screen, title: str, histogram: Histogram, unit: Callable[[int], str]) -> None:
    """Every bucket between the smallest and the largest that occur, empty ones too, so that gaps are seen."""
    if not histogram:
        return
    screen.line(f"  {title}")
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


def _clock(ns: Optional[int], start: int) -> str:
    return "never" if ns is None else f"{(ns - start) / 1e9:+.6f} s"


def _facts(file: FileStats, start: int) -> Iterator[Tuple[str, str, str]]:
    """(metric, value, definition) of all that is no histogram."""
    yield "opens, closes", f"{file.opens:,}, {file.closes:,}", "of every kind, by every process"
    yield "read", f"{file.bytes_read:,}", "bytes, over all system calls"
    yield "written", f"{file.bytes_written:,}", "bytes, over all system calls"
    if file.lowest_offset is not None and file.highest_offset is not None:
        yield "extent", f"{file.lowest_offset:,} .. {file.highest_offset:,}", "lowest, highest byte touched"
    yield "synced", f"{file.bytes_synced:,}", "bytes covered by a successful sync"
    yield "unsynced", f"{file.bytes_unsynced:,}", "bytes written since the last one"
    yield "rewrites", f"{file.rewrites:,}", "writes where the write before started"
    yield "direct calls", f"{file.direct_calls:,}", "on an O_DIRECT descriptor"
    yield "durable writes", f"{file.durable_writes:,}", "O_SYNC, O_DSYNC, RWF_SYNC, RWF_DSYNC"
    yield "first read", _clock(file.first_read_ns, start), "entry, since tracing started"
    yield "last read", _clock(file.last_read_ns, start), "return of the last successful one"
    yield "first write", _clock(file.first_write_ns, start), "entry"
    yield "last write", _clock(file.last_write_ns, start), "return of the last successful one"
    yield "last sync", _clock(file.last_sync_ns, start), "return of the last successful one"


def _show_syscall(screen: Screen, name: str, call: SyscallStats) -> None:
    errors = ", ".join(f"{errno} {count:,}" for errno, count in sorted(call.errors.items()))
    moved = f", {call.bytes:,} bytes" if call.bytes else ""
    line = f"{name}: {text.counted(call.calls, 'call')}{moved}{', errors: ' + errors if errors else ''}"
    screen.wrapped(screen.label(text.safe_text(line)))
    _show_histogram(screen, "bytes asked for, failed calls too", call.requested, text.size)
    _show_histogram(screen, "bytes moved by successful calls; 0 is the end of the file", call.completed, text.size)
    _show_histogram(screen, "latency of successful calls, entry to return", call.latency_ns, text.duration)


def _show_one(screen: Screen, file: FileStats, start: int) -> None:
    screen.wrapped(screen.name(file.path))
    if file.renamed_to is not None:
        screen.wrapped("renamed to " + screen.name(file.renamed_to))
    where = f"inode {file.inode} on {file.fstype} {file.device}, mount namespace {file.mnt_ns}"
    screen.wrapped(screen.label(text.safe_text(where)))
    if file.incarnations > 1:
        screen.line(f"deleted and created again: {file.incarnations:,} inodes, this is the last")
    if file.deleted:
        screen.line("deleted")
    if file.mapped:
        screen.loud("MAPPED: what was read or written through memory is not in these numbers.")
    screen.line()
    for metric, value, definition in _facts(file, start):
        screen.wrapped(f"{metric:<15} {value:>22}  {definition}")
    screen.line()
    _show_histogram(screen, "bytes of maximal contiguous runs of reads", file.sequential_read, text.size)
    _show_histogram(screen, "bytes of maximal contiguous runs of writes", file.sequential_write, text.size)
    _show_histogram(screen, "bytes written between two syncs", file.bytes_between_syncs, text.size)
    for name, call in sorted(file.syscalls.items()):
        _show_syscall(screen, name, call)


def _only_match(readers: List[ProfileReader], glob: str) -> bytes:
    """The path that a glob matches. Raises `UserError` if there is none, or more than one."""
    rows = combined_rows(readers, Selection(path=(os.fsencode(glob),)))
    paths = itertools.groupby(rows, lambda row: row.path)
    matches: List[bytes] = [path for path, _ in itertools.islice(paths, 4)]
    if not matches:
        raise UserError(f"{glob}: no such file in the profile; `iotrace report PROFILE --limit 0` lists those it has")
    if len(matches) > 1:
        names = ", ".join(text.safe(path) for path in matches[:3])
        raise UserError(f"{glob}: more than one file matches: {names}{', ...' if len(matches) > 3 else ''}")
    return matches[0]


def show_file(out: TextIO, readers: List[ProfileReader], path: str, columns: Optional[int] = None) -> None:
    """All that is known of one file. `path` is its name, or how the tables write it, or a glob that it alone matches.

    Raises `UserError` if no profile has it.
    """
    files = combined_files(readers, os.fsencode(path)) or combined_files(readers, text.unescape(path))
    if not files:
        files = combined_files(readers, _only_match(readers, path))
    screen = Screen(out, columns)
    header = _sum_headers(readers)
    show_header(screen, header)
    for number, file in enumerate(files):
        if number:
            screen.line()
        _show_one(screen, file, header.started_ns)
