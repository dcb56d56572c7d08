"""Which files behave alike: one load for each group of them.

Files are alike if they are used by the same system calls, with the same flags, in sizes and in runs of the same order
of magnitude. What amounts to little, and there may be thousands of such groups, is put together by its calls alone.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

from iotrace.fio.engines import engine_of
from iotrace.fio.model import Load
from iotrace.profile.folding import final_name
from iotrace.profile.metrics import FileStats

BY = ("alike", "file", "directory", "extension")
MOST = 100  # loads that are left in the end
_MOST_AT_FIRST = 2000  # of 20 KB each
_LITTLE = 0.01  # of all calls, of all bytes, of all syncs and of all time

Key = Tuple[Any, ...]

_PLACES: Dict[str, Callable[[FileStats], object]] = {
    "alike": lambda _file: None,
    "file": lambda file: (final_name(file), file.mnt_ns, file.host),
    "directory": lambda file: os.path.dirname(final_name(file)),
    "extension": lambda file: os.path.splitext(final_name(file))[1],
}


class Groups(NamedTuple):
    """The loads that a job is made of, the heaviest first, and how many files are in none of them."""

    loads: List[Load]
    left_out: Load  # the sum over these


def grouped(files: Iterable[FileStats], by: str = "alike", interval_ns: Optional[int] = None) -> Groups:
    """The loads of files, of which those without any transfer or sync are in none."""
    found: Dict[Key, Load] = {}
    place = _PLACES[by]
    for file in files:
        one = Load(())
        one.add(file, interval_ns)
        if not one.calls and not one.synced:
            continue
        key = (place(file), *_behaviour(one))
        if key not in found and len(found) >= _MOST_AT_FIRST:
            key = (None, *_calls(one))
        load = found.get(key)
        if load is None:
            found[key] = one
            one.key = key
        else:
            load.merge(one)
    loads = list(found.values()) if by == "file" else _few(list(found.values()))
    loads.sort(key=lambda load: (-load.activity.busy_ns, -load.calls, load.examples))
    left_out = Load(())
    for load in loads[MOST:]:
        left_out.merge(load)
    return Groups(loads[:MOST], left_out)


def _calls(load: Load) -> Key:
    """By which system calls, and how, a file is used."""
    ways = []
    for direction in (load.read, load.write):
        engine = engine_of(direction.commonest)
        ways.append((engine.name, engine.options) if direction.calls else None)
    return (*ways, load.direct, load.durable, max(load.syncs, key=lambda name: load.syncs[name], default=""))


def _behaviour(load: Load) -> Key:
    found: List[object] = list(_calls(load))
    for direction in (load.read, load.write):
        size = direction.bytes // direction.calls if direction.calls else 0
        run = direction.calls // direction.runs if direction.runs else 0
        found += [size.bit_length(), min(run.bit_length(), 5)]
    return tuple(found)


def _few(loads: List[Load]) -> List[Load]:
    """Those that amount to something as they are; all others put together by `_calls`, and by their place."""
    totals = [max(sum(figures), 1) for figures in zip(*map(_weights, loads))]
    kept: List[Load] = []
    rest: Dict[Key, Load] = {}
    for load in loads:
        if max((part / total for part, total in zip(_weights(load), totals)), default=0.0) >= _LITTLE:
            kept.append(load)
            continue
        key = (load.key[0], *_calls(load))
        if key in rest:
            rest[key].merge(load)
        else:
            rest[key] = load
    return kept + list(rest.values())


def _weights(load: Load) -> Tuple[int, ...]:
    return load.calls, load.bytes, load.synced, load.activity.busy_ns
