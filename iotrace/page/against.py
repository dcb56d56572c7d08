"""Another run beside this one: the figures that `iotrace diff` compares, and the files that changed most."""

from __future__ import annotations

import contextlib
from typing import Dict, List, Sequence, Tuple

from iotrace import text
from iotrace.globs import Selection
from iotrace.page.words import micro, name, words
from iotrace.profile import reader
from iotrace.profile.runs import describe
from iotrace.views import front
from iotrace.views.diff import changes, show
from iotrace.views.diff.changes import Kind
from iotrace.views.diff.figures import METRICS, Change, Unit, Verdict
from iotrace.views.diff.side import Side, measure_both, same_runs
from iotrace.views.header import losses

MOST = 200
"""Files that are listed, if their change is more than chance; the others are counted by what became of them."""

_TITLES = {"read": "Read", "write": "Written", "sync": "Synced"}


def _side(side: Side, files: int) -> Dict[str, object]:
    return {
        "profile": words(side.name, 300),
        "subject": words(front.subject(side.header)),
        "took": micro(text.duration(round(side.seconds * 1e9))),
        "files": text.counted(files, "file"),
        "calls": text.counted(side.of("all").calls, "call"),
        "lost": words(losses(side.header) or ""),
    }


def _of_cards(side: Side, files: int) -> Dict[str, str]:
    """What a run has of what the cards at the top show, by their keys."""
    read, written, synced = map(side.of, ("read", "write", "sync"))
    calls = text.counted(side.of("all").calls, "call")
    return {
        "read": f"{text.size(read.bytes)}, {text.counted(read.calls, 'call')}",
        "written": f"{text.size(written.bytes)}, {text.counted(written.calls, 'call')}",
        "synced": text.counted(synced.calls, "call"),
        "files": f"{text.counted(files, 'file')}, {calls}",
    }


def _figures(sides: Sequence[Side]) -> List[Dict[str, object]]:
    found: List[Dict[str, object]] = []
    for family, names in show.LINES.items():
        before, after = (side.of(family) for side in sides)
        if not before.calls and not after.calls:
            continue
        for label in names:
            metric = METRICS[label]
            change = Change(metric.compute(before, sides[0].seconds), metric.compute(after, sides[1].seconds))
            if not any(figure is not None and (figure.value or label != "missed") for figure in change):
                continue
            values = ["-" if figure is None else micro(show.amount(figure.value, metric.unit)) for figure in change]
            row = {"family": _TITLES[family], "label": label, "meaning": metric.doc, "change": show.told(change)}
            found.append({**row, "before": values[0], "after": values[1], "told": change.verdict == Verdict.TOLD})
    return found


def compare(names: Tuple[str, str], selection: Selection) -> Dict[str, object]:
    """Compare two profiles, of which the first is what was before. Raises ProfileError, UserError."""
    sides = measure_both(names, selection)
    by_second = all(side.seconds for side in sides)
    seconds = (sides[0].seconds, sides[1].seconds) if by_second else (1.0, 1.0)
    rule = changes.Rule("bytes", seconds)
    with contextlib.ExitStack() as stack:
        profiles = [stack.enter_context(reader.open(each)) for each in names]
        files = [profile.totals(selection, folded=True).files for profile in profiles]
        found = changes.collect((changes.entry(*pair, rule) for pair in changes.by_file(profiles, selection)), MOST)
    entries = []
    for entry in found.entries:
        if entry.kind not in (Kind.SAME, Kind.UNCLEAR):
            before, after, word = show.cells(entry, Unit.BYTES)
            entries.append({"name": name(entry.name), "before": before, "after": after, "change": word})
    same = same_runs(sides)
    return {
        "before": _side(sides[0], files[0]),
        "after": _side(sides[1], files[1]),
        "cards": _of_cards(sides[0], files[0]),
        "same": words(describe(same[0])) if same else "",
        "figures": _figures(sides),
        "per": "bytes/s" if by_second else "bytes",
        "counts": [[number, kind.value] for kind, number in found.counts.items() if number],
        "entries": entries,
    }
