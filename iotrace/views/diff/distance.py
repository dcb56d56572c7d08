"""How far two distributions are apart, in powers of two.

Sizes and latencies spread over many powers of two, so distances are on the scale of their logarithm: 1.0 means twice as
large. `shift` is the difference of the means on that scale, and has a sign. `distance` is the earth mover's distance:
how far, on average, each call has to be moved to make one distribution the other. They are equal, but for the sign, if
all of it has moved in the same direction; where a part became slower and another faster, the distance is larger. Zeros
have no logarithm and are left out: an end of file says nothing about how large reads are.
"""

from __future__ import annotations

import math
from typing import Dict, Optional, Tuple

from iotrace.profile.latencies import Latencies, by_powers
from iotrace.profile.values import Histogram, fine_above

Masses = Dict[float, int]
"""Position on the scale of log2 -> how many calls are there."""


def of_sizes(histogram: Histogram) -> Masses:
    """The masses of a histogram with a bucket for each power of two; each at the lower bound of its bucket."""
    return {math.log2(lower): count for lower, count in histogram.items() if lower and count}


def of_latencies(a: Latencies, b: Latencies) -> Tuple[Masses, Masses]:
    """The masses of two distributions of latencies, each in the middle of its bucket.

    If one of them is known by powers of two alone, both are compared by these.
    """
    if a.coarse or b.coarse:
        return of_sizes(by_powers(a.histogram)), of_sizes(by_powers(b.histogram))
    first, second = ({_middle(lower): count for lower, count in c.histogram.items() if lower and count} for c in (a, b))
    return first, second


def _middle(lower: int) -> float:
    return math.log2((lower + fine_above(lower)) / 2)


def mean(masses: Masses) -> Optional[float]:
    """The mean position; None if there is nothing."""
    count = sum(masses.values())
    return sum(at * n for at, n in masses.items()) / count if count else None


def shift(a: Masses, b: Masses) -> Optional[float]:
    """By how many powers of two `b` is larger than `a`, on average; None if one of them is empty."""
    before, after = mean(a), mean(b)
    return None if before is None or after is None else after - before


def error(masses: Masses) -> float:
    """The standard error of the mean position."""
    count, middle = sum(masses.values()), mean(masses)
    if middle is None:
        return 0.0
    return math.sqrt(sum(n * (at - middle) ** 2 for at, n in masses.items())) / count


def distance(a: Masses, b: Masses) -> Optional[float]:
    """The earth mover's distance in powers of two; None if one of them is empty."""
    all_a, all_b = sum(a.values()), sum(b.values())
    if not all_a or not all_b:
        return None
    total = share_a = share_b = 0.0
    before: Optional[float] = None
    for at in sorted({*a, *b}):
        if before is not None:
            total += abs(share_a - share_b) * (at - before)
        share_a += a.get(at, 0) / all_a
        share_b += b.get(at, 0) / all_b
        before = at
    return total
