"""What the commands that read profiles cost: every mode of report, findings, exports, a comparison, and merging."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, List, Tuple

from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.writer import write
from tools.benchmark.machine import BenchError, iotrace_command, measured
from tools.benchmark.rows import Row

SECONDS, MIB = 10.0, 64
"""What a command may take of a CPU, and of memory, for two profiles of 100,000 files."""
MERGED_MIB = 100
_PARTS = 20  # profiles that are merged

_REPORTS = (
    "",
    "--by file",
    "--by directory",
    "--by mount",
    "--by syscall",
    "--by tree",
    "--sort small-writes",
    "--columns writes,write-sizes,sync-p99 --format csv",
    "--histograms",
    "--errors",
    "--path /srv/77*",
)
_EXPORTS = ("--format json --sort bytes", "--format csv", "--format jsonl", "--format openmetrics")


def _files(count: int, seed: int, first: int = 0) -> Iterator[FileStats]:
    """Files that are read and written in pieces, synced and closed; those of another seed have moved something else."""
    for number in range(first, first + count):
        written = (number * 7919 + seed) % 50_021
        pages = written % 40 + 1
        power = 1 << max(written.bit_length() - 1, 0)
        size = {power if written else 0: 1}
        calls = {
            "open": SyscallStats(2, latency_ns={2048: 1, 3072: 1}, latency_sum_ns=5500, latency_max_ns=3200),
            "read": SyscallStats(
                pages + 1,
                4096 * pages,
                5,
                9,
                {"EIO": 1} if number % 100 == 0 else {},
                {4096: pages + 1},
                {4096: pages, 0: 1},
                {768: pages, 1024: 1},
                900 * pages,
                1100,
                {4096: pages + 1},
            ),
            "write": SyscallStats(1, written, 5, 9, {}, size, size, {1024: 1}, 1100, 1100, {written: 1}),
            "close": SyscallStats(2, latency_ns={512: 2}, latency_sum_ns=1100, latency_max_ns=600),
        }
        yield FileStats(
            4026531841,
            b"/srv/%03d/%06d.dat" % (number % 1000, number),
            device="8:1",
            inode=number + 1,
            fstype="ext4",
            opens=2,
            closes=2,
            size=4096 * pages,
            bytes_read=4096 * pages,
            bytes_written=written,
            bytes_synced=written,
            lowest_offset=0,
            highest_offset=4096 * pages - 1,
            sequential_read={4096 << (pages.bit_length() - 1): 1},
            sequential_write=size,
            bytes_between_syncs=size,
            syscalls=calls,
        )


def _profile(path: Path, number: int, files: Iterator[FileStats]) -> Path:
    start = 10**18 + number
    header = Header(host=f"host{number % 10}", command=[b"app"], started_ns=start, ended_ns=start + 60 * 10**9)
    write(path, header, files, force=True)
    return path


def _commands(place: Path, one: Path, other: Path) -> Iterator[Tuple[str, List[str]]]:
    for options in _REPORTS:
        yield f"report {options}".strip(), ["report", str(one), *options.split()]
    yield "findings", ["findings", str(one)]
    for options in _EXPORTS:
        where = ["-o", str(place / "tables"), "--force"] if "csv" in options else []
        yield f"export {options}", ["export", str(one), *options.split(), *where]
    yield "report of two profiles", ["report", str(one), str(other)]
    yield "diff", ["diff", str(one), str(other)]
    yield "diff --by directory", ["diff", str(one), str(other), "--by", "directory"]


def measure(place: Path, files: int) -> Iterator[Row]:
    """Every command over profiles of so many files, and as many files merged out of several profiles. Raises BenchError
    if one fails."""
    one, other = (_profile(place / name, seed, _files(files, 17 * seed)) for seed, name in enumerate(("one", "other")))
    for name, words in _commands(place, one, other):
        yield _row(place, f"{name}, {files:,} files", words, SECONDS, MIB)
    share = files // _PARTS
    parts = [_profile(place / f"part{k}", 100 + k, _files(share, k, k // 2 * share)) for k in range(_PARTS)]
    words = ["merge", *map(str, parts), "-o", str(place / "merged"), "--force"]
    name = f"merge of {_PARTS} profiles of {share:,} files"
    yield _row(place, name, words, 2 * SECONDS, MERGED_MIB)


def _row(place: Path, name: str, words: List[str], seconds: float, mib: int) -> Row:
    done = measured(place, ["sh", "-c", 'exec "$@" > /dev/null', "sh", *iotrace_command(*words)])
    if done.status:
        raise BenchError(f"iotrace {' '.join(words)} ended with status {done.status}: {done.stderr.strip()[-300:]}")
    cpu, peak = done.cpu_ns / 1e9, done.peak_kib / 1024
    return Row(
        "read",
        name,
        f"{cpu:.1f} s of CPU, {peak:.0f} MiB",
        f"{seconds:.0f} s, {mib} MiB",
        cpu <= seconds and peak <= mib,
        {"cpu": cpu, "seconds": done.seconds, "peak_kib": done.peak_kib},
    )
