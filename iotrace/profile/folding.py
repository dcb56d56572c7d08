"""Files by their last names: what was done under a temporary name is part of the file that it became.

A program that replaces a file writes `X.tmp` and renames it to `X`. The profile has a row for each, since a row is a
path at the time of an open, and so have the formats for other programs. People look for `X`. So views fold a row all of
whose incarnations ended under one other path, `FileStats.ended_as`, into the row of that path. Nothing spans the two:
counts and histograms add up, and facts about the present are those of the row that has had the name all along.
"""

from __future__ import annotations

import dataclasses
from typing import Callable

from iotrace.profile.metrics import FileStats
from iotrace.profile.rows import FileRow, Marks, Sums

NAME = "(CASE WHEN unreachable THEN path ELSE coalesce(ended_as, path) END)"
"""The name that a row of the table `file` is folded under, in SQL."""


def group_key(column: Callable[[str], str], *, temporary: bool = True) -> str:
    """What rows that are folded together share: a file that no path leads to stays by itself, whatever its name.

    `column` gives the SQL for a column of `file`. Unless `temporary`, they are one file's, which has a row for each of
    those that did I/O on it (`FileStats.who`).
    """
    name = NAME if temporary else "path"
    return f"{name}, mnt_ns, coalesce({column('host')}, ''), (CASE WHEN unreachable THEN id ELSE 0 END)"


def folded_rows(table: str, column: Callable[[str], str], condition: str, *, temporary: bool = True) -> str:
    """A subquery with the columns of `ROW_COLUMNS`: the rows of `file` that meet the condition, folded.

    `table` is the table `file` in SQL, `column` gives the SQL for one of its columns. Unless `temporary`, only rows of
    one file are. SQLite takes the columns that are not aggregated from the row for which the only max() is reached.
    """
    of_row, of_sums = (*FileRow._fields[1:4], "host"), Sums._fields
    marks = {name: column(name) for name in Marks._fields}
    marks["mapped"] = f"sum({marks['mapped']}) > 0"
    if temporary:
        marks["renamed"] = f"ended_as IS NULL AND {marks['renamed']}"
        marks["folded"] = "sum(ended_as IS NOT NULL) > 0"
    columns = ["id", f"{NAME if temporary else 'path'} AS path", *(f"{column(name)} AS {name}" for name in of_row)]
    columns += [f"({mark}) AS {name}" for name, mark in marks.items()]
    # The sum of several may hide that one is negative.
    sums = {name: column(name) for name in of_sums}
    columns += [f"CASE WHEN sum({sql} < 0) THEN -1 ELSE sum({sql}) END AS {name}" for name, sql in sums.items()]
    chosen = f"{', '.join(columns)}, max(ended_as IS NULL)"
    key = group_key(column, temporary=temporary)
    return f"(SELECT {chosen} FROM {table} WHERE {condition} GROUP BY {key})"


def by_who(table: str, condition: str) -> str:
    """The query for `Profile.whose`: who, the number of files and their `Sums`, and the smallest number of all."""
    sums = ", ".join(f"sum({name})" for name in Sums._fields)
    smallest = f"min(min({', '.join(Sums._fields)}))"
    chosen = f"who IS NOT NULL AND {condition}"
    return f"SELECT who, count(*), {sums}, {smallest} FROM {table} WHERE {chosen} GROUP BY who ORDER BY who"


def final_name(file: FileStats) -> bytes:
    """The name that a file is folded under."""
    return file.path if file.unreachable or file.ended_as is None else file.ended_as


def under_final_name(file: FileStats) -> FileStats:
    """A temporary file as a part of the file that it became: its counts, without what is true of its own name."""
    return dataclasses.replace(file, path=final_name(file), renamed_to=None, ended_as=None, state=None)
