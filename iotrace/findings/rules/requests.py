"""Rules about the sizes, the order and the results of reads and writes."""

from __future__ import annotations

from typing import List, Optional

from iotrace import text
from iotrace.findings.rule import Concern, Evidence, Limits, Rule, Run, Severity, Sum, Threshold
from iotrace.findings.rules._figures import each, half_below, of_time, writes_per_sync
from iotrace.profile.activity import Activity, Transfers


def _is_small(transfers: Transfers, limits: Limits) -> bool:
    """Whether there are enough that moved something, and half of what was asked for is small."""
    return transfers.moved >= limits["calls"] and half_below(transfers.requested, int(limits["bytes"]))


def _small_sequential(transfers: Transfers, limits: Limits) -> Optional[Concern]:
    if not _is_small(transfers, limits) or transfers.random > limits["random"]:
        return None
    return Concern(transfers.latencies.total, transfers.bytes)


def _small_sequential_writes(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    found = evidence.activity
    if found.syncs.calls and writes_per_sync(found) <= 1.5:
        return None  # they cannot be put together as long as each is synced
    return _small_sequential(found.written, limits)


def _small_sequential_reads(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    return _small_sequential(evidence.activity.read, limits)


def _said_small(verb: str, transfers: Transfers, total: Sum, run: Run) -> str:
    return (
        f"{transfers.moved:,} {verb} of {each(transfers.bytes, transfers.moved)} each,"
        f" {text.share(1 - transfers.random)} of them where the one before ended, took {of_time(total, run)}"
    )


def _random_reads(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    read = evidence.activity.read
    if not _is_small(read, limits) or read.random < limits["random"]:
        return None
    return Concern(read.latencies.total, read.bytes)


def _said_random_reads(total: Sum, run: Run) -> str:
    read = total.activity.read
    return (
        f"{read.moved:,} reads of {each(read.bytes, read.moved)} each, {text.share(read.random)} of them somewhere else"
        f" than where the one before ended, took {of_time(total, run)}"
    )


def _unaligned_direct(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    file, found = evidence.file, evidence.activity
    if found.direct < limits["calls"] or file.unaligned_direct_calls < limits["share"] * found.direct:
        return None
    latencies = (found.read.latencies, found.written.latencies)
    return Concern(sum(part.total for part in latencies), found.read.bytes + found.written.bytes)


def _said_unaligned_direct(total: Sum, _run: Run) -> str:
    found = total.activity
    return (
        f"{found.unaligned_direct:,} of {found.direct:,} calls with O_DIRECT are at offsets or of sizes that are no"
        " multiples of 4,096"
    )


def _partial_pages(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    found = evidence.activity
    if found.written.calls < limits["writes"] or found.written.random < limits["random"]:
        return None
    if _of_parts_of_pages(found) < limits["share"] * found.written.calls:
        return None
    return Concern(found.written.latencies.total, found.written.bytes)


def _of_parts_of_pages(found: Activity) -> int:
    """How many writes are not of whole pages, for certain: what is not aligned may be the reads, for all that is known
    but for the sizes."""
    sizes = found.written.sizes
    by_size = sum(count for size, count in sizes.counts.items() if size % 4096) - sizes.missing
    return max(found.unaligned - found.read.calls, by_size)


def _said_partial_pages(total: Sum, run: Run) -> str:
    written = total.activity.written
    return (
        f"{written.calls:,} writes of {each(written.bytes, written.moved)} each, here and there, change parts of pages"
        f" and took {of_time(total, run)}"
    )


def _short_reads(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    read = evidence.activity.read
    successful = read.calls - read.errors - read.zero
    if read.short < limits["calls"] or read.short < limits["share"] * successful:
        return None
    return Concern(read.latencies.total, read.bytes)


def _said_short_reads(total: Sum, _run: Run) -> str:
    read = total.activity.read
    least = "at least " if read.short < read.moved else ""
    return f"{least}{read.short:,} of {read.moved:,} reads returned less than they had asked for"


def _polling(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    read = evidence.activity.read
    if read.zero < limits["calls"] or read.zero < limits["share"] * read.calls:
        return None
    return Concern(read.latencies.total * read.zero // read.calls)


def _said_polling(total: Sum, _run: Run) -> str:
    read = total.activity.read
    return f"{read.zero:,} of {read.calls:,} reads found nothing but the end of the file"


def _one_at_a_time(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    found = evidence.activity
    if found.asynchronous < limits["requests"] or found.queue_depth > limits["depth"]:
        return None
    data = (found.read, found.written)
    return Concern(sum(part.latencies.total for part in data), sum(part.bytes for part in data))


def _said_one_at_a_time(total: Sum, run: Run) -> str:
    found = total.activity
    return (
        f"{found.asynchronous:,} asynchronous requests, never more than {found.queue_depth} of a file at a time, took"
        f" {of_time(total, run)}"
    )


def _shared_by_threads(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    found = evidence.activity
    if found.threads < limits["threads"]:
        return None
    return Concern(found.busy_ns, found.read.bytes + found.written.bytes)


def _said_shared_by_threads(total: Sum, run: Run) -> str:
    files = text.counted(total.activity.files, "file")
    most = f"{total.activity.threads} threads" + (" or more" if total.activity.threads >= _MANY else "")
    return f"up to {most} wait for I/O on {files}, which took {of_time(total, run)}"


_MANY = 64  # threads: so many, or more


RULES: List[Rule] = [
    Rule(
        "one-at-a-time",
        Severity.MEDIUM,
        "at least {requests} requests of Linux AIO or io_uring on a file, never more than {depth} in flight",
        {"requests": Threshold(1000, "requests"), "depth": Threshold(1, "requests in flight")},
        _said_one_at_a_time,
        "submit several requests before waiting for one; with one at a time, pread and pwrite do the same for less",
        "each request needs the result of the one before",
        holds=_one_at_a_time,
    ),
    Rule(
        "shared-by-threads",
        Severity.LOW,
        "files that at least {threads} threads use take {share_of_time} of all time in I/O",
        {
            "threads": Threshold(8, "threads that did I/O on the file"),
            "share_of_time": Threshold(0.5, "of all time in I/O, of all these files"),
        },
        _said_shared_by_threads,
        "look at what the threads wait for: the lock of the inode (writes take it), the device, or one another's syncs",
        "the threads read what is in the cache",
        holds=_shared_by_threads,
    ),
    Rule(
        "small-sequential-writes",
        Severity.MEDIUM,
        "at least {calls} writes to a file, half of them below {bytes} bytes, at most {random} of them at random",
        {
            "calls": Threshold(1000, "writes"),
            "bytes": Threshold(4096, "bytes, a power of two"),
            "random": Threshold(0.1, "of the writes"),
        },
        lambda total, run: _said_small("writes", total.activity.written, total, run),
        "put a buffer of 64 KiB or more before the file",
        "it is a log that somebody reads at once, or each write must survive a crash of the process",
        holds=_small_sequential_writes,
    ),
    Rule(
        "small-sequential-reads",
        Severity.MEDIUM,
        "at least {calls} reads of a file, half of them below {bytes} bytes, at most {random} of them at random",
        {
            "calls": Threshold(1000, "reads"),
            "bytes": Threshold(4096, "bytes, a power of two"),
            "random": Threshold(0.1, "of the reads"),
        },
        lambda total, run: _said_small("reads", total.activity.read, total, run),
        "read 64 KiB or more at a time into a buffer",
        "the reader stops early as a rule, and would read too much",
        holds=_small_sequential_reads,
    ),
    Rule(
        "small-random-reads",
        Severity.MEDIUM,
        "at least {calls} reads of a file, half of them below {bytes} bytes, at least {random} of them at random",
        {
            "calls": Threshold(1000, "reads"),
            "bytes": Threshold(65536, "bytes, a power of two"),
            "random": Threshold(0.8, "of the reads"),
        },
        _said_random_reads,
        "keep more of the file in memory, read in the order of the file, or have more reads under way at a time",
        "the working set is in the cache: look at the latencies of the reads",
        holds=_random_reads,
    ),
    Rule(
        "unaligned-direct",
        Severity.HIGH,
        "of at least {calls} calls with O_DIRECT, {share} are at offsets or of sizes that are no multiples of 4,096",
        {"calls": Threshold(10, "calls"), "share": Threshold(0.1, "of them")},
        _said_unaligned_direct,
        "make offsets and sizes multiples of 4,096: devices with sectors of that size refuse others, or read first",
        "the device has sectors of 512 bytes, and the application is made for it",
        holds=_unaligned_direct,
    ),
    Rule(
        "partial-page-writes",
        Severity.LOW,
        "of at least {writes} writes to a file {random} are at random, and {share} for certain not of whole pages",
        {
            "writes": Threshold(1000, "writes"),
            "random": Threshold(0.5, "of the writes"),
            "share": Threshold(0.5, "of the writes"),
        },
        _said_partial_pages,
        "write whole pages of 4,096 bytes at multiples of 4,096: a page that is not in the cache is read first",
        "the file is in the cache all the time",
        holds=_partial_pages,
    ),
    Rule(
        "short-reads",
        Severity.LOW,
        "at least {calls} reads of a file, {share} of the successful ones, return less than they ask for",
        {"calls": Threshold(100, "reads"), "share": Threshold(0.5, "of the reads that return something")},
        _said_short_reads,
        "ask for what is there: the size is known from fstat",
        "a file is read that somebody else appends to",
        holds=_short_reads,
    ),
    Rule(
        "polling-at-the-end",
        Severity.LOW,
        "at least {calls} reads of a file, {share} of all, return nothing",
        {"calls": Threshold(100, "reads"), "share": Threshold(0.5, "of the reads")},
        _said_polling,
        "wait for changes with inotify instead of reading again and again",
        "the file is opened anew each time and read to its end, in one read more than it takes",
        holds=_polling,
    ),
]
