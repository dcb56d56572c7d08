"""Which sizes the calls had, as far as a profile knows them: counts by powers of two, the four commonest, the bytes.

What is left of a bucket beyond the common sizes gets sizes inside of it, chosen so that all bytes agree.
"""

from __future__ import annotations

from typing import Dict, List, Tuple

from iotrace.profile.latencies import by_powers
from iotrace.profile.metrics import SyscallStats
from iotrace.profile.values import bucket

PAGE = 4096
LARGEST = 0x7FFFF000
"""Bytes that a call can move: MAX_RW_COUNT of the kernel."""

Sizes = Dict[int, int]
"""Size -> calls that moved so much."""


def of_call(call: SyscallStats, grain: int = 1) -> Sizes:
    """The sizes of the calls that moved something, all multiples of `grain` where they can be.

    The counts of each power of two are those of the profile; so are the bytes, unless no sizes in these buckets add up
    to them.
    """
    left = {lower: count for lower, count in call.completed.items() if lower and count > 0}
    found: Sizes = {}
    rest = call.bytes
    for size, asked in sorted(call.common_sizes.items(), key=lambda item: -item[1]):
        lower = bucket(size)
        count = min(asked, left.get(lower, 0))
        if count > 0:
            found[size] = found.get(size, 0) + count
            left[lower] -= count
            rest -= size * count
    _fill(found, {lower: count for lower, count in left.items() if count}, rest, grain)
    return found


def total(sizes: Sizes) -> int:
    """The bytes of all calls."""
    return sum(size * count for size, count in sizes.items())


def condensed(sizes: Sizes) -> Sizes:
    """At most two sizes of each power of two, with the same counts and bytes."""
    rest: Dict[int, int] = {}
    for size, count in sizes.items():
        rest[bucket(size)] = rest.get(bucket(size), 0) + size * count
    found: Sizes = {}
    for lower, count in by_powers(sizes).items():
        if count:
            found.update(_shared(rest[lower], count, lower, 1))
    return found


def distance(a: Sizes, b: Sizes) -> float:
    """The total variation distance of two histograms by powers of two: 0 for the same shares, 1 for none in common."""
    all_a, all_b = sum(a.values()), sum(b.values())
    if not all_a or not all_b:
        return 0.0 if all_a == all_b else 1.0
    return sum(abs(a.get(lower, 0) / all_a - b.get(lower, 0) / all_b) for lower in {*a, *b}) / 2


def _fill(found: Sizes, left: Sizes, rest: int, grain: int) -> None:
    """Add a size for each bucket that is left, all at the same place in their buckets, so that they add up to `rest`.

    The largest bucket takes what rounding leaves, as two neighbouring sizes.
    """
    if not left:
        return
    least = sum(lower * count for lower, count in left.items())
    room = sum((lower - 1) * count for lower, count in left.items())
    place = min(max((rest - least) / room, 0.0), 1.0) if room else 0.0
    *others, last = sorted(left, key=lambda lower: (lower * left[lower], lower))
    for lower in others:
        size = _rounded(lower + int(place * (lower - 1)), lower, grain)
        found[size] = found.get(size, 0) + left[lower]
        rest -= size * left[lower]
    for size, count in _shared(rest, left[last], last, grain):
        found[size] = found.get(size, 0) + count


def _rounded(size: int, lower: int, grain: int) -> int:
    down = size - size % grain
    return max(lower, down if down >= lower else min(down + grain, 2 * lower - 1))


def _shared(rest: int, count: int, lower: int, grain: int) -> List[Tuple[int, int]]:
    """So many bytes in so many calls of one bucket: one size, or two that are a grain apart."""
    grain = grain if lower % grain == 0 else 1
    mean = min(max(rest, lower * count), (2 * lower - 1) * count) // count
    size = mean - mean % grain
    more = min(max((rest - size * count) // grain, 0), count) if size + grain < 2 * lower else 0
    return [(each, number) for each, number in ((size, count - more), (size + grain, more)) if number]
