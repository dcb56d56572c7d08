"""The columns that tables can have, and can be sorted by.

Each has a value for the activity of a group of files, which takes everything that is known about them. Some are sums
that the profile keeps for each file, too (`of_sums`): the tables of `tables`, which are of these alone, take a sixth of
the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional

from iotrace import text
from iotrace.errors import UserError
from iotrace.profile.activity import Activity, Transfers
from iotrace.profile.latencies import Latencies
from iotrace.profile.rows import Sums
from iotrace.profile.values import MAX_COUNTER
from iotrace.views.grid import Value
from programs.facts.catalogue import BY_NAME, READ, WRITE


@dataclass(frozen=True)
class Column:
    """A column: its value for a group of files, and how that is shown."""

    name: str
    title: str
    width: int
    meaning: str
    show: Callable[[Any], str]
    of_activity: Callable[[Activity], Value]
    of_sums: Optional[Callable[[Sums], Value]] = None  # where the sums are enough

    def shown(self, value: Value) -> str:
        """A value as a cell."""
        return "-" if value is None else self.show(value)


def _duration(ns: int) -> str:
    return text.duration(min(ns, MAX_COUNTER)) if ns else "-"


def _mean(bytes_: int, calls: int) -> Optional[int]:
    return round(bytes_ / calls) if calls else None


def _mean_size(found: Transfers) -> Optional[int]:
    return _mean(found.bytes, sum(found.completed.values()) - found.zero)


def _random(found: Transfers) -> Optional[float]:
    return found.random if found.moved else None


def _reached(latencies: Callable[[Activity], Latencies], share: float) -> Callable[[Activity], Value]:
    return lambda found: latencies(found).quantile(share)


def _slowest(latencies: Callable[[Activity], Latencies]) -> Callable[[Activity], Value]:
    return lambda found: latencies(found).most or None


def _below(found: Transfers, size: int) -> int:
    return sum(count for lower, count in found.requested.items() if lower < size)


def _sizes(found: Transfers) -> Optional[str]:
    most = found.sizes.most_frequent(3)
    return " ".join(f"{text.exact_size(size)} x{count:,}" for size, count in most) or None


def _median_missed(found: Activity) -> Value:
    return found.read.missed.quantile(0.5)


def _median_cached(found: Activity) -> Value:
    return found.read.cached.quantile(0.5)


def _errnos(found: Activity) -> Optional[str]:
    most = sorted(found.errors.items(), key=lambda item: (-item[1], item[0]))
    return text.safe_text(" ".join(f"{name} x{count:,}" for name, count in most[:3])) or None


def _with(direction: int) -> Callable[[Activity], Value]:
    """The system calls that read, or that write, the most frequent first."""

    def names(found: Activity) -> Optional[str]:
        calls = [(name, count) for name, count in found.calls.items() if _direction(name) == direction]
        most = sorted(calls, key=lambda item: (-item[1], item[0]))
        return text.safe_text(" ".join(f"{name} x{count:,}" for name, count in most[:3])) or None

    return names


def _direction(name: str) -> Optional[int]:
    operation = BY_NAME.get(name)
    return None if operation is None else operation.direction


_KINDS: Dict[str, Callable[[Activity], Latencies]] = {
    "read": lambda found: found.read.latencies,
    "write": lambda found: found.written.latencies,
    "sync": lambda found: found.syncs.latencies,
}


def _mean_of(latencies: Callable[[Activity], Latencies]) -> Callable[[Activity], Value]:
    def mean(found: Activity) -> Optional[int]:
        known = latencies(found).mean
        return None if known is None else round(known)

    return mean


_EXACT = "at most a tenth off"  # what is said of percentiles


def _latency_columns(prefix: str, of: str, slowest: str, latencies: Callable[[Activity], Latencies]) -> List[Column]:
    width = 9 if prefix else 7
    title = prefix.upper().replace("-", " ")
    found = [
        Column(
            f"{prefix}mean",
            f"{title}MEAN",
            width + bool(prefix),
            f"mean latency of {of}",
            text.duration,
            _mean_of(latencies),
        )
    ]
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        meaning = f"latency that {share:.0%} of {of} do not exceed, {_EXACT}"
        found.append(
            Column(
                f"{prefix}{name}", f"{title}{name.upper()}", width, meaning, text.duration, _reached(latencies, share)
            )
        )
    return [*found, Column(f"{prefix}max", f"{title}MAX", width, slowest, text.duration, _slowest(latencies))]


COLUMNS: List[Column] = [
    Column("files", "FILES", 6, "files", text.number, lambda found: found.files),
    Column(
        "bytes",
        "BYTES",
        8,
        "bytes read and written",
        text.size,
        lambda found: found.read.bytes + found.written.bytes,
        lambda sums: sums.bytes_read + sums.bytes_written,
    ),
    Column("read", "READ", 8, "bytes read", text.size, lambda f: f.read.bytes, lambda sums: sums.bytes_read),
    Column(
        "written", "WRITTEN", 8, "bytes written", text.size, lambda f: f.written.bytes, lambda sums: sums.bytes_written
    ),
    Column("calls", "CALLS", 5, "all calls", text.number, lambda f: sum(f.calls.values()), lambda sums: sums.calls),
    Column(
        "errors",
        "ERRS",
        5,
        "calls that failed",
        text.number,
        lambda found: sum(found.errors.values()),
        lambda sums: sums.errors,
    ),
    Column("errnos", "ERRORS", 22, "the most frequent errors", str, _errnos),
    Column("syncs", "SYNCS", 5, "fsync and its kin", text.number, lambda f: f.syncs.calls, lambda sums: sums.syncs),
    Column("time", "TIME", 7, "time in successful calls", _duration, lambda f: f.busy_ns, lambda sums: sums.busy_ns),
    Column("opens", "OPENS", 5, "successful opens", text.number, lambda found: found.opens),
    Column("reads", "READS", 5, "calls that read", text.number, lambda found: found.read.calls),
    Column("writes", "WRITES", 6, "calls that write", text.number, lambda found: found.written.calls),
    Column("read-size", "READ SIZE", 9, "bytes of a read, mean", text.size, lambda f: _mean_size(f.read)),
    Column(
        "write-size",
        "WR. SIZE",
        8,
        "bytes of a write, mean",
        text.size,
        lambda found: _mean_size(found.written),
    ),
    Column("read-with", "READ WITH", 22, "the system calls that read, and how often", str, _with(READ)),
    Column("write-with", "WRITTEN WITH", 22, "the system calls that write, and how often", str, _with(WRITE)),
    Column("read-sizes", "READ SIZES", 22, "most frequent sizes of reads, exactly", str, lambda f: _sizes(f.read)),
    Column(
        "write-sizes", "WRITE SIZES", 22, "most frequent sizes of writes, exactly", str, lambda f: _sizes(f.written)
    ),
    Column("small-reads", "<4K RD", 6, "reads of less than 4 KiB", text.number, lambda f: _below(f.read, 4096)),
    Column("small-writes", "<4K WR", 6, "writes of less than 4 KiB", text.number, lambda f: _below(f.written, 4096)),
    Column(
        "random-reads", "RAND RD", 7, "share of reads not in sequence", text.share, lambda found: _random(found.read)
    ),
    Column("random-writes", "RAND WR", 7, "share of writes not in sequence", text.share, lambda f: _random(f.written)),
    Column("times-read", "x READ", 6, "bytes read for each byte of the file", "{:.2f}".format, lambda f: f.times_read),
    Column("storage", "STORAGE", 8, "bytes brought from storage for reads", text.size, lambda f: f.read.storage_bytes),
    Column("readahead", "AHEAD", 8, "of these, beyond what was asked for", text.size, lambda f: f.read.readahead_bytes),
    Column(
        "storage-share",
        "FROM ST.",
        8,
        "bytes brought from storage for each byte read, at most all",
        text.share,
        lambda found: found.read.from_storage if found.read.bytes else None,
    ),
    Column("miss-p50", "MISS P50", 8, "median latency of reads that waited for storage", text.duration, _median_missed),
    Column("hit-p50", "HIT P50", 8, "median latency of reads that the cache served", text.duration, _median_cached),
    Column("size", "SIZE", 8, "bytes of the files, as last seen", text.size, lambda found: found.size),
    Column("synced", "SYNCED", 8, "bytes made durable", text.size, lambda found: found.syncs.bytes),
    Column("unsynced", "UNSYNCED", 8, "bytes not made durable", text.size, lambda found: found.syncs.unsynced),
    Column(
        "per-sync",
        "PER SYNC",
        8,
        "bytes made durable by a sync, mean",
        text.size,
        lambda found: _mean(found.syncs.bytes, found.syncs.calls),
    ),
    Column("rewrites", "REWR", 5, "writes where the one before began", text.number, lambda found: found.rewrites),
    Column("direct", "DIRECT", 6, "calls with O_DIRECT", text.number, lambda found: found.direct),
    Column("unaligned", "UNALIGN", 7, "calls that are not whole pages", text.number, lambda found: found.unaligned),
    Column("threads", "THREADS", 7, "threads that did I/O on a file, 64: or more", str, lambda found: found.threads),
    Column("depth", "DEPTH", 5, "requests of a file in flight, at most", text.number, lambda f: f.queue_depth or None),
    *_latency_columns("", "all calls", "the slowest call", lambda found: found.latencies),
    *(
        column
        for kind, latencies in _KINDS.items()
        for column in _latency_columns(f"{kind}-", f"{kind}s", f"the slowest {kind}", latencies)
    ),
]
"""All columns, in the order in which they are listed."""

OF_FILES = {
    *("opens", "random-reads", "random-writes", "times-read", "size", "synced", "unsynced", "per-sync", "rewrites"),
    *("direct", "unaligned", "threads", "depth"),
}
"""The names of those that are known of files alone, and not of one of the system calls on them."""

BY_COLUMN = {column.name: column for column in COLUMNS}
USUAL = ("read", "written", "calls", "errors", "syncs", "time")
OF_CALLS = ("files", "bytes", "calls", "errors", "time", "mean", "p50", "p99", "max")
"""The columns of a table, and those of one of system calls, if nobody asks for others."""


def chosen(words: str, option: str = "--columns") -> List[Column]:
    """The columns that the value of an option names, separated by commas. Raises UserError."""
    found = []
    for name in words.split(","):
        if name not in BY_COLUMN:
            raise UserError(f"{option} {words}: there is no column {name!r}: iotrace report --columns help lists them")
        found.append(BY_COLUMN[name])
    return found
