"""What the intervals of a file must add up to: its totals."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from programs.facts.catalogue import BY_NAME, READ

MS = 10**6


def totals(file: Mapping[str, Any]) -> List[int]:
    """What the rows of a file must add up to, from the counters of its system calls."""
    sums = dict.fromkeys(("read", "read bytes", "write", "write bytes", "syncs", "errors", "busy"), 0)
    for name, call in file["syscalls"].items():
        operation = BY_NAME[name]
        if operation.syncs:
            sums["syncs"] += call["calls"]
        elif operation.direction is None:
            continue
        else:
            kind = "read" if operation.direction == READ else "write"
            sums[kind] += call["calls"]
            sums[f"{kind} bytes"] += call["bytes"]
            sums["busy"] += call["latency_sum_ns"]
        sums["errors"] += sum(call["errors"].values())
    return list(sums.values())


def added(file: Mapping[str, Any]) -> List[int]:
    """What its rows add up to; each interval stands once, and in order."""
    numbers = [row[0] for row in file["series"]]
    assert None not in numbers and numbers == sorted(set(numbers)), file
    return [sum(column) for column in list(zip(*file["series"]))[1:]] or [0] * 7


def check(document: Mapping[str, Any]) -> Dict[str, int]:
    """Every file's rows add up; how many intervals each has, by path."""
    assert document["interval_ns"] == 10 * MS and document["coverage"]["intervals"] == "full"
    wrong = {file["path"]: file["series"] for file in document["files"] if added(file) != totals(file)}
    assert not wrong
    return {file["path"]: len(file["series"]) for file in document["files"]}


def added_or_lost(file: Mapping[str, Any]) -> List[int]:
    """With the calls that are in no interval, as there was no room."""
    rows: List[List[Optional[int]]] = file["series"]
    return [sum(filter(None, column)) for column in list(zip(*rows))[1:]] or [0] * 7
