"""What a run could not record: the programs' own account of it, and `Header.lost` of a profile.

Nothing is lost in silence: whatever a program or the kernel had to leave out is counted in one of these.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, List, Mapping

from programs.facts.records import Lost
from pybpf.maps import Array, Map
from pybpf.programs import Program

_SPARE = re.compile(r"_s\d+$")


def read(maps: Mapping[str, Map[Any]]) -> Dict[str, int]:
    """The programs' account so far, by the fields of `Lost`. Raises BpfError."""
    return dict(zip(Lost.fields, Lost.struct.unpack(Array.of(maps["lost"]).at(0))))


def so_far(account: Mapping[str, int]) -> int:
    """The programs' account in one number, for the status line."""
    return account["calls"] + account["tallies"] + account["iovecs"]


def skipped(programs: Iterable[Program]) -> int:
    """How many events the kernel did not show to the programs, at most.

    The kernel skips a program that is in use on the same CPU already and counts that as a recursion miss (5.12,
    9ed9e9ba2337). Where a program has spares, which run one after the other, an event is lost only if every copy was
    skipped for it. Raises BpfError.
    """
    misses: Dict[str, List[int]] = {}
    for program in programs:
        misses.setdefault(_SPARE.sub("", program.name), []).append(program.info().recursion_misses)
    return sum(min(copies) for copies in misses.values())


def losses(account: Mapping[str, int], *, skipped: int, unnamed: int, truncated: int) -> Dict[str, int]:
    """For the profile: what is missing -> how many. The first three are always there, the others where they are not 0.

    `account` is the programs', `skipped` the events that they did not see, `unnamed` the files whose path never
    arrived, `truncated` the paths that are known in part.
    """
    result = {
        "events": skipped + account["tallies"],
        "files": account["files"] + unnamed,
        "calls": account["calls"],
    }
    more = {
        "processes": account["targets"],
        "iovecs": account["iovecs"],
        "calls_of_32_bit_tasks": account["compat"],
        "truncated_paths": truncated,
    }
    return {**result, **{name: count for name, count in more.items() if count}}
