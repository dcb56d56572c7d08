"""What a file did over time: a row for each interval in which it did anything.

A row is the number of the interval, counted from the begin of the run, and COUNTERS. While a run goes on its intervals
may become longer, so the programs' rows have the time of their begin instead (`Raw`), and get their numbers in the end.
Without a number (None) stands what no interval is known of; with it the sums over all rows are the totals of the file.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Dict, Iterable, List, Optional, Tuple

from iotrace.profile.values import MAX_COUNTER
from iotrace.untrusted import parse_json

COUNTERS = {
    "read_calls": "reads that ended in it, good or bad",
    "read_bytes": "bytes that they read",
    "write_calls": "writes that ended in it, good or bad",
    "write_bytes": "bytes that they wrote",
    "syncs": "fsync, fdatasync and their kin",
    "errors": "of all these, those that failed",
    "busy_ns": "time that the successful reads and writes took; with `run --light` those that were timed",
}
Row = Tuple[Optional[int], int, int, int, int, int, int, int]
Raw = bytes
"""Rows as they are kept: begin in ns since that of the run, or UNKNOWN, and the counters."""

MOST_INTERVALS = 1 << 15
"""In a profile: 9 hours of a second each."""

ROW = struct.Struct("<8Q")
UNKNOWN = (1 << 64) - 1
_MANY = 64 * ROW.size
LONGEST = 4 << 20
"""Characters of JSON that the rows of a file may have."""


def added(rows: Iterable[Row]) -> List[Row]:
    """Rows of the same interval as one, in order; the one without a number comes last."""
    sums: Dict[Optional[int], List[int]] = {}
    for number, *counters in rows:
        before = sums.get(number)
        sums[number] = counters if before is None else [a + b for a, b in zip(before, counters)]
    order = sorted(sums, key=lambda number: UNKNOWN if number is None else number)
    return [(number, *sums[number]) for number in order]  # type: ignore[misc]


def numbered(raw: Raw, interval_ns: int) -> List[Row]:
    """The rows with numbers, for intervals of that length."""
    return added(
        (None if begin == UNKNOWN else begin // interval_ns, *counters) for begin, *counters in ROW.iter_unpack(raw)
    )


def merged(raw: Raw, interval_ns: int = 1) -> Raw:
    """The rows that begin in the same interval of that length as one."""
    rows: Dict[int, Tuple[int, ...]] = {}
    for begin, *counters in ROW.iter_unpack(raw):
        place = begin if begin == UNKNOWN else begin - begin % interval_ns
        before = rows.get(place)
        rows[place] = tuple(counters) if before is None else tuple(map(sum, zip(before, counters)))
    return b"".join([ROW.pack(begin, *counters) for begin, counters in rows.items()])


def joined(raw: Raw, more: Raw) -> Raw:
    """The rows of both, with those of the same interval as one where there are many."""
    whole = raw + more
    return merged(whole) if len(whole) // _MANY > len(raw) // _MANY else whole


def sums(raw: Raw) -> List[int]:
    """The sum of each of COUNTERS."""
    return [sum(column) for column in list(zip(*ROW.iter_unpack(raw)))[1:]] or [0] * len(COUNTERS)


def shifted(rows: Iterable[Row], interval_ns: int, later_ns: int, wanted_ns: int) -> List[Row]:
    """The rows in the intervals of another run, which are `wanted_ns` long and began `later_ns` before these.

    What was done in an interval that lies in two of them counts in the one in which it began.
    """
    return added(
        (None if number is None else (number * interval_ns + later_ns) // wanted_ns, *counters)  # type: ignore[misc]
        for number, *counters in rows
    )


def long_enough(interval_ns: Optional[int], span_ns: int) -> Optional[int]:
    """The length, or so many times its double that there are no more than MOST_INTERVALS in that time."""
    while interval_ns and span_ns // interval_ns >= MOST_INTERVALS:
        interval_ns *= 2
    return interval_ns


def encode(rows: Iterable[Row]) -> str:
    """As JSON text. Zeros at the end of a row are left out."""
    return "[" + ",".join(map(_text, rows)) + "]"


def _text(row: Row) -> str:
    last = len(row)
    while last > 2 and not row[last - 1]:
        last -= 1
    return json.dumps(row[:last], separators=(",", ":"))


def read(text: object) -> List[Row]:
    """The rows from JSON text; none for None. Raises ValueError."""
    if text is None:
        return []
    if type(text) is not str or len(text) > LONGEST:
        raise ValueError("a series is not an array, or too long")
    found = parse_json(text)
    if type(found) is not list:
        raise ValueError("a series is not an array, or too long")
    rows = [_row(values) for values in found]
    if len({row[0] for row in rows}) != len(rows):
        raise ValueError("an interval stands twice in a series")
    return rows


def _row(values: Any) -> Row:
    if type(values) is not list or not 2 <= len(values) <= 1 + len(COUNTERS):
        raise ValueError("an interval of a series is not an array of numbers")
    numbers = values[values[0] is None :]
    if values[0] is not None and type(values[0]) is int and values[0] > 2 * MOST_INTERVALS:
        raise ValueError("a series has more intervals than there can be")
    if not all(type(number) is int and 0 <= number <= MAX_COUNTER for number in numbers):
        raise ValueError("a number of a series is not valid")
    return (*values, *[0] * (1 + len(COUNTERS) - len(values)))
