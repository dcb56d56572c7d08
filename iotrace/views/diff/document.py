"""What is different between two runs, as JSON. It is a contract: keys are added, never renamed.

    {"schema": "iotrace-diff/1",
     "before": {"profile": ..., "host": ..., "command": [...], "started_ns": 0, "seconds": 0.0, "files": 0,
                "lost": {...}},
     "after": {...},
     "same_runs": 0,
     "figures": {"read": {"p99": FIGURE, ..., "size_shift": FIGURE, ...}, "pread64": {...}, ...},
     "errors": {"EIO": [0, 3]},
     "by": "file", "per": "second", "sort": "bytes",
     "counts": {"appeared": 1, "vanished": 0, "grew": 2, ...},
     "changes": [{"name": "/srv/x", "kind": "grew", "before": PART, "after": PART, "rate": FIGURE}],
     "conditions": [{"condition": "p99(fsync)>+20%", "outcome": "met", "why": "", "figure": FIGURE}]}

A FIGURE is `{"before": [VALUE, LOW, HIGH, CALLS], "after": [...], "relative": 0.2, "verdict": "told", "needed": 381}`:
the value in each run, the interval that it lies in, and how many calls it is made of; null if a run has no such figure.
`relative` is null if it is unknown, or infinite. The figure of a shift has `"before": [0, 0, 0, CALLS]`. A PART is
null, or the sums over a file, a directory or a system call. Names and words of commands are UTF-8, with an escape for
what cannot stay, which `iotrace.unescape` undoes.
"""

from __future__ import annotations

import json
import math
from typing import Dict, List, Optional, TextIO

from iotrace.profile.activity import Calls
from iotrace.text import portable
from iotrace.views.diff.changes import Entry, Part
from iotrace.views.diff.figures import METRICS, SHIFTS, Change, Figure
from iotrace.views.diff.show import Result
from iotrace.views.diff.side import Side, kinds, same_runs

SCHEMA = "iotrace-diff/1"


def _side(side: Side) -> Dict[str, object]:
    header = side.header
    return {
        "profile": side.name,
        "host": header.host,
        "command": [portable(word) for word in header.command],
        "started_ns": header.started_ns,
        "seconds": side.seconds,
        "files": side.files,
        "lost": header.lost,
    }


def _figure(figure: Optional[Figure]) -> Optional[List[float]]:
    return None if figure is None else [figure.value, figure.low, figure.high, figure.calls]


def _change(change: Change) -> Dict[str, object]:
    relative = change.relative
    return {
        "before": _figure(change.before),
        "after": _figure(change.after),
        "relative": None if relative is None or math.isinf(relative) else relative,
        "verdict": change.verdict.value,
        "needed": max((figure.needed for figure in change if figure is not None), default=0),
    }


def _figures(before: Calls, after: Calls, seconds: List[float]) -> Dict[str, object]:
    found = {
        name: _change(Change(metric.compute(before, seconds[0]), metric.compute(after, seconds[1])))
        for name, metric in METRICS.items()
    }
    for name, shift in SHIFTS.items():
        moved = shift.compute(before, after)
        nothing = None if moved is None else Figure(0, 0, 0, moved.calls, moved.needed)
        found[name] = _change(Change(nothing, moved))
    return dict(found)


def _part(part: Optional[Part]) -> Optional[Dict[str, int]]:
    return None if part is None else {"files": part.files, **part.sums._asdict()}


def _entry(entry: Entry) -> Dict[str, object]:
    return {
        "name": portable(entry.name),
        "kind": entry.kind.name.lower(),
        "before": _part(entry.before),
        "after": _part(entry.after),
        "rate": _change(entry.change),
    }


def write(out: TextIO, result: Result) -> None:
    """Write everything, for programs."""
    sides = result.sides
    before, after = (side.errors for side in sides)
    seconds = [side.seconds for side in sides]
    document = {
        "schema": SCHEMA,
        "before": _side(sides[0]),
        "after": _side(sides[1]),
        "same_runs": len(same_runs(sides)),
        "figures": {name: _figures(sides[0].of(name), sides[1].of(name), seconds) for name in kinds(sides)},
        "errors": {name: [before.get(name, 0), after.get(name, 0)] for name in sorted({*before, *after})},
        "by": result.by,
        "per": result.per,
        "sort": result.sort,
        "counts": {kind.name.lower(): number for kind, number in result.changes.counts.items()},
        "changes": [_entry(entry) for entry in result.changes.entries],
        "conditions": [
            {
                "condition": judged.condition.text,
                "outcome": judged.outcome.value,
                "why": judged.why,
                "figure": _change(judged.change),
            }
            for judged in result.judged
        ],
    }
    out.write(json.dumps(document, indent=1) + "\n")
