"""The tables of a live screen as lines of text, for a terminal of any width, for scripts, and for programs."""

from __future__ import annotations

import json
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from iotrace import text
from iotrace.live.model import Line, Table, drawn
from iotrace.profile.values import text_of
from iotrace.profile.whose import WHOSE
from iotrace.tracing.glances import BUSY, CALLS, ERRORS, READ_BYTES, STORAGE_BYTES, SYNCS, WRITTEN_BYTES
from iotrace.views.over_time import bars

_NARROW, _WIDE = 70, 110  # columns of a terminal


def rate(value: float) -> str:
    """Things a second: exact to a tenth where there are few."""
    if not value:
        return "-"
    if value < 9.95:
        return f"{value:.1f}"
    return text.number(round(value))


def bytes_rate(value: float) -> str:
    """Bytes a second."""
    return text.size(round(value)) if round(value) else "-"


def _p99(line: Line) -> str:
    found = line.p99
    return "-" if found is None else text.duration(found)


def _storage(line: Line) -> str:
    found = line.from_storage
    return "-" if found is None else text.share(found)


class Column(NamedTuple):
    """A column before the name."""

    title: str
    width: int
    value: Callable[[Line], str]
    sort: str = ""  # the order that goes by it


_CALLS = Column("CALLS", 5, lambda line: rate(line.rate(CALLS)), "calls")
_READ = Column("READ", 8, lambda line: bytes_rate(line.rate(READ_BYTES)), "read")
_WRITTEN = Column("WRITTEN", 8, lambda line: bytes_rate(line.rate(WRITTEN_BYTES)), "written")
_SYNCS = Column("SYNCS", 5, lambda line: rate(line.rate(SYNCS)), "syncs")
_ERRORS = Column("ERRS", 4, lambda line: rate(line.rate(ERRORS)), "errors")
_P99 = Column("P99", 7, _p99, "p99")
_STORAGE = Column("STOR", 4, _storage, "storage")
_TIME = Column("BUSY", 5, lambda line: f"{line.rate(BUSY) / 1e7:.0f}%" if line.counts[BUSY] else "-", "time")

MEANINGS: Dict[str, str] = {
    "CALLS": "system calls a second, of every kind",
    "READ": "bytes read a second",
    "WRITTEN": "bytes written a second",
    "SYNCS": "fsync, fdatasync and their kin, a second",
    "ERRS": "calls that failed, a second",
    "P99": "what 99% of reads, writes and syncs of the interval did not exceed",
    "STOR": "bytes brought from storage for each byte read, at most all",
    "BUSY": "time that calls took, for each second; more than 100% where several are under way",
    "TREND": "the last intervals, of what the lines are sorted by",
}


def columns(width: int) -> Tuple[List[Column], int]:
    """The columns for a terminal so wide, and how wide the trend is, 0 for none."""
    if width < _NARROW:
        return [_CALLS, _READ, _WRITTEN, _P99], 0
    if width < _WIDE:
        return [_CALLS, _READ, _WRITTEN, _SYNCS, _ERRORS, _P99, _STORAGE], 6
    return [_CALLS, _READ, _WRITTEN, _SYNCS, _ERRORS, _P99, _STORAGE, _TIME], 20 if width < 150 else 40


class Look(NamedTuple):
    """How tables are drawn."""

    width: int  # of a line; 0: as wide as it comes to be
    unicode: bool = True

    def name(self, raw: bytes, room: int) -> str:
        """A name, made safe, in so many columns; 0 for all of it."""
        if room and len(raw) > 8 * room:
            raw = b"..." + raw[-8 * room :]
        safe = text.safe(raw)
        if not self.unicode:
            safe = text.ascii_only(safe)
        return text.shorten_path(safe, room) if room else safe


def titles(look: Look, by: str) -> str:
    """The line above the table."""
    found, trend = columns(look.width or _WIDE)
    cells = [f"{column.title:>{column.width}}" for column in found]
    return " ".join([*cells, *([f"{'TREND':<{trend}}"] if trend and look.width else []), by.upper()])


def row(look: Look, line: Line, sort: str, name: Optional[str] = None) -> str:
    """A line of the table; `name` stands for the line's own."""
    found, trend = columns(look.width or _WIDE)
    cells = [f"{column.value(line):>{column.width}}" for column in found]
    if trend and look.width:
        cells.append(bars(line.series(drawn(sort), trend), look.unicode))
    start = " ".join(cells) + " "
    room = max(look.width - len(start), 1) if look.width else 0
    return start + (look.name(line.name, room) if name is None else text.head(name, room) if room else name)


def totals(line: Line, width: int = 0) -> str:
    """What all files together do, in words."""
    said = [
        f"{rate(line.rate(CALLS)).replace('-', '0')} calls/s",
        f"read {text.size(round(line.rate(READ_BYTES)))}/s",
        f"written {text.size(round(line.rate(WRITTEN_BYTES)))}/s",
    ]
    if line.p99 is not None:
        said.append(f"p99 {text.duration(line.p99)}")
    for place, what in ((SYNCS, "syncs"), (ERRORS, "errors")):
        if line.counts[place]:
            said.append(f"{rate(line.rate(place))} {what}/s")
    return text.fitting(said, width)


def lost(table: Table) -> str:
    """What could not be recorded, "" if there is nothing."""
    if not table.lost_so_far:
        return ""
    return f"LOST: {text.number(table.lost)} in this interval, {text.number(table.lost_so_far)} so far"


def hidden(table: Table) -> str:
    """The name of the line for all lines that are not shown."""
    return f"({text.number(table.hidden)} more)"


def batch(table: Table, by: str, sort: str, look: Look) -> Iterator[str]:
    """An interval for scripts; where lines have no width, names are whole."""
    yield f"interval {table.number}, {table.seconds:.2f} s: {totals(table.total)}, {lost(table) or 'nothing lost'}"
    yield titles(look, by)
    for line in table.lines:
        yield row(look, line, sort)
    if table.hidden:
        yield row(look, table.rest, sort, hidden(table))
    yield ""


_KEYS = ("calls", "bytes_read", "bytes_written", "syncs", "errors", "busy_ns", "storage_bytes")
assert tuple(range(len(_KEYS))) == (CALLS, READ_BYTES, WRITTEN_BYTES, SYNCS, ERRORS, BUSY, STORAGE_BYTES)


def _object(line: Line) -> Dict[str, object]:
    return {**dict(zip(_KEYS, line.counts)), "p99_ns": line.p99}


def document(table: Table, by: str) -> str:
    """An interval for programs: a line of JSON, in ASCII, with numbers that add up over all intervals.

    Names are as in the JSON document of `iotrace export`: bytes that are not UTF-8 are lone surrogates.
    """
    rows = []
    for line in table.lines:
        found: Dict[str, object] = {"path" if by not in WHOSE else by: text_of(line.name)}
        if by == "file":
            found["mnt_ns"] = line.key[1]
        rows.append({**found, **_object(line)})
    rest = dict(zip(_KEYS, table.rest.counts))
    return json.dumps(
        {
            "interval": table.number,
            "seconds": round(table.seconds, 6),
            "by": by,
            "total": _object(table.total),
            "rows": rows,
            "others": table.hidden,
            "rest": rest,
            "files": table.files,
            "lost": table.lost,
        }
    )
