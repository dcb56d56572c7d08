"""Distributions of latencies: their quantiles, and a coarser form of their histograms.

The buckets divide each power of two in four, so that a quantile which is interpolated in its bucket is at most a tenth
off. Profiles of schema 3 and earlier have one bucket for each power of two; what they lack shows in the sum, which is
0, and their quantiles are within a factor of two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Dict, Optional

from iotrace.profile.metrics import SyscallStats, busy_ns
from iotrace.profile.values import Histogram, bucket, fine_above


@dataclass
class Latencies:
    """The latencies of successful calls, of one system call on one file or of any group of them."""

    histogram: Histogram = field(default_factory=dict)
    total: int = 0  # ns; at least
    most: int = 0  # ns of the slowest, 0 if it is not known
    coarse: bool = False  # some of them are known by powers of two alone

    def add(self, call: SyscallStats) -> None:
        """Add those of a system call."""
        histogram = self.histogram
        for lower, count in call.latency_ns.items():
            histogram[lower] = histogram.get(lower, 0) + count
        if call.latency_sum_ns:
            self.total += call.latency_sum_ns
        elif call.latency_ns:
            self.total += busy_ns(call)
            self.coarse = self.coarse or any(call.latency_ns)
        self.most = max(self.most, call.latency_max_ns)

    def merge(self, other: Latencies) -> None:
        """Add those of another group."""
        for lower, count in other.histogram.items():
            self.histogram[lower] = self.histogram.get(lower, 0) + count
        self.total += other.total
        self.most = max(self.most, other.most)
        self.coarse = self.coarse or other.coarse

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.histogram.values())

    @property
    def mean(self) -> Optional[float]:
        """In ns; None if there are none."""
        count = self.count  # 0 too where a profile from elsewhere has empty buckets
        return self.total / count if count else None

    def quantile(self, share: float) -> Optional[int]:
        """The latency that this share of them does not exceed, 0.5 for the median; None if there are none."""
        rank, before = max(1, math.ceil(share * self.count)), 0
        for lower, count in sorted(self.histogram.items()):
            if count and before + count >= rank:
                upper = self._above(lower)
                if rank == self.count and lower <= self.most < upper:
                    return self.most
                # Where the first, second ... of so many lie on average, if any place in the bucket is as likely.
                found = lower + (upper - lower) * (rank - before) / (count + 1)
                return min(int(found), self.most) if self.most else int(found)
            before += count
        return None

    def _above(self, lower: int) -> int:
        return 2 * lower if self.coarse and lower else fine_above(lower)


def exactness(coarse: bool) -> str:
    """How exact quantiles are, in words."""
    return "within a factor of two" if coarse else "at most 10% off"


def by_powers(histogram: Histogram) -> Dict[int, int]:
    """The histogram with one bucket for each power of two."""
    found: Dict[int, int] = {}
    for lower, count in sorted(histogram.items()):
        found[bucket(lower)] = found.get(bucket(lower), 0) + count
    return found


def of(call: SyscallStats) -> Latencies:
    """The latencies of one system call on one file."""
    found = Latencies()
    found.add(call)
    return found
