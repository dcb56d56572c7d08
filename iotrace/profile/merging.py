"""Many profiles into one, out of core: memory use depends neither on how many there are nor on their sizes.

Every profile is read in order of path, and all of them at once, so that what they know of one file comes together. Of
very many profiles as many as may be open are merged into runs of files on disk first, which are then read in the same
way. What is known of a file is added up exactly, but for what a sum cannot tell, of which `SCHEMA.md` has a list.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from iotrace.errors import UserError
from iotrace.places import PathLike, Place
from iotrace.profile import reader, whose
from iotrace.profile.merge import add_all, add_headers, with_runs
from iotrace.profile.metrics import FileStats, Header
from iotrace.profile.parts import Edges, Part, as_part
from iotrace.profile.reader import MOST_NAMES
from iotrace.profile.rows import file_of
from iotrace.profile.runs import MOST_RUNS, Run, describe
from iotrace.profile.spool import Spool
from iotrace.profile.target import Target
from iotrace.profile.writer import Writer

FAN_IN = 128
"""How many profiles are open at once; each takes a descriptor or two, and up to 1.5 MB."""

_CACHE = 256  # KiB of each that are kept in memory
_BATCH = 64  # files of a run on disk that are read at a time


class Merged(NamedTuple):
    """What a profile that others were merged into has."""

    header: Header
    files: int


def merge(names: Sequence[PathLike], target: Target, *, allow_duplicates: bool = False, fan_in: int = FAN_IN) -> Merged:
    """Merge profiles into one.

    Raises ProfileError, UserError if a run is in several of them, and what `Writer` does.
    """
    header = _header(names, allow_duplicates)
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(Writer(target))
        for file in _files(names, header, fan_in, target.places(), stack):
            writer.add_file(file)
        return Merged(header, writer.finish(header))


def _header(names: Sequence[PathLike], allow_duplicates: bool) -> Header:
    """The header of all profiles together, each of which is open for a moment."""
    total: Optional[Header] = None
    seen: Dict[str, PathLike] = {}
    for name in names:
        with reader.open(name, cache=_CACHE) as profile:
            header = with_runs(profile.header)
        for run in header.runs:
            if run.id in seen and not allow_duplicates:
                raise UserError(_twice(seen[run.id], name, run))
            seen[run.id] = name
        if len(seen) > MOST_RUNS:
            raise UserError(f"{os.fsdecode(name)}: more than {MOST_RUNS:,} runs together: merge fewer profiles")
        total = header if total is None else add_headers(total, header)
    if total is None:
        raise UserError("no profile to merge")
    return total


def _twice(before: PathLike, name: PathLike, run: Run) -> str:
    where = "" if os.fsdecode(before) == os.fsdecode(name) else f"{os.fsdecode(before)} and "
    return (
        f"{where}{os.fsdecode(name)}: the same run twice ({describe(run)}): its numbers would be counted twice;"
        " --allow-duplicates does that"
    )


def _files(
    names: Sequence[PathLike], whole: Header, fan_in: int, places: Sequence[Place], stack: contextlib.ExitStack
) -> Iterator[FileStats]:
    """Every file of all profiles, in order, for a profile with the header `whole`."""
    if len(names) <= fan_in:
        yield from _of_few(names, whole)
        return
    runs = []
    for start in range(0, len(names), fan_in):
        spool = Spool(places)
        stack.callback(spool.close)
        _keep(spool, _of_few(names[start : start + fan_in], whole))
        runs.append(_kept(spool))
    yield from joined(runs)


def _of_few(names: Iterable[PathLike], whole: Header) -> Iterator[FileStats]:
    with contextlib.ExitStack() as stack:
        profiles = [stack.enter_context(reader.open(name, cache=_CACHE)) for name in names]
        for profile in profiles:
            profile.in_time_of(whole)
        yield from joined([profile.by_path() for profile in profiles])


def _keep(spool: Spool, files: Iterator[FileStats]) -> None:
    """Put files on disk. Raises UserError if a number is too large for a profile."""
    while True:
        parts: List[Part] = []
        try:
            parts = [as_part(file, Edges(0)) for file in itertools.islice(files, _BATCH)]
        except OverflowError as error:
            raise UserError(f"profiles not merged: {error}") from error
        if not parts:
            return
        spool.add(parts)


def _kept(spool: Spool) -> Iterator[FileStats]:
    return (file_of(part) for batch in spool.batches() for part in batch)


def _order(file: FileStats) -> Tuple[bytes, int, bool, str, str]:
    return file.path, file.mnt_ns, file.unreachable, file.host or "", whose.stored(file.who) or ""


def joined(streams: Sequence[Iterator[FileStats]]) -> Iterator[FileStats]:
    """The files of several streams that are in order, as one. A file that no path leads to stays by itself."""
    for (_, _, unreachable, _, _), group in itertools.groupby(heapq.merge(*streams, key=_order), _order):
        if unreachable:
            yield from group
        else:
            yield add_all(group, _checked)


def _checked(total: FileStats) -> FileStats:
    if sum(1 + len(call.errors) for call in total.syscalls.values()) > MOST_NAMES:
        raise UserError(f"more than {MOST_NAMES:,} system calls and errors on one file: no profile of iotrace has them")
    return total
