"""The figures of two runs that are compared, each with the interval that it lies in.

A run is a sample of what the program would do another time. So a figure has an interval that would hold it in 95 of 100
such runs, if its calls came independently of each other; a change is told if the intervals of both runs do not touch.
Totals, maxima and errors are facts, without an interval. Where there are too few calls for one, how many there are is
said, and how many it takes.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Callable, Dict, NamedTuple, Optional, Tuple

from iotrace.profile.activity import Calls
from iotrace.profile.latencies import Latencies
from iotrace.profile.values import Histogram
from iotrace.views.diff import distance

Z = 1.96  # standard deviations, for 95%
_ENOUGH = 10  # calls that a mean takes


class Unit(Enum):
    """What a figure is counted in."""

    NUMBER = "number"
    BYTES = "bytes"
    NS = "ns"
    NUMBER_RATE = "number/s"
    BYTE_RATE = "bytes/s"
    SHARE = "share"
    POWERS = "powers of two"


class Figure(NamedTuple):
    """A figure of one run."""

    value: float
    low: float  # the interval
    high: float
    calls: int  # that it is made of
    needed: int = 0  # calls that it takes

    @property
    def enough(self) -> bool:
        """Whether there are enough calls for it."""
        return self.calls >= self.needed


def fact(value: float, count: int) -> Figure:
    """A figure that is what it is."""
    return Figure(value, value, value, count)


def poisson(count: int) -> Tuple[float, float]:
    """The interval of a count (Byar's approximation, within 1% of the exact one from 2 on)."""
    low = count * (1 - 1 / (9 * count) - Z / (3 * math.sqrt(count))) ** 3 if count else 0.0
    more = count + 1
    return max(low, 0.0), more * (1 - 1 / (9 * more) + Z / (3 * math.sqrt(more))) ** 3


def rate(count: int, seconds: float) -> Optional[Figure]:
    """So many a second."""
    if not seconds:
        return None
    low, high = poisson(count)
    return Figure(count / seconds, low / seconds, high / seconds, count)


def _spread(histogram: Histogram) -> float:
    """The variance, by the lower bounds of buckets."""
    count = sum(histogram.values())
    if not count:
        return 0.0
    middle = sum(lower * n for lower, n in histogram.items()) / count
    return sum(n * (lower - middle) ** 2 for lower, n in histogram.items()) / count


def average(total: float, histogram: Histogram) -> Optional[Figure]:
    """The mean of values that a histogram is of, and that have this sum."""
    count = sum(histogram.values())
    if not count:
        return None
    margin = Z * math.sqrt(_spread(histogram) / count)
    return Figure(total / count, total / count - margin, total / count + margin, count, _ENOUGH)


def volume_rate(total: float, histogram: Histogram, seconds: float) -> Optional[Figure]:
    """The sum of such values a second, where their number as well as each of them may vary."""
    count = sum(histogram.values())
    if not seconds:
        return None
    mean = total / count if count else 0.0
    margin = Z * math.sqrt(count * (mean**2 + _spread(histogram)))
    return Figure(total / seconds, max(total - margin, 0.0) / seconds, (total + margin) / seconds, count, _ENOUGH)


def part(count: int, of: int) -> Optional[Figure]:
    """The share that so many of all calls are (Wilson's interval)."""
    if not of:
        return None
    share, square = count / of, Z**2 / of
    middle = (share + square / 2) / (1 + square)
    margin = Z * math.sqrt(share * (1 - share) / of + square / (4 * of)) / (1 + square)
    return Figure(share, middle - margin, middle + margin, of, _ENOUGH)


def needed_for(share: float) -> int:
    """How many calls it takes until the interval of a quantile ends before the slowest call."""
    rare = min(share, 1 - share)
    return math.ceil(round(Z**2 * (1 - rare) / rare, 6))


def quantile(latencies: Latencies, share: float) -> Optional[Figure]:
    """The latency that this share of calls does not exceed; its interval is between two of the calls in their order."""
    value, count = latencies.quantile(share), latencies.count
    if value is None:
        return None
    margin = Z * math.sqrt(share * (1 - share) / count)
    low, high = (latencies.quantile(min(max(share + sign * margin, 0.0), 1.0)) for sign in (-1, 1))
    return Figure(value, low or 0, high or value, count, needed_for(share))


Compute = Callable[[Calls, float], Optional[Figure]]


class Metric(NamedTuple):
    """A figure of the calls of one kind, in one run."""

    compute: Compute  # of the calls, and of how many seconds were traced
    unit: Unit
    doc: str


def _at(share: float) -> Compute:
    return lambda calls, seconds: quantile(calls.latencies, share)


METRICS: Dict[str, Metric] = {
    "calls": Metric(lambda c, s: fact(c.calls, c.calls), Unit.NUMBER, "calls in all"),
    "bytes": Metric(lambda c, s: fact(c.bytes, c.calls), Unit.BYTES, "bytes in all"),
    "errors": Metric(lambda c, s: fact(c.errors, c.calls), Unit.NUMBER, "failed calls in all"),
    "time": Metric(lambda c, s: fact(c.latencies.total, c.calls), Unit.NS, "time that they took in all"),
    "calls/s": Metric(lambda c, s: rate(c.calls, s), Unit.NUMBER_RATE, "calls a second"),
    "bytes/s": Metric(lambda c, s: volume_rate(c.bytes, c.completed, s), Unit.BYTE_RATE, "bytes a second"),
    "errors/s": Metric(lambda c, s: rate(c.errors, s), Unit.NUMBER_RATE, "failed calls a second"),
    "busy": Metric(
        lambda c, s: volume_rate(c.latencies.total / 1e9, _in_seconds(c.latencies.histogram), s),
        Unit.SHARE,
        "time that they took, as a share of the time traced; 1: one thread all the time",
    ),
    "bytes/call": Metric(lambda c, s: average(c.bytes, c.completed), Unit.BYTES, "bytes of a call on average"),
    "missed": Metric(
        lambda c, s: part(min(c.waited, c.latencies.succeeded), c.latencies.succeeded),
        Unit.SHARE,
        "share of calls for which bytes were brought from storage; 0 too where that was not measured",
    ),
    "mean": Metric(lambda c, s: average(c.latencies.timed, c.latencies.histogram), Unit.NS, "latency on average"),
    "p50": Metric(_at(0.5), Unit.NS, "median of latency"),
    "p90": Metric(_at(0.9), Unit.NS, "90th percentile of latency"),
    "p99": Metric(_at(0.99), Unit.NS, "99th percentile of latency"),
    "p99.9": Metric(_at(0.999), Unit.NS, "99.9th percentile of latency"),
    "max": Metric(
        lambda c, s: fact(c.latencies.most, c.latencies.count) if c.latencies.most else None, Unit.NS, "slowest call"
    ),
}
"""The figures that can be had of each run by itself."""


def _in_seconds(histogram: Histogram) -> Histogram:
    return {lower / 1e9: count for lower, count in histogram.items()}  # type: ignore[misc]


def _shift(masses: Tuple[distance.Masses, distance.Masses]) -> Optional[Figure]:
    found = distance.shift(*masses)
    if found is None:
        return None
    margin = Z * math.hypot(*(distance.error(each) for each in masses))
    return Figure(found, found - margin, found + margin, min(sum(each.values()) for each in masses), _ENOUGH)


def _distance(masses: Tuple[distance.Masses, distance.Masses]) -> Optional[Figure]:
    found = distance.distance(*masses)
    count = min(sum(each.values()) for each in masses)
    return None if found is None else Figure(found, found, found, count, _ENOUGH)


def _sizes(a: Calls, b: Calls) -> Tuple[distance.Masses, distance.Masses]:
    return distance.of_sizes(a.requested), distance.of_sizes(b.requested)


def _latencies(a: Calls, b: Calls) -> Tuple[distance.Masses, distance.Masses]:
    return distance.of_latencies(a.latencies, b.latencies)


class Shift(NamedTuple):
    """A figure that two runs have together."""

    compute: Callable[[Calls, Calls], Optional[Figure]]
    unit: Unit
    doc: str


SHIFTS: Dict[str, Shift] = {
    "size_shift": Shift(
        lambda a, b: _shift(_sizes(a, b)), Unit.POWERS, "by how many powers of two sizes asked for became larger"
    ),
    "size_distance": Shift(
        lambda a, b: _distance(_sizes(a, b)), Unit.POWERS, "how far the sizes asked for moved (earth mover's distance)"
    ),
    "latency_shift": Shift(
        lambda a, b: _shift(_latencies(a, b)), Unit.POWERS, "by how many powers of two latencies became larger"
    ),
    "latency_distance": Shift(
        lambda a, b: _distance(_latencies(a, b)), Unit.POWERS, "how far latencies moved (earth mover's distance)"
    ),
}
"""The figures that say how distributions have moved."""


class Verdict(Enum):
    """What can be said of a change."""

    TOLD = "told"  # the runs differ
    SAME = "same"  # to the last digit
    CHANCE = "chance"  # no more than chance would do
    FEW = "few"  # too few calls to tell
    NONE = "none"  # one of the runs has no such figure


class Change(NamedTuple):
    """A figure in both runs."""

    before: Optional[Figure]
    after: Optional[Figure]

    @property
    def relative(self) -> Optional[float]:
        """The change divided by what was before; infinite from nothing to something. None if it is not known."""
        if self.before is None or self.after is None:
            return None
        difference = self.after.value - self.before.value
        if not self.before.value:
            return math.copysign(math.inf, difference) if difference else 0.0
        return difference / self.before.value

    @property
    def verdict(self) -> Verdict:
        """What can be said of it."""
        if self.before is None or self.after is None:
            return Verdict.NONE
        if not self.before.enough or not self.after.enough:
            return Verdict.FEW
        if self.before.value == self.after.value:
            return Verdict.SAME
        if self.before.high < self.after.low or self.after.high < self.before.low:
            return Verdict.TOLD
        return Verdict.FEW if max(self.before.calls, self.after.calls) < _ENOUGH else Verdict.CHANCE
