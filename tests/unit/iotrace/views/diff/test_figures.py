"""Figures, their intervals, and what is claimed of a change."""

from __future__ import annotations

import math
import random
from typing import List, Optional

import pytest

from iotrace.profile.activity import Calls
from iotrace.profile.latencies import Latencies
from iotrace.profile.metrics import SyscallStats
from iotrace.views.diff.figures import (
    METRICS,
    SHIFTS,
    Change,
    Figure,
    Unit,
    Verdict,
    average,
    needed_for,
    part,
    poisson,
    quantile,
    rate,
)
from iotrace.views.diff.show import amount, percent


def calls_of(latencies: List[int], size: int = 4096) -> Calls:
    """Calls of one size with these latencies, which are lower bounds of buckets."""
    found = Calls()
    for latency in latencies:
        found.add(
            SyscallStats(1, size, None, None, {}, {size: 1}, {size: 1}, {latency: 1}, latency, latency, {size: 1})
        )
    return found


def test_what_is_added_up_is_the_sum() -> None:
    one = SyscallStats(3, 8192, None, None, {"EIO": 1}, {4096: 3}, {4096: 2}, {512: 2}, 1100, 600)
    total = Calls()
    total.add(one)
    total.add(one)
    twice = Calls()
    twice.merge(total)
    twice.merge(total)
    assert (twice.calls, twice.bytes, twice.errors, twice.requested) == (12, 32768, 4, {4096: 12})
    assert (twice.latencies.total, twice.latencies.most, twice.latencies.count) == (4400, 600, 8)
    assert total.calls == 6, "what was added is not changed"


@pytest.mark.parametrize(  # exact ones: chi-squared quantiles, as in tables of Poisson intervals
    ("count", "low", "high"), [(0, 0, 3.69), (1, 0.025, 5.57), (5, 1.62, 11.67), (10, 4.80, 18.39), (100, 81.4, 121.6)]
)
def test_the_interval_of_a_count_is_that_of_tables(count: int, low: float, high: float) -> None:
    found = poisson(count)
    assert found[0] == pytest.approx(low, rel=0.02, abs=0.03) and found[1] == pytest.approx(high, rel=0.03)


@pytest.mark.parametrize(("share", "calls"), [(0.5, 4), (0.9, 35), (0.99, 381), (0.999, 3838)])
def test_a_percentile_takes_so_many_calls(share: float, calls: int) -> None:
    """As many as make 1.96 standard deviations of the rank no more than what is above it."""
    assert needed_for(share) == calls == math.ceil(1.96**2 * share / (1 - share) - 1e-9)
    enough, few = (calls_of([1024] * number) for number in (calls, calls - 1))
    found = [quantile(each.latencies, share) for each in (enough, few)]
    assert [figure is not None and figure.enough for figure in found] == [True, False]


def test_intervals_hold_what_they_promise() -> None:
    """Of samples from one distribution, few pairs are told apart: for a median of 200, in 1 of 100 at most."""
    source = random.Random(7)
    told = 0
    for _ in range(300):
        medians = [
            quantile(
                calls_of([(4 + source.randrange(4)) << source.randrange(6, 12) for _ in range(200)]).latencies, 0.5
            )
            for _ in range(2)
        ]
        told += Change(*medians).verdict == Verdict.TOLD
    assert told <= 6


def test_a_figure_twice_as_large_is_told() -> None:
    before, after = calls_of([1024] * 400), calls_of([2048] * 400, size=8192)
    for name in ("p50", "p99", "mean", "bytes/call", "max", "bytes", "time", "bytes/s", "busy"):
        metric = METRICS[name]
        change = Change(metric.compute(before, 2.0), metric.compute(after, 2.0))
        assert change.verdict == Verdict.TOLD and change.relative == pytest.approx(1, rel=0.13), name
    for name in ("calls", "calls/s", "errors"):
        change = Change(METRICS[name].compute(before, 2.0), METRICS[name].compute(after, 2.0))
        assert change.verdict == Verdict.SAME, name


def test_what_was_brought_from_storage_is_a_share() -> None:
    cold, warm = calls_of([1024] * 400), calls_of([1024] * 400)
    cold.waited = 100
    change = Change(METRICS["missed"].compute(warm, 1.0), METRICS["missed"].compute(cold, 1.0))
    assert change.after is not None and change.after.value == 0.25 and change.verdict == Verdict.TOLD


def test_runs_of_different_length_have_the_same_rates() -> None:
    """Ten times as long, ten times as much."""
    short, long = calls_of([1024] * 40), calls_of([1024] * 400)
    for name in ("calls/s", "bytes/s", "busy", "p50", "mean", "bytes/call"):
        change = Change(METRICS[name].compute(short, 1.0), METRICS[name].compute(long, 10.0))
        assert change.verdict == Verdict.SAME, name
    assert Change(METRICS["calls"].compute(short, 1.0), METRICS["calls"].compute(long, 10.0)).relative == 9


def test_sizes_and_latencies_move_by_powers_of_two() -> None:
    before, after = calls_of([1024] * 400), calls_of([4096] * 400, size=8192)
    shifts = {name: shift.compute(before, after) for name, shift in SHIFTS.items()}
    values = {name: figure and figure.value for name, figure in shifts.items()}
    assert values == {"size_shift": 1, "size_distance": 1, "latency_shift": 2, "latency_distance": 2}
    assert all(shift.compute(before, Calls()) is None for shift in SHIFTS.values())


def test_what_rounds_to_nothing_is_not_said_to_be_nothing() -> None:
    assert [amount(share, Unit.SHARE) for share in (0.0, 0.0004, 0.0006)] == ["0.0%", "<0.1%", "0.1%"]
    assert list(map(percent, (-1.0, -0.9986, -0.99, 0.25))) == ["-100%", "-99.9%", "-99%", "+25%"]


@pytest.mark.parametrize(
    ("before", "after", "verdict", "relative"),
    [
        (None, rate(5, 1), Verdict.NONE, None),
        (rate(2, 1), rate(5, 1), Verdict.FEW, 1.5),
        (rate(0, 1), rate(5, 1), Verdict.FEW, math.inf),
        (rate(0, 1), rate(50, 1), Verdict.TOLD, math.inf),
        (rate(100, 1), rate(110, 1), Verdict.CHANCE, 0.1),
        (rate(10_000, 1), rate(11_000, 1), Verdict.TOLD, 0.1),
        (rate(100, 1), rate(200, 2), Verdict.SAME, 0),
        (part(10, 100), part(50, 100), Verdict.TOLD, 4),
        (part(10, 100), part(12, 100), Verdict.CHANCE, 0.2),
        (average(50, {5: 9}), average(90, {9: 10}), Verdict.FEW, 0.62),
        (rate(5, 0), rate(5, 1), Verdict.NONE, None),
    ],
)
def test_what_is_said_of_a_change(
    before: Optional[Figure], after: Optional[Figure], verdict: Verdict, relative: Optional[float]
) -> None:
    change = Change(before, after)
    assert change.verdict == verdict
    assert change.relative == (None if relative is None else pytest.approx(relative, abs=0.005))


def test_nothing_has_no_figures_but_totals() -> None:
    found = {name: metric.compute(Calls(), 1.0) for name, metric in METRICS.items()}
    assert {name for name, figure in found.items() if figure is None} == {
        "bytes/call",
        "missed",
        "mean",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
    }
    assert quantile(Latencies({0: 0}), 0.5) is None
