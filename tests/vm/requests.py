"""Asynchronous I/O in the guest: the scripts of `tests/apps`, held against what iotrace says it covers."""

from __future__ import annotations

import os
import re
import signal
import traceback
from functools import partial
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from tests.children import in_child

from ..apps import aio, rings
from ..apps.scenario import Scenario, counts, differing, errors_of
from ..apps.traced import PRELUDE, Traced
from .workloads import Case, Document

SECONDS = 120  # that a script may take
BROKEN = "broken"


class Family(NamedTuple):
    """A kind of asynchronous I/O: its operations' first letters, the scripts that use it, and those for a short run."""

    prefix: str
    scenarios: Mapping[str, Scenario]
    short: Sequence[str]


FAMILIES = {
    "aio": Family("aio_", aio.SCENARIOS, tuple(aio.SCENARIOS)),
    # Its programs are the same in every form: that they are attached must be seen, but not all that they do.
    "io_uring": Family(
        "uring_", rings.SCENARIOS, ("every kind of request", "completions that are not shown", "splices")
    ),
}


def work(family: str, *, short: bool = False) -> None:
    _, scenarios, some = FAMILIES[family]
    for name, scenario in scenarios.items():
        if short and name not in some:
            continue
        os.mkdir(name)
        in_child(partial(_script, name, scenario))


def _script(name: str, scenario: Scenario) -> None:
    """One script in its directory.  A file tells what broke, so that the others have their turn all the same."""
    os.chdir(name)
    signal.alarm(SECONDS)
    signal.signal(signal.SIGALRM, _too_long)
    try:
        exec(compile(PRELUDE + scenario.text, name, "exec"), {"__name__": "__main__"})
    except BaseException:
        Path(BROKEN).write_text(traceback.format_exc())


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError(f"not done after {SECONDS} s")


def _done(family: str, place: Path) -> Dict[str, Scenario]:
    return {name: scenario for name, scenario in FAMILIES[family].scenarios.items() if (place / name).is_dir()}


def check(family: str, place: Path, document: Document) -> Iterator[str]:
    """A line for each thing that is not as it was done."""
    prefix = FAMILIES[family].prefix
    unattributed: Dict[str, Mapping[str, int]] = {}
    for name, scenario in _done(family, place).items():
        directory = place / name
        if (directory / BROKEN).exists():
            last = (directory / BROKEN).read_text().strip().splitlines()
            yield f"{name}: the script failed: {' '.join(last[-3:])}"
            continue
        found = Traced(directory, document, 0, "")
        unattributed.update(scenario.unattributed if found.lacks is None else {})
        yield from (f"{name}: {line}" for line in (*scenario.differences(found), *_depth(family, name, found)))
    whole = Traced(place, document, 0, "")
    yield from differing("on no file", unattributed, errors_of(whole, prefix))


def _depth(family: str, name: str, found: Traced) -> Iterator[str]:
    """How many requests were in flight at most, where that can be known."""
    if name == "a deep queue" and "data" in found.names:
        known = "queue depth" not in found.document["coverage"]
        deep = {"aio": 256, "io_uring": 64}[family]
        yield from differing("queue depth", deep if known else 0, found["data"]["queue_depth_max"])


def count(family: str, place: Path, document: Document) -> Tuple[int, int]:
    """Calls that were made, and that were counted, over all scripts."""
    found = [counts(one, Traced(place / name, document, 0, "")) for name, one in _done(family, place).items()]
    return sum(made for made, _ in found), sum(counted for _, counted in found)


def judge(family: str, place: Path, document: Document) -> Tuple[str, List[str]]:
    """What iotrace's account is worth, given what it says of itself.

    If that is "none" there must be nothing, else everything but as many requests as are said to be missing or lost.
    A script that asks for what the kernel lacks counts for nothing; where all of them do the family is not possible.
    """
    covered = document["coverage"][family]
    lines = list(check(family, place, document))
    broken = [line for line in lines if "the script failed" in line]
    made, counted = count(family, place, document)
    if broken:
        return "failed", broken
    lacking = [Traced(place / name, document, 0, "").lacks for name in _done(family, place)]
    if lacking and all(lacking):
        return "impossible", sorted({f"no {what}" for what in lacking})
    if covered.startswith("none"):
        return ("failed", [f"{counted} calls counted"]) if counted else ("ok", [])
    if not lines:
        return "ok", []
    told = sum(map(int, re.findall(r"(\d+) requests", covered))) + document["lost"]["calls"]
    if 0 < made - counted <= told:
        return "incomplete", [f"{counted} of {made} requests counted, {told} told to be missing", *lines]
    return "failed", lines


CASES: Dict[str, Case] = {
    family: Case(
        partial(work, family),
        partial(check, family),
        group="requests",
        judge=partial(judge, family),
        shorter=partial(work, family, short=True),
    )
    for family in FAMILIES
}
