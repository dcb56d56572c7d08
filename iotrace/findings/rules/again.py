"""Rules about what is done again and again to a file."""

from __future__ import annotations

from typing import List, Optional

from iotrace import text
from iotrace.findings.rule import Concern, Evidence, Limits, Rule, Run, Severity, Sum, Threshold
from iotrace.findings.rules._figures import of_time
from iotrace.profile.activity import Activity


def _over_and_over(found: Activity, moved: int, limits: Limits) -> Optional[Concern]:
    """What it concerns if that much of a file that is large enough is several times the whole of it."""
    if found.size < limits["bytes"] or moved < limits["times"] * found.size:
        return None
    return Concern(found.read.latencies.total, moved - found.size)


def _times(found: Activity, what: str, moved: int) -> str:
    """That so much was done to files, in relation to their size."""
    return f"{text.size(found.size)} were {what} {moved / found.size if found.size else 0.0:.1f} times over"


def _reread(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    return _over_and_over(evidence.activity, evidence.activity.read.bytes, limits)


def _said_reread(total: Sum, run: Run) -> str:
    read = _times(total.activity, "read", total.activity.read.bytes)
    return f"{read}, which took {of_time(total, run)}"


def _rewritten(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    found = evidence.activity
    if found.rewrites < limits["rewrites"] or found.rewrites < limits["share"] * found.written.calls:
        return None
    return Concern(found.written.latencies.total, found.written.bytes)


def _said_rewritten(total: Sum, run: Run) -> str:
    found = total.activity
    return (
        f"{found.rewrites:,} of {found.written.calls:,} writes go where the one before went, which took"
        f" {of_time(total, run)}"
    )


def _open_storm(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    found = evidence.activity
    data = found.read.calls + found.written.calls
    if found.opens < limits["opens"] or data > limits["calls"] * found.opens:
        return None
    return Concern(found.lifetime.total, found.read.bytes + found.written.bytes)


def _said_open_storm(total: Sum, run: Run) -> str:
    found = total.activity
    data = found.read.calls + found.written.calls
    return (
        f"opened {found.opens:,} times, for {data / max(found.opens, 1):.1f} reads and writes each time;"
        f" opening and closing took {of_time(total, run)}"
    )


def _storage_again(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    return _over_and_over(evidence.activity, evidence.activity.read.storage_bytes, limits)


def _said_storage_again(total: Sum, run: Run) -> str:
    brought = _times(total.activity, "brought from storage", total.activity.read.storage_bytes)
    return f"{brought}, read ahead included; reading took {of_time(total, run)}"


def _two_speeds(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    read = evidence.activity.read
    missed, cached = read.missed, read.cached
    if missed.count < limits["calls"] or not limits["least"] <= missed.count / max(read.calls, 1) <= limits["most"]:
        return None
    if (missed.quantile(0.5) or 0) < limits["times"] * (cached.quantile(0.5) or 0):
        return None
    return Concern(sum(lower * count for lower, count in missed.histogram.items()), read.storage_bytes)


def _said_two_speeds(total: Sum, run: Run) -> str:
    read = total.activity.read
    missed, cached = read.missed, read.cached
    return (
        f"{missed.count:,} of {read.calls:,} reads wait for storage ({text.duration(missed.quantile(0.5) or 0)} in the"
        f" median), the others do not ({text.duration(cached.quantile(0.5) or 0)}); waiting took {of_time(total, run)}"
    )


RULES: List[Rule] = [
    Rule(
        "from-storage-again",
        Severity.MEDIUM,
        "of a file of at least {bytes} bytes {times} times its size is brought from storage",
        {"bytes": Threshold(1 << 20, "bytes"), "times": Threshold(2, "times its size, read ahead included")},
        _said_storage_again,
        "give the page cache the room to keep the file, or read it with less readahead (POSIX_FADV_RANDOM)",
        "somebody has dropped the cache, or the file is read with O_DIRECT by what has a cache of its own",
        holds=_storage_again,
    ),
    Rule(
        "two-speeds",
        Severity.LOW,
        "at least {calls} reads, {least} to {most} of all of a file, wait for storage, and take {times} times as long"
        " as the others in the median",
        {
            "calls": Threshold(20, "reads that wait"),
            "least": Threshold(0.01, "of all reads"),
            "most": Threshold(0.5, "of all reads"),
            "times": Threshold(10, "times the median of the others"),
        },
        _said_two_speeds,
        "read ahead what is going to be needed (readahead, POSIX_FADV_WILLNEED), or warm the cache before it matters",
        "it is the first time that the file is read",
        holds=_two_speeds,
    ),
    Rule(
        "read-again",
        Severity.LOW,  # what storage has to do with it is said by from-storage-again
        "a file of at least {bytes} bytes is read {times} times over",
        {"bytes": Threshold(1 << 20, "bytes"), "times": Threshold(3, "times its size")},
        _said_reread,
        "keep what was read, or what was made of it",
        "the file is in the page cache, and a copy of it in the application would take its room",
        holds=_reread,
    ),
    Rule(
        "rewritten-in-place",
        Severity.LOW,
        "at least {rewrites} writes, {share} of all to a file, go where the one before went",
        {"rewrites": Threshold(100, "writes"), "share": Threshold(0.5, "of the writes")},
        _said_rewritten,
        "write the last state alone, or append",
        "each state has to be found there after a crash",
        holds=_rewritten,
    ),
    Rule(
        "open-storm",
        Severity.MEDIUM,
        "a file is opened at least {opens} times, for {calls} reads and writes each time at most",
        {"opens": Threshold(200, "opens"), "calls": Threshold(3, "reads and writes an open")},
        _said_open_storm,
        "keep the file open, or keep what is in it",
        "each open is that of another process",
        holds=_open_storm,
    ),
]
