"""A table of cells as text for the terminal, JSON, CSV or Markdown. No name gets into any of them as it is."""

from __future__ import annotations

import csv
import json
from typing import List, NamedTuple, Optional, Sequence, TextIO, Tuple, Union

from iotrace import text
from iotrace.views.screen import Screen

Value = Union[int, float, str, None]

FORMATS = ("text", "json", "csv", "markdown")
LEAST_ROOM = 16
"""Columns of the screen that a name needs beside its figures; with less it has a line of its own."""


class Row(NamedTuple):
    """A line of a table."""

    name: bytes
    where: Tuple[Value, ...]  # what else it takes to know what the line is about, such as a host
    values: Tuple[Value, ...]  # for programs
    cells: Tuple[str, ...]  # the same for people


class Grid(NamedTuple):
    """A table."""

    what: str  # a line is about, such as "file"
    where: Tuple[str, ...]  # names of what else it takes
    columns: Tuple[str, ...]  # names for programs
    titles: Tuple[str, ...]  # for people
    rows: Sequence[Row]
    total: Optional[Tuple[str, Tuple[str, ...]]] = None  # words and cells
    more: int = 0  # lines that are left out


def _named(grid: Grid) -> List[str]:
    """What each line is about, for people: with what else it takes, where lines differ in it."""
    told = [index for index in range(len(grid.where)) if len({row.where[index] for row in grid.rows}) > 1]
    found = []
    for row in grid.rows:
        more = ", ".join(f"{grid.where[index]} {row.where[index]}" for index in told)
        found.append(text.safe(row.name) + (f" ({text.safe_text(more)})" if more else ""))
    return found


def tell_more(screen: Screen, lines: int) -> None:
    """Say that so many lines of a table were left out, if any."""
    if lines > 0:
        screen.line(f"{text.counted(lines, 'more line')}: --limit 0 shows all")


def write_text(screen: Screen, grid: Grid) -> None:
    """Write it for a terminal, as wide as that is: a name is cut, or has a line of its own, if there is no room."""
    rows = [(grid.titles, grid.what.upper())]
    rows += [(row.cells, screen.label(name)) for row, name in zip(grid.rows, _named(grid))]
    if grid.total is not None:
        words, cells = grid.total
        rows.append((cells, words))
    widths = [max(map(text.width, column)) for column in zip(*(cells for cells, _ in rows))]
    used = sum(widths) + len(widths) + 1
    for cells, name in rows:
        padded = [" " * (width - text.width(cell)) + cell for cell, width in zip(cells, widths)]
        if used + LEAST_ROOM <= screen.columns:
            screen.line(" ".join(padded) + "  " + text.shorten_path(name, screen.columns - used))
        else:
            screen.wrapped(" ".join(padded if used <= screen.columns else cells))
            screen.line("  " + text.shorten_path(name, screen.columns - 2))
    tell_more(screen, grid.more)


def _plain(value: Value) -> Value:
    return (
        round(value, 4) if isinstance(value, float) else text.portable_text(value) if isinstance(value, str) else value
    )


def _write_json(out: TextIO, grid: Grid) -> None:
    names = (grid.what, *grid.where, *grid.columns)
    objects = [
        dict(zip(names, (text.portable(row.name), *map(_plain, (*row.where, *row.values))))) for row in grid.rows
    ]
    out.write(json.dumps(objects, indent=1) + "\n")


def _write_csv(out: TextIO, grid: Grid) -> None:
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow([grid.what, *grid.where, *grid.columns])
    for row in grid.rows:
        cells = ["" if value is None else str(_plain(value)) for value in (*row.where, *row.values)]
        rows.writerow([text.portable(row.name), *cells])


_MARKUP = str.maketrans({char: f"&#{ord(char)};" for char in "|`<>&*_[]~#!$"})


def _write_markdown(out: TextIO, grid: Grid) -> None:
    rows = [(name, row.cells) for name, row in zip(_named(grid), grid.rows)]
    if grid.total is not None:
        rows.append(grid.total)
    out.write("| " + " | ".join([grid.what, *(title.translate(_MARKUP) for title in grid.titles)]) + " |\n")
    out.write("|---|" + "---:|" * len(grid.titles) + "\n")
    for name, cells in rows:
        out.write("| " + " | ".join([name.translate(_MARKUP), *(cell.translate(_MARKUP) for cell in cells)]) + " |\n")


def write(out: TextIO, grid: Grid, form: str = "text", width: Optional[int] = None) -> None:
    """Write it in one of FORMATS; as text for a terminal of that width, or the one that there is.

    JSON is an array of objects. Numbers are for people in text and Markdown; in JSON and CSV they are bytes,
    nanoseconds, counts, and shares from 0 to 1, and names are `portable`.
    """
    if form == "text":
        write_text(Screen(out, width), grid)
    elif form == "json":
        _write_json(out, grid)
    elif form == "csv":
        _write_csv(out, grid)
    else:
        _write_markdown(out, grid)
