"""What was done over time, as a line of bars for each figure."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence, TextIO

from iotrace import text
from iotrace.errors import Failure
from iotrace.globs import EVERYTHING, Selection
from iotrace.profile.combined import combined_header
from iotrace.profile.reader import Profile
from iotrace.profile.series import COUNTERS
from iotrace.views.screen import Screen

_BARS, _ASCII_BARS = " ▁▂▃▄▅▆▇█", " .:-=+*#@"
_LINES = (
    ("read", "read_bytes", True),
    ("written", "write_bytes", True),
    ("reads", "read_calls", False),
    ("writes", "write_calls", False),
    ("syncs", "syncs", False),
    ("errors", "errors", False),
)
"""Title, figure, and whether it is of bytes."""


def bars(values: Sequence[int], unicode: bool) -> str:
    """A character for each value, by its share of the largest; a blank for zeros alone."""
    signs = _BARS if unicode else _ASCII_BARS
    most = max(values, default=0)
    steps = len(signs) - 1
    return "".join(signs[-(-value * steps // most)] if value else " " for value in values)


def binned(rows: Dict[int, List[int]], intervals: int, columns: int) -> List[List[int]]:
    """The sums of each of COUNTERS over as many intervals as one of at most `columns` columns stands for."""
    width = max(1, -(-intervals // columns))
    found = [[0] * len(COUNTERS) for _ in range(-(-intervals // width))]
    for number, counters in rows.items():
        place = found[min(number // width, len(found) - 1)]
        for index, value in enumerate(counters):
            place[index] += value
    return found


def show(
    out: TextIO, profiles: Sequence[Profile], selection: Selection = EVERYTHING, columns: Optional[int] = None
) -> None:
    """Show what all selected files did in each interval. Raises Failure if a profile has none."""
    for profile in profiles:
        if profile.header.interval_ns is None:
            raise Failure(f"{text.safe_text(profile.name)}: nothing over time: trace with iotrace run --interval auto")
    screen = Screen(out, columns)
    header = combined_header(profiles)
    length = header.interval_ns or 1
    rows: Dict[int, List[int]] = {}
    unknown = [0] * len(COUNTERS)
    for profile in profiles:
        profile.in_time_of(header)
        for file in profile.files(selection=selection):
            for number, *counters in file.series:
                before = unknown if number is None else rows.setdefault(number, [0] * len(COUNTERS))
                before[:] = map(sum, zip(before, counters))
    intervals = max(-(-(header.ended_ns - header.started_ns) // length), max(rows, default=0) + 1, 1)
    found = binned(rows, intervals, max(10, screen.columns - 32))
    each = length * max(1, -(-intervals // len(found)))
    screen.line(f"{text.duration(each)} a column, {text.duration(each * len(found))} in all")
    for title, name, of_bytes in _LINES:
        values = [counters[list(COUNTERS).index(name)] for counters in found]
        if any(values):
            rate = max(values) * 10**9 // each
            most = f"{text.size(rate)}/s" if of_bytes else f"{text.number(rate)}/s"
            screen.line(f"{title:<8} {bars(values, screen.unicode)} at most {most}")
    if any(unknown):
        screen.line("part of it happened at times that are not known: --details says why")
