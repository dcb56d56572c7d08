"""Where strace and iotrace disagree about a run: nowhere, if iotrace is right.

Both count for the path that a descriptor was opened under, so files are compared one by one, whatever they are called
later.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any, Callable, Dict, List, Mapping, Set, Tuple
from typing import Counter as CounterOf

from .strace import DATA_KEYS, KEYS, READ_KEYS, WRITE_KEYS, Call, Totals

Metrics = Dict[Tuple[str, str], int]  # (system call, metric) -> value


def disagreements(totals: Totals, document: Mapping[str, Any]) -> List[str]:
    """One line per value on which the two observers differ: path, system call, metric, strace's value, iotrace's.

    Files that only one of them saw are among them, and so are losses that iotrace admits to.
    """
    ours = {path: file for path, file in totals.files.items() if file.calls}
    theirs: Dict[bytes, List[Mapping[str, Any]]] = {}  # several where strace does not tell mount namespaces apart
    for file in document["files"]:
        theirs.setdefault(_path(file), []).append(file)
    seen = {path: file.calls for path, file in ours.items()}

    lines = []
    for path in sorted(set(seen) | set(theirs)):
        lines += _file(path, seen.get(path, {}), theirs.get(path, []), bool(totals.undecoded))
    mapped = {path for path, file in ours.items() if file.mapped}
    for path in sorted(mapped & set(theirs)):
        if not any(file["mapped"] for file in theirs[path]):
            lines.append(f"{show(path)}: mapped: strace True, iotrace False")
    lines += _unattributed(totals, document)
    unreadable = sum(call.unreadable for calls in seen.values() for call in calls.values())
    for name, count in document["lost"].items():
        expected = unreadable if name == "iovecs" else 0
        if count != expected:
            lines.append(f"lost {name}: strace {expected}, iotrace {count}")
    return lines


def show(path: bytes) -> str:
    """The path for a terminal: whatever is not printable ASCII is escaped."""
    return ascii(os.fsdecode(path))[1:-1]


def _path(file: Mapping[str, Any]) -> bytes:
    return str(file["path"]).encode("utf-8", "surrogateescape")


def _file(path: bytes, calls: Mapping[str, Call], files: List[Mapping[str, Any]], undecoded: bool) -> List[str]:
    # A call that was killed inside may or may not have returned in the kernel: such a system call cannot be compared.
    skipped = {key for key, call in calls.items() if call.unreturned}
    if skipped or undecoded:
        skipped |= {"read bytes", "written bytes"}
    expected: CounterOf[Tuple[str, str]] = Counter()
    for key, call in calls.items():
        expected.update(_metrics_of_call(key, call))
    found: CounterOf[Tuple[str, str]] = Counter()
    for file in files:
        found.update(_metrics_of_file(file))
    return [
        f"{show(path)}: {key} {metric}: strace {expected[key, metric]}, iotrace {found[key, metric]}"
        for key, metric in sorted(set(expected) | set(found))
        if expected[key, metric] != found[key, metric] and key not in skipped
    ]


def _metrics_of_call(key: str, call: Call) -> Metrics:
    metrics: Metrics = {(key, "calls"): call.calls}
    metrics.update({(key, f"error {errno}"): count for errno, count in call.errors.items()})
    if key in DATA_KEYS:
        metrics[key, "bytes"] = call.bytes
        metrics[_TOTAL[key], "in all"] = call.bytes
        metrics.update({(key, f"requested {size}"): count for size, count in call.requested.items()})
        metrics.update({(key, f"completed {size}"): count for size, count in call.completed.items()})
    if key in ("open", "close"):
        metrics[key + "s", "in all"] = call.calls - sum(call.errors.values())
    return metrics


_TOTAL = {**dict.fromkeys(READ_KEYS, "read bytes"), **dict.fromkeys(WRITE_KEYS, "written bytes")}


def _metrics_of_file(file: Mapping[str, Any]) -> Metrics:
    metrics: Metrics = {
        ("read bytes", "in all"): file["bytes_read"],
        ("written bytes", "in all"): file["bytes_written"],
        ("opens", "in all"): file["opens"],
        ("closes", "in all"): file["closes"],
    }
    for key, call in file["syscalls"].items():
        if key not in KEYS:
            continue  # Linux AIO and io_uring, of which strace sees only the submission
        metrics[key, "calls"] = call["calls"]
        metrics[key, "bytes"] = call.get("bytes", 0)
        metrics.update({(key, f"error {errno}"): count for errno, count in call["errors"].items()})
        for histogram in ("requested", "completed"):
            metrics.update({(key, f"{histogram} {size}"): n for size, n in call.get(histogram, {}).items()})
    return metrics


def _unattributed(totals: Totals, document: Mapping[str, Any]) -> List[str]:
    lines = []
    found = document["unattributed"]
    keys: Set[str] = set(totals.unattributed) | set(found)
    for key in sorted(keys):
        mine, theirs = Counter(totals.unattributed.get(key, {})), Counter(found.get(key, {}))
        for errno in sorted(set(mine) | set(theirs)):
            if mine[errno] != theirs[errno]:
                lines.append(f"(no file): {key} error {errno}: strace {mine[errno]}, iotrace {theirs[errno]}")
    return lines + _failed_opens(totals, document)


def _failed_opens(totals: Totals, document: Mapping[str, Any]) -> List[str]:
    """Path by path. Those that iotrace has no room for are told as the rest of their errno."""
    found: CounterOf[Tuple[bytes, str]] = Counter()
    for failed in document["failed_opens"]:
        if failed["path"] is not None and not failed["cut"]:
            found[_path(failed), failed["errno"]] = failed["count"]
    rest = any(failed["path"] is None or failed["cut"] for failed in document["failed_opens"])
    return [
        f"(not opened): {show(path)} {errno}: strace {totals.refused[path, errno]}, iotrace {found[path, errno]}"
        for path, errno in sorted(set(found) if rest else set(found) | set(totals.refused))
        if totals.refused[path, errno] != found[path, errno]
    ]


Counts = Callable[[bytes, str], Tuple[int, int]]  # (path, system call) -> successful calls, bytes


def counts_of_totals(totals: Totals) -> Counts:
    """strace's numbers, for an application's own account of its I/O to be held against."""

    def counts(path: bytes, key: str) -> Tuple[int, int]:
        call = totals.files[path].calls.get(key, Call()) if path in totals.files else Call()
        return call.calls - sum(call.errors.values()), call.bytes

    return counts


def counts_of_document(document: Mapping[str, Any]) -> Counts:
    """iotrace's numbers, for the same."""
    files = {_path(file): file["syscalls"] for file in document["files"]}

    def counts(path: bytes, key: str) -> Tuple[int, int]:
        call = files.get(path, {}).get(key, {"calls": 0, "errors": {}})
        return call["calls"] - sum(call["errors"].values()), call.get("bytes", 0)

    return counts
