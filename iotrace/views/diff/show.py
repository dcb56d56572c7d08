"""What is different between two runs, on one screen."""

from __future__ import annotations

import math
from typing import Dict, NamedTuple, Optional, Sequence, TextIO, Tuple

from iotrace import text
from iotrace.profile.merge import with_runs
from iotrace.profile.runs import describe, repeated
from iotrace.views.diff.changes import Changes, Entry, Kind, Part
from iotrace.views.diff.conditions import Judged, Outcome
from iotrace.views.diff.figures import METRICS, SHIFTS, Change, Figure, Unit, Verdict, part
from iotrace.views.diff.side import Side, same_runs
from iotrace.views.header import losses, place, subject
from iotrace.views.screen import Screen

LINES: Dict[str, Tuple[str, ...]] = {
    "read": ("bytes/s", "calls/s", "bytes/call", "missed", "busy", "p50", "p99"),
    "write": ("bytes/s", "calls/s", "bytes/call", "busy", "p50", "p99"),
    "sync": ("calls/s", "busy", "p50", "p99", "max"),
}
"""The figures that are shown of each family."""

_NAMES = {"read": "read", "write": "written", "sync": "synced"}
_MOVED = 0.1  # powers of two, 7%, from which on a shift is shown


class Result(NamedTuple):
    """Two runs, compared."""

    sides: Sequence[Side]
    by: str
    per: str  # "second" or "run"
    sort: str
    changes: Changes
    judged: Sequence[Judged]


def amount(value: float, unit: Unit) -> str:
    """A figure for a reader."""
    if unit == Unit.NS:
        return text.duration(round(value))
    if unit in (Unit.BYTES, Unit.BYTE_RATE):
        return text.size(round(value)) + ("/s" if unit == Unit.BYTE_RATE else "")
    if unit == Unit.SHARE:
        return "<0.1%" if 0 < value < 0.0005 else f"{value:.1%}"
    if unit == Unit.POWERS:
        return f"{value:+.2f}"
    number = f"{value:.2f}" if 0 < value < 100 and value != int(value) else text.number(round(value))
    return number + ("/s" if unit == Unit.NUMBER_RATE else "")


def percent(relative: Optional[float]) -> str:
    """A relative change for a reader: +20%, x12."""
    if relative is None:
        return "-"
    if math.isinf(relative):
        return "new"
    if relative >= 9:
        return f"x{text.number(round(relative + 1))}"
    if abs(relative) < 0.0005:
        return "0%"
    if -0.9995 < relative < -0.995:
        return f"{100 * relative:+.1f}%"  # some is left
    return f"{100 * relative:+.0f}%" if abs(relative) >= 0.1 else f"{100 * relative:+.1f}%"


def told(change: Change) -> str:
    """What can be said of a change, in a few columns."""
    verdict = change.verdict
    if verdict == Verdict.NONE:
        return "-"
    if verdict == Verdict.SAME:
        return "same"
    if verdict == Verdict.FEW:
        counts = [figure.calls for figure in change if figure is not None]
        return f"few: {min(counts):,}" if min(counts) == max(counts) else f"few: {counts[0]:,}, {counts[1]:,}"
    words = percent(change.relative)
    return words if verdict == Verdict.TOLD else f"({words})"


def _cell(figure: Optional[Figure], unit: Unit) -> str:
    return "-" if figure is None else amount(figure.value, unit)


def _show_side(screen: Screen, title: str, side: Side) -> None:
    header = with_runs(side.header)
    lost = "" if losses(header) is None else ", INCOMPLETE"
    words = (
        f"{side.name}: {subject(header)}, {text.duration(round(side.seconds * 1e9))} on {place(header)},"
        f" {text.counted(side.files, 'file')}, {text.counted(side.of('all').calls, 'call')}{lost}"
    )
    screen.beside(f"{title:<7} ", screen.words(words))


def _show_figures(screen: Screen, sides: Sequence[Side]) -> None:
    heading = f"{'':8}{'':11}{'BEFORE':>12}{'AFTER':>13}  CHANGE"
    shown = False
    for family, names in LINES.items():
        before, after = (side.of(family) for side in sides)
        if not before.calls and not after.calls:
            continue
        if not shown:
            screen.line(heading)
            shown = True
        title = _NAMES[family]
        for name in names:
            metric = METRICS[name]
            change = Change(metric.compute(before, sides[0].seconds), metric.compute(after, sides[1].seconds))
            if not any(figure is not None and (figure.value or name != "missed") for figure in change):
                continue
            cells = f"{_cell(change.before, metric.unit):>12} {_cell(change.after, metric.unit):>12}"
            screen.line(f"{title:8}{name:11}{cells}  {told(change)}")
            title = ""
        _show_order(screen, family, sides)
        _show_shifts(screen, sides, family)
    if not shown:
        screen.line("no data was read or written in either run")


def _show_order(screen: Screen, family: str, sides: Sequence[Side]) -> None:
    """Show which part of the calls went elsewhere in the file, where that has changed."""
    if family == "sync":
        return
    change = Change(*(part(side.jumps[family], side.moved[family]) for side in sides))
    if change.verdict == Verdict.TOLD:
        shares = " ".join(f"{text.share(figure.value):>12}" for figure in change if figure is not None)
        screen.line(f"{'':8}{'random':11}{shares}  {told(change)}")


