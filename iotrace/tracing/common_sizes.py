"""The sizes that an operation asked for most often, as the programs keep them (`Requested`): read, and added up.

The first size has no count of its own: it is what is left of the requests in the histogram. A place that was taken from
another size has its count too, which was the smallest of all.
"""

from __future__ import annotations

import struct
from typing import Dict, List, NamedTuple, Tuple

from iotrace.profile.values import COMMON_SIZES
from programs.facts.records import COMMON_SIZES as PLACES
from programs.facts.records import SIZE_BUCKETS, CommonSize, Requested

HEAD = struct.Struct(f"<{3 + 2 * PLACES}Q")  # Requested before its histogram
_TOLD = 1 << 63
_BUCKETS = struct.Struct(f"<{SIZE_BUCKETS}Q")
assert Requested.buckets.offset == HEAD.size and CommonSize.size == 16


class _Known(NamedTuple):
    first: int  # size, -1: there is none
    of_first: int
    others: List[Tuple[int, int]]  # size and count
    untold: int  # requests of sizes that found no place
    replaced: int  # how often a size took the place of another, or _TOLD and the error of a sum

    @property
    def inherited(self) -> int:
        """How much at most of a count is that of another size."""
        if self.replaced & _TOLD:
            return self.replaced & ~_TOLD
        return min((count for _, count in self.others), default=0) if self.replaced else 0

    @property
    def error(self) -> int:
        """By how much at most a count is off."""
        return self.untold + self.inherited


def _known(raw: bytes, requests: int) -> _Known:
    first, untold, replaced, *pairs = HEAD.unpack_from(raw)
    others = [(size - 1, count) for size, count in zip(pairs[::2], pairs[1::2]) if size]
    left = requests - untold - sum(count for _, count in others)
    return _Known(first - 1, max(left, 0), others, untold, replaced)


def read(raw: bytes, requests: int) -> Tuple[Dict[int, int], int]:
    """The most frequent sizes of a Requested, of so many requests, and by how much their counts may be off."""
    known = _known(raw, requests)
    if known.first < 0:
        return {}, 0
    found = sorted([(known.first, known.of_first), *known.others], key=lambda item: (-item[1], item[0]))
    return {size: count for size, count in found[:COMMON_SIZES] if count}, known.error


def add(a: bytes, b: bytes) -> bytes:
    """The head of a Requested that stands for two of them: a size that finds no place is one of the others."""
    one, other = (_known(raw, sum(_BUCKETS.unpack_from(raw, HEAD.size))) for raw in (a, b))
    if one.first < 0 or other.first < 0:
        return (a if other.first < 0 else b)[: HEAD.size]
    counts: Dict[int, int] = {}
    for size, count in (*one.others, (other.first, other.of_first), *other.others):
        if size != one.first:
            counts[size] = counts.get(size, 0) + count
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept, rest = order[:PLACES], order[PLACES:]
    untold = one.untold + other.untold + sum(count for _, count in rest)
    words = [word for size, count in kept for word in (size + 1, count)]
    inherited = one.inherited + other.inherited | _TOLD
    return HEAD.pack(one.first + 1, untold, inherited, *words, *[0] * (2 * PLACES - len(words)))
