"""Several profiles read as one: records of the same file (a path in a mount namespace) are added up."""

from __future__ import annotations

import functools
import heapq
import itertools
from typing import Iterator, Sequence, Tuple, Union

from iotrace.errors import UserError
from iotrace.globs import EVERYTHING, Selection
from iotrace.profile.merge import add_files, add_headers
from iotrace.profile.metrics import FileStats, Header
from iotrace.profile.reader import Profile
from iotrace.profile.rows import FileRow, add_rows


def _same_file(row: Union[FileRow, FileStats]) -> Tuple[bytes, int]:
    return row.path, row.mnt_ns


def combined_header(profiles: Sequence[Profile]) -> Header:
    """The merged header of one or more profiles."""
    return functools.reduce(add_headers, (profile.header for profile in profiles))


def combined_rows(profiles: Sequence[Profile], selection: Selection = EVERYTHING) -> Iterator[FileRow]:
    """One row per file of all profiles, in order of path. Memory use does not depend on the number of files."""
    merged = heapq.merge(*(profile.rows("path", selection=selection) for profile in profiles), key=_same_file)
    for _, group in itertools.groupby(merged, _same_file):
        yield functools.reduce(add_rows, group)


_MOST_NAMES = 4096  # in one record: iotrace knows 40 system calls, Linux 133 errors


def _add(a: FileStats, b: FileStats) -> FileStats:
    total = add_files(a, b)
    if sum(1 + len(call.errors) for call in total.syscalls.values()) > _MOST_NAMES:
        raise UserError(
            f"more than {_MOST_NAMES:,} system calls and errors on one file: no profile of iotrace has them"
        )
    return total


def combined_files(profiles: Sequence[Profile], path: bytes) -> Iterator[FileStats]:
    """Everything the profiles know about one path: a record for each mount namespace, one after the other."""
    found = heapq.merge(*(profile.find(path) for profile in profiles), key=_same_file)
    for _, group in itertools.groupby(found, _same_file):
        yield functools.reduce(_add, group)
