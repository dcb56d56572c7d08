"""When it happened: all files together in each interval, and the busiest files beside the rest."""

from __future__ import annotations

import heapq
from typing import Any, Dict, Iterable, List, Tuple

from iotrace import text
from iotrace.page.listing import key_of, key_of_row
from iotrace.page.words import duration, name
from iotrace.profile.metrics import FileStats, Header
from iotrace.profile.rows import FileRow
from iotrace.profile.series import COUNTERS
from iotrace.views.over_time import Moments, binned, intervals_of

FILES = 24
"""Files that have a line of their own."""

_COLUMNS, _CELLS = 240, 96  # of the lines for all files, and of those for one


def busiest(rows: Iterable[FileRow]) -> List[int]:
    """The keys of the files that moved most bytes, the busiest first."""

    def moved(row: FileRow) -> Tuple[int, int]:
        return row.sums.bytes_read + row.sums.bytes_written, row.sums.busy_ns

    found = heapq.nlargest(FILES, rows, key=moved)
    return [key_of_row(row) for row in found]


class Series:
    """Adds up what files did in each interval."""

    def __init__(self, header: Header, keys: Iterable[int]) -> None:
        """`keys` are those of the files with a line of their own."""
        self._header = header
        self._whole, self._rest = Moments(header), Moments(header)
        self._own: Dict[int, Tuple[str, Moments]] = {key: ("", Moments(header)) for key in keys}

    def add(self, file: FileStats) -> None:
        """Add a file under its final name."""
        if not file.series:
            return
        self._whole.add(file)
        key = key_of(file)
        if key in self._own:
            _, moments = self._own[key]
            self._own[key] = (name(file.path), moments)
            moments.add(file)
        else:
            self._rest.add(file)

    def state(self) -> object:
        """All of it, for `join` in another process."""
        return self._whole, self._rest, self._own

    def join(self, state: Any) -> None:
        """Add what another pass has of the files behind these."""
        whole, rest, own = state
        self._whole.join(whole)
        self._rest.join(rest)
        for key, (label, moments) in own.items():
            known, mine = self._own[key]
            mine.join(moments)
            self._own[key] = (known or label, mine)

    def document(self) -> Dict[str, object]:
        """All of it, for JSON. A column is as many intervals as it takes to have no more than some hundred."""
        intervals = self._whole.intervals
        rows = binned(self._whole.rows, intervals, _COLUMNS)
        cells = len(binned({}, intervals, _CELLS))
        lines = [(label, binned(moments.rows, intervals, _CELLS)) for label, moments in self._own.values() if label]
        rest = binned(self._rest.rows, intervals, _CELLS)
        if any(map(any, rest)):
            lines.append(("all others", rest))
        width = intervals_of(intervals, _COLUMNS)
        cell = intervals_of(intervals, _CELLS)
        return {
            "counters": list(COUNTERS),
            "column_ns": width * self._whole.length,
            "column": duration(width * self._whole.length),
            "rows": rows,
            "cell_ns": cell * self._whole.length,
            "cell": duration(cell * self._whole.length),
            "cells": cells,
            "lines": [{"name": label, "rows": found} for label, found in lines],
            "unknown": self._whole.unknown,
            "interval": duration(self._header.interval_ns),
            "calls_at_unknown_times": text.number(sum(self._whole.unknown[::2][:2])),
        }