_WORDS: Dict[str, Tuple[str, str, str]] = {
    "size_shift": ("sizes", "larger", "smaller"),
    "latency_shift": ("latency", "slower", "faster"),
}


def _show_shifts(screen: Screen, sides: Sequence[Side], family: str) -> None:
    """Show how far the distributions have moved, if they have."""
    before, after = (side.of(family) for side in sides)
    for name, (what, more, less) in _WORDS.items():
        found = SHIFTS[name].compute(before, after)
        moved = SHIFTS[name.replace("shift", "distance")].compute(before, after)
        if found is None or moved is None or not found.enough or moved.value < _MOVED:
            continue
        sign = more if found.value > 0 else less
        mean = f"{abs(found.value):.2f} powers of two {sign} on average"
        if not found.low <= 0 <= found.high or moved.value > 2 * abs(found.value):
            screen.beside(f"{'':8}{what:11}", f"{mean}; each moved by {moved.value:.2f}")


def _show_errors(screen: Screen, sides: Sequence[Side]) -> None:
    before, after = (side.errors for side in sides)
    words = [
        f"{name} {before.get(name, 0):,} -> {after.get(name, 0):,}"
        for name in sorted({*before, *after})
        if before.get(name, 0) != after.get(name, 0)
    ]
    same = sum(1 for name in before if before[name] == after.get(name, 0))
    if same and words:
        words.append(f"{same} more as before")
    if words:
        screen.beside("errors  ", screen.words(", ".join(words)))


_ONES = {"file": "files", "directory": "directories", "syscall": "system calls"}


def _calls(part: Optional[Part]) -> str:
    return "-" if part is None else text.number(part.sums.calls)


_SORTS: Dict[str, Tuple[str, Unit]] = {
    "bytes": ("BYTES", Unit.BYTES),
    "read": ("READ", Unit.BYTES),
    "written": ("WRITTEN", Unit.BYTES),
    "calls": ("CALLS", Unit.NUMBER),
    "errors": ("ERRORS", Unit.NUMBER),
    "syncs": ("SYNCS", Unit.NUMBER),
    "latency": ("TIME", Unit.NS),
}
"""What entries can be sorted and compared by: a title and a unit."""

SORTS = tuple(_SORTS)


def _show_changes(screen: Screen, result: Result) -> None:
    counts = [f"{number:,} {kind.value}" for kind, number in result.changes.counts.items() if number]
    screen.wrapped(f"{_ONES[result.by]}: {', '.join(counts) or 'none'}")
    if not result.changes.entries:
        return
    title, unit = _SORTS[result.sort]
    what = f"{title}/S" if result.per == "second" else title
    screen.line(f"{what + ' BEFORE':>14} {'AFTER':>10}  {'CHANGE':>9} {'CALLS':>11}  {result.by.upper()}")
    for entry in result.changes.entries:
        screen.line(_line(screen, entry, unit))


def cells(entry: Entry, unit: Unit) -> Tuple[str, str, str]:
    """What an entry was before, what it is after, and what can be said of the change."""
    before, after = (amount(figure.value, unit) if figure else "-" for figure in entry.change)
    word = told(entry.change)
    if entry.kind == Kind.APPEARED:
        before, word = "-", "new"
    elif entry.kind == Kind.VANISHED:
        after, word = "-", "gone"
    elif entry.kind == Kind.UNCLEAR:
        word = "few"
    return before, after, word


def _line(screen: Screen, entry: Entry, unit: Unit) -> str:
    before, after, word = cells(entry, unit)
    calls = " ".join(f"{_calls(part):>5}" for part in (entry.before, entry.after))
    line = f"{before:>14} {after:>10}  {word:>9} {calls}  "
    return line + text.shorten_path(screen.name(entry.name), max(screen.columns - len(line), 10))


_OUTCOMES = {Outcome.MET: "FAILED", Outcome.NOT_MET: "ok", Outcome.UNKNOWN: "?"}


def _show_judged(screen: Screen, judged: Judged) -> None:
    condition, change = judged.condition, judged.change
    values = " -> ".join(_cell(figure, condition.unit) for figure in change)
    words = f"{condition.text}: {values}"
    if condition.relative and change.relative is not None:
        words += f", {percent(change.relative)}"
    if judged.why:
        words += f": {judged.why}"
    screen.beside(f"{_OUTCOMES[judged.outcome]:<7} ", screen.words(words))


def show(out: TextIO, result: Result, columns: Optional[int] = None) -> None:
    """Show everything, for people."""
    screen = Screen(out, columns)
    for title, side in zip(("before", "after"), result.sides):
        _show_side(screen, title, side)
    for side in result.sides:
        for words in (losses(side.header), repeated(side.header.runs)):
            if words:
                screen.loud(f"{side.name}: {words}")
    same = same_runs(result.sides)
    if same:
        more = f", and {len(same) - 1:,} more" if len(same) > 1 else ""
        screen.loud(f"THE SAME RUN is in both profiles ({describe(same[0])}{more}).")
    screen.line()
    _show_figures(screen, result.sides)
    _show_errors(screen, result.sides)
    screen.line()
    _show_changes(screen, result)
    screen.wrapped("(+2%): no more than chance would do. few: so many calls are too few to tell.")
    if result.judged:
        screen.line()
    for judged in result.judged:
        _show_judged(screen, judged)
