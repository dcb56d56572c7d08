"""A line of the result: what was measured, what came out, and what it should have been."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass, field
from typing import Dict, Iterable, Iterator, Optional

from tools.benchmark.machine import Skipped

WIDTH = 118
COLUMNS = (36, 48, 26, 3)  # what, value, goal, met


@dataclass
class Row:
    """`met` is None where there is nothing to compare with; `numbers` are what `value` says in words."""

    group: str
    what: str
    value: str
    goal: str = ""
    met: Optional[bool] = None
    numbers: Dict[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        return {True: "yes", False: "NO", None: "-"}[self.met]

    def as_object(self) -> Dict[str, object]:
        return asdict(self)


def skipped(group: str, what: str, why: Skipped) -> Row:
    return Row(group, what, f"not measured: {why}")


def plain(rows: Iterable[Row]) -> Iterator[str]:
    """The rows as a table for a terminal."""
    for row in [Row("", "what", "measured", "goal"), *rows]:
        cells = (row.what, row.value, row.goal, row.verdict if row.group else "met")
        wrapped = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, COLUMNS)]
        for number in range(max(map(len, wrapped))):
            parts = [
                (lines[number] if number < len(lines) else "").ljust(width) for lines, width in zip(wrapped, COLUMNS)
            ]
            yield " ".join(parts).rstrip()


def markdown(rows: Iterable[Row]) -> Iterator[str]:
    """The rows as a table for a document."""
    yield "| what | measured | goal | met |"
    yield "|---|---|---|---|"
    for row in rows:
        yield f"| {row.what} | {row.value} | {row.goal or '-'} | {row.verdict} |"
