"""One of the two runs: everything that is compared of it, in one pass over its files."""

from __future__ import annotations

import contextlib
import os
import pickle
from dataclasses import dataclass, field
from typing import Dict, Iterable, List, Tuple

from iotrace.errors import Failure, UserError
from iotrace.globs import EVERYTHING, Selection
from iotrace.profile import reader
from iotrace.profile.activity import Calls, add_histogram, order_of
from iotrace.profile.merge import with_runs
from iotrace.profile.metrics import FileStats, Header, is_sync
from iotrace.profile.runs import Run, traced_ns
from iotrace.views.summary import MOST_SYSCALLS
from programs.facts.catalogue import BY_NAME, READ, WRITE

FAMILIES = ("read", "write", "sync", "all")
"""Kinds of calls that are more than one system call."""

_METRICS = ("opens", "sequential_read", "sequential_write")  # what `order_of` needs of a file
_LARGE = 8 << 20  # bytes of a profile from which on a second process is worth starting


@dataclass
class Side:
    """What is compared of a run."""

    name: str
    header: Header
    files: int = 0
    errors: Dict[str, int] = field(default_factory=dict)  # errno -> calls of every kind
    moved: Dict[str, int] = field(default_factory=lambda: {"read": 0, "write": 0})  # calls that moved anything
    jumps: Dict[str, int] = field(default_factory=lambda: {"read": 0, "write": 0})  # of those, that began elsewhere
    calls: Dict[str, Calls] = field(default_factory=dict)  # by system call

    @property
    def seconds(self) -> float:
        """How long was traced; for a merged profile, by at least one of its runs."""
        return traced_ns(with_runs(self.header).runs) / 1e9

    def add(self, file: FileStats) -> None:
        """Add a file. Raises UserError if there are more kinds of system calls than a profile of iotrace has."""
        self.files += 1
        for kind, (moved, jumps) in zip(("read", "write"), order_of(file)):
            self.moved[kind] += moved
            self.jumps[kind] += jumps
        for name, call in file.syscalls.items():
            if call.errors:
                add_histogram(self.errors, call.errors)
            found = self.calls.get(name)
            if found is None:
                if len(self.calls) == MOST_SYSCALLS:
                    raise UserError(f"{self.name}: more than {MOST_SYSCALLS:,} kinds of system calls")
                found = self.calls[name] = Calls()
            found.add(call)

    def of(self, kind: str) -> Calls:
        """The calls of a family, or of a system call; none if there are none."""
        total = Calls()
        for name, calls in self.calls.items():
            if kind in ("all", name, family(name)):
                total.merge(calls)
        return total


def family(syscall: str) -> str:
    """Which of the families a system call is of; "" if of none but "all"."""
    operation = BY_NAME.get(syscall)
    direction = None if operation is None else operation.direction
    return {READ: "read", WRITE: "write"}.get(direction, "sync" if is_sync(syscall) else "")  # type: ignore[arg-type]


def measure(name: str, selection: Selection = EVERYTHING) -> Side:
    """Read a profile. Raises ProfileError, UserError."""
    with reader.open(name) as profile:
        side = Side(name, profile.header)
        for file in profile.brief(_METRICS, selection):
            side.add(file)
        side.files = profile.totals(selection, folded=True).files  # it may have a row for each who used it
        return side


def measure_both(names: Tuple[str, str], selection: Selection = EVERYTHING) -> List[Side]:
    """Read two profiles, at the same time if that is worth it. Raises what `measure` does."""
    if os.cpu_count() == 1 or not all(map(_is_large, names)):
        return [measure(name, selection) for name in names]
    receiver, sender = os.pipe()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, receiver)
        try:
            child = os.fork()
        except OSError:  # no process more: one after the other
            os.close(sender)
            return [measure(name, selection) for name in names]
        if child == 0:
            _tell(sender, names[1], selection)
        os.close(sender)
        stack.callback(os.waitpid, child, 0)
        before = measure(names[0], selection)
        with open(receiver, "rb", closefd=False) as stream:
            raw = stream.read()
    if not raw:
        raise Failure(f"{names[1]}: the process that was reading it has ended")
    after = pickle.loads(raw)
    if isinstance(after, Exception):
        raise after
    return [before, after]


def _is_large(name: str) -> bool:
    with contextlib.suppress(OSError):
        return os.stat(name).st_size >= _LARGE
    return False


def _tell(sender: int, name: str, selection: Selection) -> None:
    """Send what there is to say of a profile, or why there is nothing, and end this process."""
    try:
        try:
            found: object = measure(name, selection)
        except Exception as error:
            found = error
        with open(sender, "wb") as stream:
            stream.write(pickle.dumps(found))
    finally:
        os._exit(0)


def same_runs(sides: Iterable[Side]) -> List[Run]:
    """The runs that both profiles are of."""
    before, after = (with_runs(side.header).runs for side in sides)
    known = {run.id for run in after}
    return [run for run in before if run.id in known]


def kinds(sides: Iterable[Side]) -> List[str]:
    """Every kind of calls that there is in either run: the families, then system calls."""
    return [*FAMILIES, *sorted({name for side in sides for name in side.calls})]
