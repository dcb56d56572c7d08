"""What grew, shrank, appeared and vanished: files by their final names, directories, or system calls."""

from __future__ import annotations

import heapq
import itertools
from enum import Enum
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from iotrace.errors import UserError
from iotrace.globs import EVERYTHING, Selection
from iotrace.profile.reader import SORTS, Profile
from iotrace.profile.rows import Sums, add_sums
from iotrace.views.diff.figures import Change, Figure, Verdict, poisson
from iotrace.views.diff.side import Side, family
from iotrace.views.summary import MEMORY, directory

_SAME = 0.05  # a change by no more than this part is none
_ENTRY = 900  # bytes of a line that is kept, without its name


class Kind(Enum):
    """What has become of a file, a directory or a system call."""

    APPEARED = "appeared"
    VANISHED = "vanished"
    GREW = "grew"
    SHRANK = "shrank"
    SAME = "about as before"
    UNCLEAR = "with too few calls to tell"


class Part(NamedTuple):
    """What one run has of it."""

    files: int
    sums: Sums


Pair = Tuple[bytes, Optional[Part], Optional[Part]]
"""A name, and what each of the two runs has of it."""


class Rule(NamedTuple):
    """What is compared."""

    sort: str  # one of `SORTS`
    seconds: Tuple[float, float]  # of each run; 1 to compare sums


class Entry(NamedTuple):
    """A file, a directory, or a system call, in both runs."""

    name: bytes
    before: Optional[Part]
    after: Optional[Part]
    rule: Rule
    kind: Kind
    weight: float  # how much has changed

    @property
    def change(self) -> Change:
        """The change of the rate that is compared."""
        return _change(self.before, self.after, self.rule)


def _amount(part: Optional[Part], sort: str) -> int:
    return 0 if part is None else sum([getattr(part.sums, name) for name in SORTS[sort]])


_COUNTS = {"calls", "errors", "syncs"}  # orders in which each call counts as one


def _calls(part: Part, sort: str) -> int:
    """How many calls an amount is of."""
    return _amount(part, sort) if sort in _COUNTS else part.sums.calls


def _each(part: Optional[Part], sort: str) -> float:
    """What a call adds to the amount."""
    if sort in _COUNTS:
        return 1.0
    calls = 0 if part is None else part.sums.calls
    return _amount(part, sort) / calls if calls else 0.0


def rate(part: Optional[Part], sort: str, seconds: float, each: float) -> Figure:
    """How much a second; its interval is that of the number of calls, as if all added the same: `each`, if it is 0 of
    these."""
    if part is None:
        return Figure(0.0, 0.0, 0.0, 0)
    amount, calls = _amount(part, sort), _calls(part, sort)
    # Where no call has added anything, it is not known what one would.
    low, high = (bound * (_each(part, sort) or each) for bound in poisson(calls if amount else 0))
    return Figure(amount / seconds, low / seconds, high / seconds, calls)


def _change(before: Optional[Part], after: Optional[Part], rule: Rule) -> Change:
    each = max(_each(before, rule.sort), _each(after, rule.sort))
    return Change(*(rate(part, rule.sort, s, each) for part, s in zip((before, after), rule.seconds)))


def entry(name: bytes, before: Optional[Part], after: Optional[Part], rule: Rule) -> Entry:
    """Compare what both runs have of it. Intervals are worked out only where they matter: there may be millions."""
    old, new = _amount(before, rule.sort) / rule.seconds[0], _amount(after, rule.sort) / rule.seconds[1]
    if before is None or after is None:
        kind = Kind.APPEARED if before is None else Kind.VANISHED
    elif abs(new - old) <= _SAME * old:
        kind = Kind.SAME
    else:
        verdict = _change(before, after, rule).verdict
        grown = Kind.GREW if new > old else Kind.SHRANK
        kind = {Verdict.TOLD: grown, Verdict.FEW: Kind.UNCLEAR}.get(verdict, Kind.SAME)
    return Entry(name, before, after, rule, kind, abs(new - old))


