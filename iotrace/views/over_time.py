"""What was done over time, as a line of bars for each figure."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence, TextIO

from iotrace import text
from iotrace.errors import UserError
from iotrace.globs import EVERYTHING, Selection
from iotrace.profile.activity import untimed_share
from iotrace.profile.combined import combined_header
from iotrace.profile.metrics import FileStats, Header
from iotrace.profile.reader import Profile
from iotrace.profile.series import COUNTERS
from iotrace.views.header import heading
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
_READ, _WRITTEN = (list(COUNTERS).index(name) for name in ("read_bytes", "write_bytes"))


def bars(values: Sequence[int], unicode: bool) -> str:
    """A character for each value, by its share of the largest; a blank for zeros alone."""
    signs = _BARS if unicode else _ASCII_BARS
    most = max(values, default=0)
    steps = len(signs) - 1
    return "".join(signs[-(-value * steps // most)] if value else " " for value in values)


def intervals_of(intervals: int, columns: int) -> int:
    """How many intervals one of at most `columns` columns stands for."""
    return max(1, -(-intervals // columns))


def binned(rows: Dict[int, List[int]], intervals: int, columns: int) -> List[List[int]]:
    """The sums of each of COUNTERS over as many intervals as one of at most `columns` columns stands for."""
    width = intervals_of(intervals, columns)
    found = [[0] * len(COUNTERS) for _ in range(-(-intervals // width))]
    for number, counters in rows.items():
        place = found[min(number // width, len(found) - 1)]
        for index, value in enumerate(counters):
            place[index] += value
    return found


_BUSY = list(COUNTERS).index("busy_ns")


class Moments:
    """What files did in each interval, added up."""

    def __init__(self, header: Header) -> None:
        """`header` is that of all profiles together."""
        self.length = header.interval_ns or 1
        self.rows: Dict[int, List[int]] = {}
        self.unknown = [0] * len(COUNTERS)  # at times that are not known
        self._span = -(-(header.ended_ns - header.started_ns) // self.length)

    def add(self, file: FileStats) -> None:
        """Add a file."""
        share = untimed_share(file)
        for number, *counters in file.series:
            if share != 1:
                counters[_BUSY] = round(counters[_BUSY] * share)
            before = self.unknown if number is None else self.rows.setdefault(number, [0] * len(COUNTERS))
            before[:] = map(sum, zip(before, counters))

    def join(self, other: Moments) -> None:
        """Add what others did."""
        for number, counters in other.rows.items():
            before = self.rows.setdefault(number, [0] * len(COUNTERS))
            before[:] = map(sum, zip(before, counters))
        self.unknown[:] = map(sum, zip(self.unknown, other.unknown))

    @property
    def intervals(self) -> int:
        """How many there are, idle ones included."""
        return max(self._span, max(self.rows, default=0) + 1, 1)


def half_in(values: Sequence[int]) -> str:
    """In which part of the time, at least, half of it happened: half of the time if it is spread evenly."""
    left = sum(values) / 2
    for number, value in enumerate(sorted(values, reverse=True), 1):
        left -= value
        if left <= 0:
            return text.share(number / len(values))
    return text.share(0)


def show(
    out: TextIO,
    profiles: Sequence[Profile],
    selection: Selection = EVERYTHING,
    *,
    details: bool = False,
    columns: Optional[int] = None,
) -> None:
    """Show what all selected files did in each interval. Raises UserError if a profile has none."""
    for profile in profiles:
        if profile.header.interval_ns is None:
            raise UserError(
                f"{text.safe_text(profile.name)}: nothing over time: trace with iotrace run --interval auto"
            )
    screen = Screen(out, columns)
    header = combined_header(profiles)
    heading(screen, header, details)
    moments = Moments(header)
    for profile in profiles:
        profile.in_time_of(header)
        for file in profile.files(selection=selection):
            moments.add(file)
    intervals = moments.intervals
    found = binned(moments.rows, intervals, max(10, screen.columns - 32))
    each = moments.length * max(1, -(-intervals // len(found)))
    screen.line(f"{text.duration(each)} a column, {text.duration(each * len(found))} in all")
    for title, name, of_bytes in _LINES:
        values = [counters[list(COUNTERS).index(name)] for counters in found]
        if any(values):
            rate = max(values) * 10**9 // each
            most = f"{text.size(rate)}/s" if of_bytes else f"{text.number(rate)}/s"
            screen.line(f"{title:<8} {bars(values, screen.unicode)} at most {most}")
    moved = [counters[_READ] + counters[_WRITTEN] for counters in found]
    if any(moved):
        screen.wrapped(f"half of all bytes moved in {half_in(moved)} of the time; if spread evenly, in 50%")
    if any(moments.unknown):
        screen.line("part of it happened at times that are not known: --details says why")
