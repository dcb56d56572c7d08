"""iotrace as a process: how it starts and stops, with how many files, and what it takes while it traces."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple

from iotrace.profile import reader
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.writer import write
from tools.benchmark import moving, page, reading, starts
from tools.benchmark.machine import ROOT, BenchError, environment, iotrace, iotrace_command
from tools.benchmark.names import names as loads_of_names
from tools.benchmark.rows import Row

MANY_RATE = 12_000  # files a second
STOP_S, STOP_MIB = 3.0, 150.0
FIRST_LINE_S, FLAT = 1.0, 1.5  # peak memory with 100 times the files
OWN_SHARE = 0.01
BYTES = 100


@dataclass
class Plan:
    """How much of everything: as in earnest, or quickly."""

    directory: Path
    progress: Callable[[str], None]
    starts: int = 5
    peers: bool = True  # start bpftrace, too, which takes seconds
    stop_files: int = 100_000
    many_files: int = 1_000_000
    room: int = 65_536
    shown_files: int = 1_000_000
    moved_files: int = 200_000
    seconds: float = 10.0
    names_rounds: int = 3
    names_divisor: int = 1

    def quick(self) -> None:
        self.peers = False
        self.stop_files, self.many_files, self.room, self.moved_files = 20_000, 100_000, 8192, 80_000
        self.shown_files, self.seconds, self.names_rounds, self.names_divisor = 100_000, 8.0, 1, 20


def _workplace(plan: Plan) -> Path:
    place = plan.directory / "made"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return place


def start(plan: Plan) -> Iterator[Row]:
    """How long a run takes beside its command."""
    yield from starts.measure(plan.directory, plan.starts, plan.progress, peers=plan.peers)


# -- many files ----------------------------------------------------------------------------------------------------


class Accounted(NamedTuple):
    """What a profile says about files of BYTES bytes."""

    files: int
    bytes: int
    lost: Dict[str, int]


def _accounted(path: Path) -> Accounted:
    with reader.open(path) as profile:
        lost = {what: count for what, count in profile.header.lost.items() if count}
    with contextlib.closing(sqlite3.connect(path)) as database:
        files, moved = database.execute("SELECT count(*), sum(bytes_written) FROM file").fetchone()
    return Accounted(files, moved or 0, lost)


class Made(NamedTuple):
    """A traced run that made files."""

    rate: float  # files a second
    end: float  # seconds from the last of them to the end of the run
    peak_mib: float
    seen: Accounted


def _make(plan: Plan, files: int, rate: int, *options: object) -> Made:
    """At most `rate` files a second, 0: as fast as it goes."""
    place, output = _workplace(plan), plan.directory / "many"
    command = [plan.directory / "files", "make", place, files, BYTES, "unlink", rate]
    done = iotrace(
        plan.directory, "run", "-q", "--force", "-o", output, "--path", f"{place}/*", *options, "--", *command
    )
    made, begun, ended = map(int, done.stdout.split())
    return Made(made / (ended - begun) * 1e9, (done.ended_ns - ended) / 1e9, done.peak_kib / 1024, _accounted(output))


def _complaint(files: int, seen: Accounted) -> str:
    lost = ", ".join(f"{count:,} {what}" for what, count in seen.lost.items())
    wrong = "" if seen.bytes == files * BYTES else f"; {seen.bytes:,} of {files * BYTES:,} bytes"
    return f"{seen.files:,} accounted for{wrong}; lost: {lost or 'nothing'}"


def stop(plan: Plan) -> Iterator[Row]:
    """From the last event to a complete profile."""
    files = plan.stop_files
    plan.progress(f"stop: {files:,} files")
    made = _make(plan, files, 0, "--max-files", max(131_072, files))
    whole = made.seen == (files, files * BYTES, {})
    yield Row(
        "stop",
        f"end of a run with {files:,} files",
        f"{made.end:.2f} s, {made.peak_mib:.0f} MiB; {_complaint(files, made.seen)}",
        f"{STOP_S:.0f} s, {STOP_MIB:.0f} MiB, all accounted for",
        whole and made.end <= STOP_S and made.peak_mib <= STOP_MIB,
        {"seconds": made.end, "peak_mib": made.peak_mib, "files": made.seen.files},
    )


def many(plan: Plan) -> Iterator[Row]:
    """More files than there is room for in the kernel, made no faster than they can be moved by one CPU."""
    files = plan.many_files
    plan.progress(f"many: {files:,} files")
    made = _make(plan, files, MANY_RATE, "--max-files", plan.room)
    yield Row(
        "many",
        f"{files:,} files with --max-files {plan.room}",
        f"made {made.rate:,.0f} a second; {_complaint(files, made.seen)}; {made.end:.1f} s to end, "
        f"{made.peak_mib:.0f} MiB",
        "all accounted for, nothing lost",
        made.seen == (files, files * BYTES, {}),
        {
            "files": made.seen.files,
            "rate": made.rate,
            "seconds": made.end,
            "peak_mib": made.peak_mib,
            **{f"lost_{what}": count for what, count in made.seen.lost.items()},
        },
    )


def moved(plan: Plan) -> Iterator[Row]:
    """How fast files go to the profile while more come."""
    plan.progress(f"moved: {plan.moved_files:,} files")
    yield moving.measure(plan.directory, plan.moved_files)


def names(plan: Plan) -> Iterator[Row]:
    """The end of a run after loads of names."""
    plan.progress("names")
    yield from loads_of_names(plan.directory, plan.names_rounds, plan.names_divisor)


# -- showing a profile -----------------------------------------------------------------------------------------------


def synthetic(path: Path, files: int) -> None:
    """A profile of so many files, written by iotrace's own writer."""
    calls = {"read": SyscallStats(3, 8192, 5, 9, {}, {4096: 3}, {0: 1, 4096: 2}, {512: 3}), "close": SyscallStats(1)}

    def each() -> Iterator[FileStats]:
        for number in range(files):
            yield FileStats(
                4026531841,
                b"/srv/%d/%d.dat" % (number // 1000, number),
                device="8:1",
                inode=number + 1,
                fstype="ext4",
                opens=1,
                closes=1,
                bytes_read=number * 7919 % 1_000_003,
                syscalls=calls,
                sequential_read={8192: 1},
                first_read_ns=5,
                last_read_ns=9,
                lowest_offset=0,
                highest_offset=8191,
            )

    write(path, Header(version="0", host="bench", kernel="0", machine="none", ended_ns=10**9), each(), force=True)


class Shown(NamedTuple):
    first: float  # seconds to the first line
    file: float  # to the first line about a file
    end: float
    peak_kib: int


def show(plan: Plan) -> Iterator[Row]:
    """report and export of a profile with a million files, and of one with a hundredth."""
    large, small = plan.directory / "large", plan.directory / "small"
    plan.progress(f"show: a profile of {plan.shown_files:,} files")
    synthetic(large, plan.shown_files)
    synthetic(small, plan.shown_files // 100)
    commands = {"report": ["report"], "export --format json": ["export"]}
    for name, words in commands.items():
        plan.progress(f"show: {name}")
        base, shown = _shown(plan, [*words, str(small)]), _shown(plan, [*words, str(large)])
        grown = shown.peak_kib / base.peak_kib
        yield Row(
            "show",
            f"{name}, {plan.shown_files:,} files",
            f"first line {shown.first:.2f} s, first file {shown.file:.2f} s, all {shown.end:.1f} s; "
            f"{shown.peak_kib / 1024:.0f} MiB, {grown:.1f} times that of {plan.shown_files // 100:,}",
            f"first line {FIRST_LINE_S:.0f} s, memory flat",
            shown.first <= FIRST_LINE_S and grown <= FLAT,
            {**shown._asdict(), "grown": grown},
        )


def _shown(plan: Plan, words: List[str]) -> Shown:
    result = plan.directory / "measured"
    command = [str(plan.directory / "measure"), str(result), *iotrace_command(*words)]
    begun = time.monotonic()
    first = file = 0.0
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            first = first or time.monotonic() - begun
            if not file and b"/srv/" in line:
                file = time.monotonic() - begun
    started, ended, peak, _, status = map(int, result.read_text().split())
    if status:
        raise BenchError(f"iotrace {words[0]} ended with status {status}")
    return Shown(first, file, (ended - started) / 1e9, peak)


def of_page(plan: Plan) -> Iterator[Row]:
    """The page of a profile with a hundred thousand files."""
    plan.progress(f"page: a profile of {plan.stop_files:,} files")
    yield page.measure(plan.directory, plan.stop_files)


def reads(plan: Plan) -> Iterator[Row]:
    """All that reads a profile with a hundred thousand files, or two."""
    plan.progress(f"read: profiles of {plan.stop_files:,} files")
    yield from reading.measure(plan.directory, plan.stop_files)


# -- while tracing ---------------------------------------------------------------------------------------------------


def own(plan: Plan) -> Iterator[Row]:
    """iotrace's own use of a CPU, its status line shown."""
    place, output, files, rate = _workplace(plan), plan.directory / "own", 1000, 1_000_000
    plan.progress("own: a million calls a second")
    command = [plan.directory / "files", "read", place, files, rate, plan.seconds]
    done = iotrace(plan.directory, "run", "--status", "on", "--force", "-o", output, "--", *command, terminal=True)
    with reader.open(output) as profile:
        share = profile.header.overhead["own_share"]
    assert isinstance(share, float)
    calls, begun, ended = map(int, done.stdout.split())
    rate_made = calls / (ended - begun) * 1e9
    yield Row(
        "own",
        f"iotrace's own CPU, {files:,} files",
        f"{share:.2%} of a CPU at {rate_made:,.0f} calls a second",
        f"{OWN_SHARE:.0%} at {rate:,}",
        share <= OWN_SHARE,
        {"share": share, "calls_per_second": rate_made},
    )


ROWS: Dict[str, Callable[[Plan], Iterator[Row]]] = {
    "start": start,
    "stop": stop,
    "many": many,
    "moved": moved,
    "names": names,
    "show": show,
    "read": reads,
    "page": of_page,
    "own": own,
}