class Changes(NamedTuple):
    """All that was compared."""

    counts: Dict[Kind, int]
    entries: List[Entry]  # those that changed most, first; what may be chance comes last


def collect(entries: Iterable[Entry], limit: int) -> Changes:
    """Count entries by their kinds, and keep the `limit` (0: all) that changed most. Raises UserError if that is too
    many for memory."""
    counts = dict.fromkeys(Kind, 0)

    def counted() -> Iterator[Entry]:
        for each in entries:
            counts[each.kind] += 1
            if each.weight or each.kind in (Kind.APPEARED, Kind.VANISHED):
                yield each

    def key(each: Entry) -> Tuple[bool, float, bytes]:
        return each.kind in (Kind.SAME, Kind.UNCLEAR), -each.weight, each.name

    if limit:
        return Changes(counts, heapq.nsmallest(limit, counted(), key))
    kept: List[Entry] = []
    left = MEMORY
    for each in counted():
        left -= _ENTRY + len(each.name)
        if left < 0:
            raise UserError(f"more than {len(kept):,} lines: --limit 1000 shows the first of them")
        kept.append(each)
    return Changes(counts, sorted(kept, key=key))


def by_file(profiles: Sequence[Profile], selection: Selection = EVERYTHING) -> Iterator[Pair]:
    """Each file of two profiles by its final name, whatever namespace and host it is in."""
    streams = [_parts(profile, selection) for profile in profiles]
    first = ((name, 0, part) for name, part in streams[0])
    second = ((name, 1, part) for name, part in streams[1])
    merged = heapq.merge(first, second, key=lambda item: item[:2])
    for name, group in itertools.groupby(merged, lambda item: item[0]):
        found: List[Optional[Part]] = [None, None]
        for _, number, part in group:
            found[number] = part
        yield name, found[0], found[1]


def _parts(profile: Profile, selection: Selection) -> Iterator[Tuple[bytes, Part]]:
    """Each name of a profile once, in order."""
    name: Optional[bytes] = None
    files, sums = 0, Sums()
    for row in profile.rows("path", selection=selection, folded=True):
        if row.path == name:
            files, sums = files + 1, add_sums(sums, row.sums)
            continue
        if name is not None:
            yield name, Part(files, sums)
        name, files, sums = row.path, 1, row.sums
    if name is not None:
        yield name, Part(files, sums)


def by_directory(files: Iterable[Pair], depth: int = 0) -> Iterator[Pair]:
    """Add files up by their directories. Raises UserError if these do not fit into memory."""
    found: Dict[bytes, List[Optional[Part]]] = {}
    left = MEMORY
    for name, *parts in files:
        place = directory(name, depth)
        if place not in found:
            left -= _ENTRY + len(place)
            if left < 0:
                raise UserError(f"more than {len(found):,} groups: --depth, --path or --exclude make them fewer")
        before = found.setdefault(place, [None, None])
        found[place] = [_both(old, new) for old, new in zip(before, parts)]
    for place, (before_, after) in found.items():
        yield place, before_, after


def _both(a: Optional[Part], b: Optional[Part]) -> Optional[Part]:
    if a is None or b is None:
        return a or b
    return Part(a.files + b.files, add_sums(a.sums, b.sums))


def by_syscall(sides: Sequence[Side]) -> Iterator[Pair]:
    """The system calls of either run."""
    for name in sorted({name for side in sides for name in side.calls}):
        before, after = (_of_syscall(side, name) for side in sides)
        yield name.encode("utf-8", "surrogateescape"), before, after


def _of_syscall(side: Side, name: str) -> Optional[Part]:
    calls = side.calls.get(name)
    if calls is None:
        return None
    kind = family(name)
    sums = Sums(
        bytes_read=calls.bytes if kind == "read" else 0,
        bytes_written=calls.bytes if kind == "write" else 0,
        calls=calls.calls,
        errors=calls.errors,
        syncs=calls.calls if kind == "sync" else 0,
        busy_ns=calls.latencies.total,
    )
    return Part(0, sums)
