"""The table of metrics: everything that is known about a file, a system call on it, and a run. Each metric stands once.

A metric is a field of one of the records below. Its declaration says all that the rest of the tool needs to know: how
the metric is stored and checked (`values.Kind`), how its values in two parts of a file or in two runs are merged, its
caption and unit in reports, what it means, and which version of the schema introduced it. The SQL tables (`schema`),
the conversion between records and rows (`parts`, `rows`), merging (`merge`), the JSON document and CSV, and the output
of `iotrace report --file` are all derived from it, so no metric can be missing from one of them.

To add a metric, add a field with `since=SCHEMA_VERSION + 1` as a number, and compute it in `iotrace.tracing.decoding`.
Profiles written before then are read with its default.

Times are nanoseconds of the unix epoch, latencies nanoseconds, sizes and offsets bytes. Paths are bytes, as the kernel
has them. A counter never exceeds 2^63-1, which is what a profile (SQLite) can hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Type, TypeVar

from iotrace.profile import failed_opens, runs, values
from iotrace.profile.failed_opens import FailedOpen
from iotrace.profile.runs import Run
from iotrace.profile.series import Row
from iotrace.profile.values import MAX_COUNTER, Counts, Histogram, Kind, Sizes
from iotrace.profile.whose import WHO, Who
from programs.facts.catalogue import BY_NAME

FIRST_VERSION = 2
"""The oldest schema that can be read, and the one that introduced every metric without a `since`."""


class Unit(Enum):
    """What the numbers of a metric count."""

    NUMBER = "number"
    BYTES = "bytes"
    MOMENT = "moment"  # nanoseconds of the unix epoch
    DURATION = "duration"  # nanoseconds


NUMBER, BYTES, MOMENT, DURATION = Unit.NUMBER, Unit.BYTES, Unit.MOMENT, Unit.DURATION


class Metric(NamedTuple):
    """One row of the table."""

    kind: Kind
    merge: Callable[[Any, Any], Any]  # combines the values of two parts, the second of which is the later
    caption: str  # in reports; "" if the metric appears in the heading
    unit: Unit
    doc: str
    since: int = FIRST_VERSION  # the version of the schema that introduced it
    of_transfers: bool = False  # for system calls: only those that move data have it
    in_document: bool = True  # whether it is part of the JSON document
    name: str = ""  # of the field, the column and the JSON key
    default: Callable[[], Any] = lambda: None  # returns the value of a record in which it is not known


def _metric(default: Any, *declared: Any, **more: Any) -> Any:
    """A field of a record. `default` is a value, or a function that returns one."""
    made = {"default_factory": default} if callable(default) else {"default": default}
    return field(**made, metadata={"metric": Metric(*declared, **more)})


def _total(caption: str, unit: Unit, doc: str, **more: Any) -> Any:
    """A count; the parts of a file add up to the whole."""
    return _metric(0, values.COUNT, values.added, caption, unit, doc, **more)


def _least(caption: str, unit: Unit, doc: str, **more: Any) -> Any:
    """A number that may be unknown; the smallest of several wins."""
    return _metric(None, values.MAYBE, values.least, caption, unit, doc, **more)


def _greatest(caption: str, unit: Unit, doc: str, **more: Any) -> Any:
    """A number that may be unknown; the largest of several wins."""
    return _metric(None, values.MAYBE, values.greatest, caption, unit, doc, **more)


def _histogram(caption: str, unit: Unit, doc: str, **more: Any) -> Any:
    """A distribution; the parts of a file add up to the whole."""
    return _metric(dict, values.HISTOGRAM, values.add_tables, caption, unit, doc, **more)


def _fine_histogram(caption: str, unit: Unit, doc: str, **more: Any) -> Any:
    """A distribution of latencies."""
    return _metric(dict, values.FINE, values.add_tables, caption, unit, doc, **more)


def _most(caption: str, unit: Unit, doc: str, **more: Any) -> Any:
    """A number of which the largest wins; 0 if there is none."""
    return _metric(0, values.COUNT, values.most, caption, unit, doc, **more)


def _latest(default: Any, kind: Kind, doc: str, **more: Any) -> Any:
    """A fact about the present; the latest part wins."""
    return _metric(default, kind, values.latest, "", NUMBER, doc, **more)


def _told(default: Any, kind: Kind, merge: Callable[[Any, Any], Any], doc: str, **more: Any) -> Any:
    """A fact about a run."""
    return _metric(default, kind, merge, "", NUMBER, doc, **more)


def _key(kind: Kind, doc: str) -> Dict[str, object]:
    """The metadata of a field without a default, which identifies the file."""
    return {"metric": Metric(kind, values.same, "", NUMBER, doc)}


def table_of(record: Type[Any]) -> Tuple[Metric, ...]:
    """The metrics that the fields of a record declare, in order. Raises TypeError for a field that declares none."""
    found = []
    for each in fields(record):
        if "records" in each.metadata:
            continue
        if "metric" not in each.metadata:
            raise TypeError(f"{record.__name__}.{each.name} does not declare a metric")
        declared: Metric = each.metadata["metric"]
        factory: Any = each.default_factory
        default = factory if callable(factory) else lambda value=each.default: value
        found.append(declared._replace(name=each.name, default=default))
    return tuple(found)


Record = TypeVar("Record")


def _explained(record: Type[Record]) -> Type[Record]:
    """Append the meaning of each metric to the docstring of a record."""
    lines = [f"{metric.name}: {metric.doc}" for metric in table_of(record)]
    record.__doc__ = "\n".join([record.__doc__ or "", "", *lines])
    return record


# --- the table -------------------------------------------------------------------------------------------------------


@_explained
@dataclass
class SyscallStats:
    """One system call on one file."""

    calls: int = _total("", NUMBER, "every return, good or bad")
    bytes: int = _total("", BYTES, "bytes moved by successful calls", of_transfers=True)
    first_ns: Optional[int] = _least("first call", MOMENT, "entry of the first call", in_document=False)
    last_ok_ns: Optional[int] = _greatest("last call", MOMENT, "return of the last successful call", in_document=False)
    errors: Counts = _metric(
        dict, values.COUNTS, values.add_tables, "", NUMBER, "errno -> number of calls that failed with it"
    )
    requested: Histogram = _histogram("requested", BYTES, "bytes asked for, failed calls too", of_transfers=True)
    completed: Histogram = _histogram(
        "completed", BYTES, "bytes moved by successful calls; 0 is the end of the file", of_transfers=True
    )
    latency_ns: Histogram = _fine_histogram("latency", DURATION, "latency of successful calls, entry to return")
    latency_sum_ns: int = _total("busy", DURATION, "time that successful calls took, in sum", since=4)
    latency_max_ns: int = _most("slowest", DURATION, "latency of the slowest successful call", since=4)
    common_sizes: Sizes = _metric(
        dict,
        values.SIZES,
        values.add_tables,
        "common sizes",
        BYTES,
        "the most frequent sizes asked for, up to four -> how often each was",
        since=4,
        of_transfers=True,
    )
    common_sizes_error: int = _total(
        "", NUMBER, "by how much at most the counts of `common_sizes` are off", since=4, of_transfers=True
    )
    storage_bytes: int = _total(
        "from storage",
        BYTES,
        "bytes that reads had brought from storage, what was read ahead included",
        since=5,
        of_transfers=True,
    )
    storage_calls: int = _total(
        "  calls", NUMBER, "successful reads that had bytes brought from storage", since=5, of_transfers=True
    )
    storage_latency_ns: Histogram = _fine_histogram(
        "from storage", DURATION, "latency of these; `latency_ns` has all", since=5, of_transfers=True
    )
    readahead_bytes: int = _total(
        "  read ahead",
        BYTES,
        "of `storage_bytes`, what goes beyond the bytes that the call returned",
        since=5,
        of_transfers=True,
    )
    untimed_calls: int = _total(
        "not timed",
        NUMBER,
        "successful calls that `run --light` has not timed: `latency_ns`, its sum and its maximum, and "
        "`storage_latency_ns` are of the others alone",
        since=6,
        of_transfers=True,
    )
    untimed_ns: int = _total(
        "  busy", DURATION, "time that they took in sum, as estimated from the others", since=6, of_transfers=True
    )


@_explained
@dataclass
class FileStats:
    """One file: a path in a mount namespace, whatever number of opens, processes and inodes it stands for."""

    mnt_ns: int = field(metadata=_key(values.COUNT, "inode number of the mount namespace, as in `/proc/PID/ns/mnt`"))
    path: bytes = field(metadata=_key(values.PATH, "absolute, as of the open that the I/O went through"))
    renamed_to: Optional[bytes] = _latest(
        None, values.MAYBE_PATH, "the path that the last incarnation has now, or had last, where that is another one"
    )
    ended_as: Optional[bytes] = _metric(
        None,
        values.MAYBE_PATH,
        values.agreed,
        "",
        NUMBER,
        "the path that every incarnation has now, or had last, where that is another one, and the same one",
        since=4,
    )
    device: str = _latest("0:0", values.TEXT, "`major:minor`, as in `/proc/PID/mountinfo`")
    inode: int = _latest(0, values.UNSIGNED, "inode number of the last file under that path")
    fstype: str = _latest("", values.TEXT, "name of the file system")
    incarnations: int = _metric(
        1, values.COUNT, values.most, "", NUMBER, "distinct files that were opened under the path"
    )
    state: Optional[str] = _latest(
        None,
        values.STATE,
        "what the path leads to now: `present` (the last incarnation), `replaced` (another file), `deleted` (nothing), "
        "null (nobody can tell)",
        since=3,
    )
    deleted: bool = _latest(False, values.FLAG, "the last incarnation has no name any more that is known")
    unreachable: bool = _latest(
        False, values.FLAG, "no path leads to the file: what `path` says is what could be known", since=3
    )
    size: Optional[int] = _metric(
        None, values.MAYBE, values.latest, "size", BYTES, "bytes of the last incarnation when it was last seen", since=4
    )
    mapped: bool = _metric(
        False, values.FLAG, values.either, "", NUMBER, "was mapped: what goes through mapped memory is in no count"
    )
    host: Optional[str] = _metric(
        None,
        values.MAYBE_TEXT,
        values.same,
        "",
        NUMBER,
        "the host that the file is on, in a profile that others were merged into; null: that of the run",
        since=5,
    )
    who: Optional[Who] = _metric(
        None,
        WHO,
        values.agreed,
        "",
        NUMBER,
        'with `run --by`: the process, cgroup or user whose I/O the row has, such as `{"process": "postgres"}`; a file '
        "then has a row for each",
        since=5,
    )
    opens: int = _total("opens", NUMBER, "successful opens of every kind")
    closes: int = _total("closes", NUMBER, "successful closes")
    bytes_read: int = _total("read", BYTES, "bytes read, over all system calls")
    bytes_written: int = _total("written", BYTES, "bytes written, over all system calls")
    bytes_synced: int = _total("synced", BYTES, "bytes covered by a successful sync")
    bytes_unsynced: int = _total("unsynced", BYTES, "bytes written since the last successful sync")
    rewrites: int = _total("rewrites", NUMBER, "writes that start where the last one did")
    lowest_offset: Optional[int] = _least("lowest offset", BYTES, "first byte that a transfer touched")
    highest_offset: Optional[int] = _greatest("highest offset", BYTES, "last byte that a transfer touched")
    direct_calls: int = _total("direct calls", NUMBER, "data calls on an O_DIRECT descriptor")
    unaligned_calls: int = _total(
        "unaligned calls", NUMBER, "data calls whose offset or size is not a multiple of 4,096", since=4
    )
    unaligned_direct_calls: int = _total("  of O_DIRECT", NUMBER, "those of them on an O_DIRECT descriptor", since=4)
    durable_writes: int = _total("durable writes", NUMBER, "writes with O_SYNC, O_DSYNC, RWF_SYNC, RWF_DSYNC")
    first_read_ns: Optional[int] = _least("first read", MOMENT, "entry of the first read")
    last_read_ns: Optional[int] = _greatest("last read", MOMENT, "return of the last successful read")
    first_write_ns: Optional[int] = _least("first write", MOMENT, "entry of the first write")
    last_write_ns: Optional[int] = _greatest("last write", MOMENT, "return of the last successful write")
    last_sync_ns: Optional[int] = _greatest("last sync", MOMENT, "return of the last successful sync")
    syscalls: Dict[str, SyscallStats] = field(default_factory=dict, metadata={"records": SyscallStats})
    sequential_read: Histogram = _histogram("read runs", BYTES, "bytes of maximal contiguous runs of reads")
    sequential_write: Histogram = _histogram("write runs", BYTES, "bytes of maximal contiguous runs of writes")
    bytes_between_syncs: Histogram = _histogram("between syncs", BYTES, "bytes written to the file between two syncs")
    threads: int = _most(
        "threads",
        NUMBER,
        "distinct threads that did I/O on it; 64: so many or more; at least, over several runs",
        since=5,
    )
    queue_depth_max: int = _most(
        "queue depth", NUMBER, "requests of AIO and io_uring in flight at once, at most", since=5
    )
    queue_depth: Histogram = _histogram(
        "queue depth",
        NUMBER,
        "requests of AIO and io_uring in flight when one is submitted, itself included",
        since=5,
    )
    series: List[Row] = field(default_factory=list, metadata={"records": Row})

    @property
    def calls(self) -> int:
        """The number of system calls on the file, of every kind."""
        return sum(call.calls for call in self.syscalls.values())


def _required(unit: Unit, doc: str) -> Any:
    """A count without a default, so that no record can be made without it."""
    return field(metadata={"metric": Metric(values.COUNT, values.added, "", unit, doc)})


@_explained
@dataclass
class CallTotals:
    """Totals over the system calls on a file, kept in columns so that files can be sorted and summed by them."""

    calls: int = _required(NUMBER, "system calls of every kind")
    errors: int = _required(NUMBER, "calls that failed")
    syncs: int = _required(NUMBER, "fsync, fdatasync and their kin")
    busy_ns: int = _required(DURATION, "time that successful ones took; before schema 4 the least it may have been")

    @classmethod
    def of(cls, syscalls: Dict[str, SyscallStats]) -> CallTotals:
        """The totals, each limited to the largest number that a profile can hold."""
        calls = errors = syncs = busy = 0
        for name, call in syscalls.items():
            calls += call.calls
            errors += sum(call.errors.values())
            if is_sync(name):
                syncs += call.calls
            busy += busy_ns(call)
        return cls(*(min(total, MAX_COUNTER) for total in (calls, errors, syncs, busy)))


def busy_ns(call: SyscallStats) -> int:
    """The time that successful calls took; of older profiles the least that they may have taken.

    Of those that were not timed it is an estimate.
    """
    return timed_ns(call) + call.untimed_ns


def timed_ns(call: SyscallStats) -> int:
    """The same of those that were timed: the sum of `latency_ns`."""
    return call.latency_sum_ns or sum(lower * count for lower, count in call.latency_ns.items())


def _nothing_lost() -> Counts:
    return {"events": 0, "files": 0, "calls": 0}


@_explained
@dataclass
class Header:
    """What a profile says about the run as a whole."""

    version: str = _told("", values.TEXT, values.both_named, "version of iotrace")
    host: str = _told("", values.TEXT, values.both_named, "name of the host, as `uname -n` gives it")
    kernel: str = _told("", values.TEXT, values.both_named, "release of the kernel, as `uname -r` gives it")
    machine: str = _told("", values.TEXT, values.both_named, "architecture, as `uname -m` gives it")
    command: List[bytes] = _told(
        list, values.WORDS, values.common, "words of the command that was started, none if there was no command"
    )
    started_ns: int = _told(0, values.COUNT, min, "when tracing began")
    ended_ns: int = _told(0, values.COUNT, max, "when tracing ended")
    filters: Dict[str, object] = _told(dict, values.OBJECT, values.common, "options that narrowed what was traced")
    attach: str = _told("", values.TEXT, values.both_named, "`fentry`, `raw_tracepoint` or `tracepoint`")
    coverage: Dict[str, str] = _told(
        dict, values.TEXTS, values.add_descriptions, "what -> `full`, or what this kernel could not show"
    )
    lost: Counts = _told(_nothing_lost, values.COUNTS, values.add_tables, "what tracing missed -> how often")
    unattributed: Dict[str, Counts] = _told(
        dict, values.NESTED_COUNTS, values.add_nested, "system call -> errno -> calls that failed without a file"
    )
    overhead: Dict[str, object] = _told(dict, values.OBJECT, values.common, "what tracing cost, see below")
    failed_opens: List[FailedOpen] = _told(
        list,
        failed_opens.FAILED_OPENS,
        failed_opens.added,
        "opens that failed, by path and errno: the 1,000 most frequent, and what is left of each errno",
        since=5,
    )
    runs: List[Run] = _told(
        list, runs.RUNS, runs.added, "the runs that the profile is of; several, if others were merged into it", since=5
    )
    interval_ns: Optional[int] = _told(
        None, values.MAYBE, values.greatest, "how long the intervals of `series` are; null if there are none", since=5
    )


FILE, SYSCALL, TOTALS, HEADER = map(table_of, (FileStats, SyscallStats, CallTotals, Header))
FOURTHS = (4, 5)  # versions with latencies in four buckets for each power of two; older ones had one, newer ones eight
SCHEMA_VERSION = max(FOURTHS[-1] + 1, *(metric.since for metric in (*FILE, *SYSCALL, *TOTALS, *HEADER)))
if [metric.since for metric in SYSCALL] != sorted(metric.since for metric in SYSCALL):
    raise TypeError("system calls are stored as arrays, so new metrics go to the end of SyscallStats")


def is_sync(name: str) -> bool:
    """Whether a system call makes data durable. Unknown names, which a profile may contain, do not."""
    operation = BY_NAME.get(name)
    return operation is not None and operation.syncs
