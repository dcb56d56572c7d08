"""Which runs a profile is of: one, or those of all profiles that were merged into it.

Each run has an identity, so that nothing is counted twice unless somebody wants it. Profiles of schema 4 and earlier
have none: theirs is made of what their header says.
"""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple

from iotrace.profile.values import MAX_COUNTER, Kind, check_counts, check_range, check_text

MOST_RUNS = 10_000
"""How many runs may be merged into a profile."""

_LONGEST_HOST = 256  # bytes; Linux has at most 64
_LAST_SECOND = 253402300799  # of the year 9999: what strftime can show
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


class Run(NamedTuple):
    """One run of iotrace."""

    id: str  # 32 hexadecimal digits
    host: str
    started_ns: int
    ended_ns: int
    times: int = 1  # how often it has been added


def new_id() -> str:
    """The identity of a run that begins now."""
    return os.urandom(16).hex()


def id_of(facts: Dict[str, object]) -> str:
    """The identity of a run that has been given none, from what is known of it: values for `json.dumps`."""
    import hashlib  # noqa: PLC0415 - loads OpenSSL; a run that is traced now has an identity of its own

    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def host_name(host: str) -> str:
    """The name of a host as rows have it: no longer than `_LONGEST_HOST`, and without what UTF-8 cannot have."""
    return host.encode("utf-8", "backslashreplace")[:_LONGEST_HOST].decode("utf-8", "ignore").replace("\0", "?")


def added(a: List[Run], b: List[Run]) -> List[Run]:
    """The runs of two profiles together. Those that are in both have been added as often as in either."""
    found = {run.id: run for run in a}
    for run in b:
        before = found.get(run.id)
        found[run.id] = run if before is None else before._replace(times=min(before.times + run.times, MAX_COUNTER))
    return list(found.values())


def hosts(runs: Iterable[Run]) -> List[str]:
    """The hosts of the runs, each once, sorted."""
    return sorted({host_name(run.host) for run in runs})


def traced_ns(runs: Iterable[Run]) -> int:
    """How long at least one of them was tracing."""
    total = end = 0
    for start, ended in sorted((run.started_ns, run.ended_ns) for run in runs):
        total += max(0, ended - max(start, end))
        end = max(end, ended)
    return total


def describe(run: Run) -> str:
    """Which run it is, for people."""
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(min(run.started_ns // 10**9, _LAST_SECOND)))
    return f"{run.host or 'a host without a name'}, {started}"


def repeated(runs: Iterable[Run]) -> Optional[str]:
    """Which runs have been added more than once, as a sentence; None if none has."""
    found = [run for run in runs if run.times > 1]
    if not found:
        return None
    first = f"the run on {describe(found[0])} is in these numbers {found[0].times:,} times"
    more = f", and {len(found) - 1:,} more are" if len(found) > 1 else ""
    return f"COUNTED MORE THAN ONCE: {first}{more}."


def from_row(row: Tuple[Any, ...]) -> Run:
    """A run from the values of its fields. Raises ValueError."""
    identity, host, *numbers = row
    check_text(identity, host)
    if not _ID.fullmatch(identity) or len(host.encode("utf-8", "replace")) > _LONGEST_HOST:
        raise ValueError("a run is not valid")
    check_counts(tuple(numbers))
    check_range(numbers)
    return Run(identity, host, *numbers)


def _parsed(value: Any) -> List[Run]:
    if type(value) is not list or len(value) > MOST_RUNS:
        raise ValueError("not a list of runs, or too long")
    found = [from_row(tuple(run.get(name) for name in Run._fields)) for run in value if type(run) is dict]
    if len({run.id for run in found}) < len(value):
        raise ValueError("a run is not valid, or there twice")
    return found


def _dumped(runs: List[Run]) -> List[Dict[str, object]]:
    return [run._asdict() for run in runs]


RUNS = Kind("", _parsed, dump=_dumped)
