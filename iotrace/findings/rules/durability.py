"""Rules about syncs, and writes that are durable when they return."""

from __future__ import annotations

from typing import List, Optional

from iotrace import text
from iotrace.findings.rule import Concern, Evidence, Limits, Rule, Run, Severity, Sum, Threshold
from iotrace.findings.rules._figures import each, median_below, of_time, writes_per_sync
from iotrace.profile.activity import Syncs


def _sync_after_every_write(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    found = evidence.activity
    if found.syncs.calls < limits["syncs"] or not found.written.calls:
        return None
    if writes_per_sync(found) > limits["writes"]:
        return None
    return Concern(found.syncs.latencies.total, found.syncs.bytes)


def _said_sync_after_every_write(total: Sum, run: Run) -> str:
    syncs, writes = total.activity.syncs, writes_per_sync(total.activity)
    every = "write" if 0.95 <= writes < 1.05 else f"{writes:.1f} writes"
    said = f"{syncs.calls:,} syncs of {each(syncs.bytes, syncs.calls)} each, one for every {every},"
    return f"{said} took {of_time(total, run)}"


def _tiny_syncs(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    found = evidence.activity
    if found.syncs.calls < limits["syncs"] or not median_below(found.syncs.between, limits["bytes"]):
        return None
    if found.written.calls and writes_per_sync(found) <= 1.5:
        return None  # said by sync-after-every-write
    return Concern(found.syncs.latencies.total, found.syncs.bytes)


def _said_tiny_syncs(total: Sum, run: Run) -> str:
    syncs = total.activity.syncs
    return f"{syncs.calls:,} syncs cover {each(syncs.bytes, syncs.calls)} each and took {of_time(total, run)}"


def _empty(syncs: Syncs) -> int:
    return syncs.between.get(0, 0)


def _empty_syncs(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    syncs = evidence.activity.syncs
    empty = _empty(syncs)
    if empty < limits["syncs"] or empty < limits["share"] * syncs.calls:
        return None
    return Concern(syncs.latencies.total * empty // syncs.calls)


def _said_empty_syncs(total: Sum, _run: Run) -> str:
    syncs = total.activity.syncs
    return f"{_empty(syncs):,} of {syncs.calls:,} syncs had nothing to make durable"


def _durable_writes(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    found = evidence.activity
    if found.durable < limits["writes"] or found.written.bytes > limits["bytes"] * found.written.calls:
        return None
    return Concern(found.written.latencies.total, found.written.bytes)


def _said_durable_writes(total: Sum, run: Run) -> str:
    written = total.activity.written
    return (
        f"{total.activity.durable:,} writes of {each(written.bytes, written.calls)} each on O_SYNC or O_DSYNC"
        f" descriptors took {of_time(total, run)}"
    )


def _slow_tail(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    syncs = evidence.activity.syncs
    if syncs.latencies.count < limits["syncs"]:
        return None
    median, late = syncs.latencies.quantile(0.5) or 0, syncs.latencies.quantile(0.99) or 0
    if late < limits["p99_ms"] * 1e6 or late < limits["times"] * median:
        return None
    beyond = syncs.latencies.total - syncs.latencies.count * median
    return Concern(max(beyond, 0), syncs.bytes)


def _said_slow_tail(total: Sum, _run: Run) -> str:
    latencies = total.activity.syncs.latencies
    return (
        f"one sync of a hundred takes {text.duration(latencies.quantile(0.99) or 0)} and more, the median"
        f" {text.duration(latencies.quantile(0.5) or 0)}; the slowest took {text.duration(latencies.most)}"
    )


def _left_unsynced(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    syncs = evidence.activity.syncs
    if evidence.file.state == "deleted" or not syncs.calls or syncs.unsynced < limits["bytes"]:
        return None
    return Concern(0, syncs.unsynced)


def _said_left_unsynced(total: Sum, _run: Run) -> str:
    return f"{text.size(total.activity.syncs.unsynced)} written after the last sync are not durable"


RULES: List[Rule] = [
    Rule(
        "sync-after-every-write",
        Severity.HIGH,
        "at least {syncs} syncs of a file, and at most {writes} writes for each",
        {"syncs": Threshold(100, "syncs of the file"), "writes": Threshold(1.5, "writes to the file a sync")},
        _said_sync_after_every_write,
        "put several changes into one transaction or group commit, or give the log a device with a protected cache",
        "every one of these writes has to be durable by itself",
        holds=_sync_after_every_write,
    ),
    Rule(
        "tiny-syncs",
        Severity.MEDIUM,
        "at least {syncs} syncs of a file, most of which cover less than {bytes} bytes, with several writes each",
        {"syncs": Threshold(100, "syncs of the file"), "bytes": Threshold(65536, "bytes written between two syncs")},
        _said_tiny_syncs,
        "sync less often: a larger group of commits, or a timer",
        "each is the commit of a transaction that somebody waits for",
        holds=_tiny_syncs,
    ),
    Rule(
        "empty-syncs",
        Severity.MEDIUM,
        "at least {syncs} syncs of a file, and {share} of them, had nothing written before them",
        {"syncs": Threshold(50, "syncs"), "share": Threshold(0.5, "of all syncs of the file")},
        _said_empty_syncs,
        "leave out the sync where nothing was written since the last one",
        "the data were written by mapped memory, or by a process that was not traced",
        holds=_empty_syncs,
    ),
    Rule(
        "durable-small-writes",
        Severity.HIGH,
        "at least {writes} writes on O_SYNC or O_DSYNC descriptors, of {bytes} bytes each at most on average",
        {"writes": Threshold(100, "writes"), "bytes": Threshold(65536, "bytes a write")},
        _said_durable_writes,
        "write larger pieces, or write without O_SYNC and call fdatasync once for several",
        "each has to be durable by itself",
        holds=_durable_writes,
    ),
    Rule(
        "slow-sync-tail",
        Severity.MEDIUM,
        "of at least {syncs} syncs of a file, one in a hundred takes {p99_ms} ms and {times} times the median",
        {
            "syncs": Threshold(200, "syncs"),
            "p99_ms": Threshold(10, "ms"),
            "times": Threshold(20, "times the median"),
        },
        _said_slow_tail,
        "look for who else writes to the device at these times, and for the journal of the file system",
        "it was a single event, such as a snapshot",
        holds=_slow_tail,
    ),
    Rule(
        "left-unsynced",
        Severity.LOW,
        "a file that is synced has at least {bytes} bytes that were written after the last sync",
        {"bytes": Threshold(1, "bytes")},
        _said_left_unsynced,
        "sync once more before the file is closed, if what was written last matters",
        "tracing ended before the application did",
        holds=_left_unsynced,
    ),
]
