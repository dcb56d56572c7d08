"""Rules about what is done again and again to a file."""

from __future__ import annotations

from typing import List, Optional

from iotrace import text
from iotrace.findings.rule import Concern, Evidence, Limits, Rule, Run, Severity, Sum, Threshold
from iotrace.findings.rules._figures import of_time


def _reread(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    read, size = evidence.activity.read, evidence.size
    if size < limits["bytes"] or read.bytes < limits["times"] * size:
        return None
    return Concern(read.latencies.total, read.bytes - size)


def _said_reread(total: Sum, run: Run) -> str:
    read = total.activity.read
    times = read.bytes / total.size if total.size else 0.0
    return f"{text.size(total.size)} were read {times:.1f} times over, which took {of_time(total, run)}"


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


RULES: List[Rule] = [
    Rule(
        "read-again",
        Severity.MEDIUM,
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
