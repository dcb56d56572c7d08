"""What a traced run amounts to, in memory: the one vocabulary of the tracing side and of everything that shows results.

Times are nanoseconds of the unix epoch, latencies nanoseconds, sizes and offsets bytes. Paths are bytes, as the kernel
has them. A counter never exceeds 2^63-1, which is what a profile (SQLite) can hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Dict, List, Optional, Tuple

Histogram = Dict[int, int]
"""Lower bound of a bucket -> count. Bucket 0 holds zeros, bucket 2^k holds [2^k, 2^(k+1)); empty buckets are absent."""

MAX_COUNTER = (1 << 63) - 1


def bucket(value: int) -> int:
    """The lower bound of the histogram bucket that `value` (not negative) falls into."""
    return 1 << (value.bit_length() - 1) if value else 0


@dataclass
class SyscallStats:
    """One system call on one file."""

    calls: int = 0  # every return, good or bad
    bytes: int = 0  # moved by the successful ones
    errors: Dict[str, int] = field(default_factory=dict)  # "EIO" -> count
    requested: Histogram = field(default_factory=dict)  # bytes asked for, failed calls too
    completed: Histogram = field(default_factory=dict)  # bytes moved, successful calls
    latency_ns: Histogram = field(default_factory=dict)  # entry to return, successful calls
    first_ns: Optional[int] = None  # entry of the first call
    last_ok_ns: Optional[int] = None  # return of the last successful one


@dataclass
class FileStats:
    """One file: a path in a mount namespace, however many opens, processes and inodes stood behind it."""

    mnt_ns: int  # inode number of the mount namespace
    path: bytes  # absolute in that namespace, as of the first traced I/O
    renamed_to: Optional[bytes] = None
    device: str = "0:0"  # "major:minor", as in /proc/PID/mountinfo
    inode: int = 0
    fstype: str = ""
    incarnations: int = 1  # distinct inodes seen under the path; device and inode are the last one's
    deleted: bool = False
    mapped: bool = False  # mmapped: its counts are not the whole truth
    opens: int = 0
    closes: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    bytes_synced: int = 0  # covered by a successful sync
    bytes_unsynced: int = 0  # written since the last one
    rewrites: int = 0  # writes that start where the previous write to the file started
    lowest_offset: Optional[int] = None  # first byte touched by a successful transfer
    highest_offset: Optional[int] = None  # last byte touched
    direct_calls: int = 0  # data calls on an O_DIRECT descriptor
    durable_writes: int = 0  # O_SYNC, O_DSYNC, RWF_SYNC, RWF_DSYNC
    first_read_ns: Optional[int] = None
    last_read_ns: Optional[int] = None
    first_write_ns: Optional[int] = None
    last_write_ns: Optional[int] = None
    last_sync_ns: Optional[int] = None
    syscalls: Dict[str, SyscallStats] = field(default_factory=dict)
    sequential_read: Histogram = field(default_factory=dict)  # bytes of maximal contiguous runs
    sequential_write: Histogram = field(default_factory=dict)
    bytes_between_syncs: Histogram = field(default_factory=dict)

    @property
    def calls(self) -> int:
        """Every system call on the file."""
        return sum(call.calls for call in self.syscalls.values())


@dataclass
class Header:
    """What a profile says once, about the whole run."""

    version: str = ""  # of iotrace
    host: str = ""
    kernel: str = ""
    machine: str = ""
    command: List[bytes] = field(default_factory=list)  # empty unless the run started one
    started_ns: int = 0
    ended_ns: int = 0
    filters: Dict[str, object] = field(default_factory=dict)  # option -> value, as JSON has it
    attach: str = ""  # "fentry", "raw_tracepoint", "tracepoint"
    coverage: Dict[str, str] = field(default_factory=dict)  # what -> "full", or what is missing
    lost: Dict[str, int] = field(default_factory=lambda: {"events": 0, "files": 0, "calls": 0})
    unattributed: Dict[str, Dict[str, int]] = field(default_factory=dict)  # system call -> errno -> calls on no file
    overhead: Dict[str, object] = field(default_factory=dict)  # what tracing cost, as JSON has it


@dataclass
class Profile(Header):
    """A whole run in memory. Runs too large for that are streamed: a `Header` and an iterable of `FileStats`."""

    files: List[FileStats] = field(default_factory=list)


HEADER_FIELDS: Tuple[str, ...] = tuple(f.name for f in fields(Header))
HISTOGRAMS: Tuple[str, ...] = ("sequential_read", "sequential_write", "bytes_between_syncs")  # of a file
SYSCALL_HISTOGRAMS: Tuple[str, ...] = ("requested", "completed", "latency_ns")

# How two records of one file combine. What is in none of these (device, inode, ...) is the later record's.
_SUMS = (
    "opens",
    "closes",
    "bytes_read",
    "bytes_written",
    "bytes_synced",
    "bytes_unsynced",
    "rewrites",
    "direct_calls",
    "durable_writes",
)
_MINIMA = ("lowest_offset", "first_read_ns", "first_write_ns")
_MAXIMA = ("highest_offset", "last_read_ns", "last_write_ns", "last_sync_ns")
_LATEST = ("renamed_to", "device", "inode", "fstype", "deleted")


def add_counts(a: Dict[str, int], b: Dict[str, int]) -> Dict[str, int]:
    """The sum of two tables of counts."""
    return {key: a.get(key, 0) + b.get(key, 0) for key in sorted(a.keys() | b.keys())}


def add_histograms(a: Histogram, b: Histogram) -> Histogram:
    """The sum of two histograms, in order of their buckets."""
    return {key: a.get(key, 0) + b.get(key, 0) for key in sorted(a.keys() | b.keys())}


def earliest(a: Optional[int], b: Optional[int]) -> Optional[int]:
    """The smaller of two values that may be unknown."""
    return b if a is None else a if b is None else min(a, b)


def latest(a: Optional[int], b: Optional[int]) -> Optional[int]:
    """The larger of two values that may be unknown."""
    return b if a is None else a if b is None else max(a, b)


def add_syscalls(a: SyscallStats, b: SyscallStats) -> SyscallStats:
    """The sum of two records of one system call."""
    return SyscallStats(
        calls=a.calls + b.calls,
        bytes=a.bytes + b.bytes,
        errors=add_counts(a.errors, b.errors),
        requested=add_histograms(a.requested, b.requested),
        completed=add_histograms(a.completed, b.completed),
        latency_ns=add_histograms(a.latency_ns, b.latency_ns),
        first_ns=earliest(a.first_ns, b.first_ns),
        last_ok_ns=latest(a.last_ok_ns, b.last_ok_ns),
    )


def _last_seen(file: FileStats) -> int:
    times = [file.last_read_ns, file.last_write_ns, file.last_sync_ns]
    times += [call.last_ok_ns for call in file.syscalls.values()]
    return max((time for time in times if time is not None), default=0)


def add_files(a: FileStats, b: FileStats) -> FileStats:
    """The sum of two records of one file, `b`'s the later one where neither has a time to say so.

    Counts add up; extents and times widen; inode, device, type, new name and deletion are those of the record whose
    I/O is the later. Incarnations are the larger number: from two sums alone nobody can tell which inodes they share.
    """
    total = FileStats(a.mnt_ns, a.path)
    for name in _SUMS:
        setattr(total, name, getattr(a, name) + getattr(b, name))
    for name in _MINIMA:
        setattr(total, name, earliest(getattr(a, name), getattr(b, name)))
    for name in _MAXIMA:
        setattr(total, name, latest(getattr(a, name), getattr(b, name)))
    later = a if _last_seen(a) > _last_seen(b) else b
    for name in _LATEST:
        setattr(total, name, getattr(later, name))
    for name in HISTOGRAMS:
        setattr(total, name, add_histograms(getattr(a, name), getattr(b, name)))
    total.incarnations = max(a.incarnations, b.incarnations)
    total.mapped = a.mapped or b.mapped
    for name in sorted(a.syscalls.keys() | b.syscalls.keys()):
        total.syscalls[name] = add_syscalls(a.syscalls.get(name, SyscallStats()), b.syscalls.get(name, SyscallStats()))
    return total


def _either(a: str, b: str) -> str:
    """Both of two descriptions, or the one that they share."""
    return a if not b or b in a.split(" / ") else f"{a} / {b}" if a else b


def add_headers(a: Header, b: Header) -> Header:
    """The header of two runs taken together: losses add up, what differs is named twice, a common command stays."""
    return Header(
        version=_either(a.version, b.version),
        host=_either(a.host, b.host),
        kernel=_either(a.kernel, b.kernel),
        machine=_either(a.machine, b.machine),
        command=a.command if a.command == b.command else [],
        started_ns=min(a.started_ns, b.started_ns),
        ended_ns=max(a.ended_ns, b.ended_ns),
        filters=a.filters if a.filters == b.filters else {},
        attach=_either(a.attach, b.attach),
        coverage={
            k: _either(a.coverage.get(k, ""), b.coverage.get(k, ""))
            for k in sorted(a.coverage.keys() | b.coverage.keys())
        },
        lost=add_counts(a.lost, b.lost),
        unattributed={
            k: add_counts(a.unattributed.get(k, {}), b.unattributed.get(k, {}))
            for k in sorted(a.unattributed.keys() | b.unattributed.keys())
        },
        overhead=a.overhead if a.overhead == b.overhead else {},
    )


def merge(a: Profile, b: Profile) -> Profile:
    """Two runs as one: the sum of their files, a file being the same where mount namespace and path are."""
    files = {(file.mnt_ns, file.path): file for file in a.files}
    for file in b.files:
        key = (file.mnt_ns, file.path)
        files[key] = add_files(files[key], file) if key in files else file
    return Profile(**vars(add_headers(a, b)), files=list(files.values()))
