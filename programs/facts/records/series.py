"""What files did in each interval of time, where that was asked for."""

from __future__ import annotations

from asm import U32, U64, Layout, field


class SeriesClock(Layout):
    """The intervals at present. User space doubles them as the run goes on, in one word with the phase."""

    start = field(U64)  # ns: when the first one began
    length = field(U64)  # ns: of those at level 0
    stamp = field(U64)  # the level, by which each is 2^level times as long, and above SERIES_LEVELS bits the phase


SERIES_LEVELS = 6  # bits


class SeriesKey(Layout):
    """A file in an interval."""

    id = field(U64)
    index = field(U32)  # of the interval, counted from the start in intervals of that level
    stamp = field(U32)  # SeriesClock.stamp: no program writes to a record of an earlier phase for long


class Interval(Layout):
    """What the reads, writes and syncs of a file came to that ended in an interval."""

    reads = field(U64)  # calls, good or bad
    bytes_read = field(U64)
    writes = field(U64)
    bytes_written = field(U64)
    syncs = field(U64)
    errors = field(U64)  # of all these
    busy = field(U64)  # ns that successful reads and writes took


class SeriesRow(Layout):
    """A key and its record, as they are made."""

    key = field(SeriesKey)
    interval = field(Interval)
