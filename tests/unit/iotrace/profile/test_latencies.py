"""Quantiles of latencies, held against those of the values themselves."""

from __future__ import annotations

from typing import List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotrace.profile import latencies, values
from iotrace.profile.metrics import SyscallStats


def counted(found: List[int]) -> SyscallStats:
    call = SyscallStats(len(found), latency_sum_ns=sum(found), latency_max_ns=max(found))
    for value in found:
        lower = next(low for low, high in map(values.fine_bounds, range(480)) if low <= value < high)
        call.latency_ns[lower] = call.latency_ns.get(lower, 0) + 1
    return call


@given(st.lists(st.integers(128, 1 << 44), min_size=1, max_size=40), st.sampled_from([0.5, 0.9, 0.99, 0.999, 1.0]))
def test_a_quantile_is_at_most_a_tenth_off(found: List[int], share: float) -> None:
    """However the values lie. No call takes less than 128 ns."""
    ordered = sorted(found)
    true = ordered[max(-int(-share * len(ordered) // 1), 1) - 1]
    told = latencies.of(counted(found)).quantile(share)
    assert told is not None and abs(told - true) <= true / 10 + 1


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_quantiles_of_many_values_are_at_most_a_tenth_off(share: float) -> None:
    for low, high in ((1_000, 2_000), (50_000, 3_000_000), (900, 1_100)):
        found = [low + (high - low) * number // 10_000 for number in range(10_000)]
        told = latencies.of(counted(found)).quantile(share)
        assert told is not None and abs(told - found[int(share * 10_000)]) <= 0.1 * found[int(share * 10_000)]


def test_the_slowest_is_exact() -> None:
    found = latencies.of(counted([700, 800, 5_000_000_001]))
    assert (found.quantile(1.0), found.mean, found.count) == (5_000_000_001, 5_000_001_501 / 3, 3)


def test_there_is_no_quantile_of_nothing() -> None:
    nothing = latencies.Latencies()
    assert (nothing.quantile(0.5), nothing.mean, nothing.count) == (None, None, 0)


def test_empty_buckets_are_nothing() -> None:
    """iotrace leaves them out, others may not."""
    found = latencies.of(SyscallStats(1, latency_ns={512: 0, 1024: 0}))
    assert found.count == 0 and found.mean is None and found.quantile(0.5) is None


def test_older_profiles_know_powers_of_two_alone() -> None:
    found = latencies.of(SyscallStats(4, latency_ns={1024: 4}))
    assert found.coarse and [found.quantile(share) for share in (0.5, 1.0)] == [1024 + 1024 * k // 5 for k in (2, 4)]


def test_powers_of_two_of_finer_buckets() -> None:
    assert latencies.by_powers({0: 1, 16: 2, 64: 1, 80: 2, 1792: 3, 2048: 1}) == {0: 1, 16: 2, 64: 3, 1024: 3, 2048: 1}


@pytest.mark.parametrize("middle", range(1_000, 2_000, 37))
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 0.999])
def test_calls_that_always_take_as_long_are_not_spread_over_their_bucket(middle: int, share: float) -> None:
    """2% apart, with three in a hundred that took ten times as long: as with a disk that is busy now and then."""
    found = sorted((middle + middle * number // 50_000) * (10 if number % 33 == 0 else 1) for number in range(1_000))
    true = found[max(-int(-share * 1_000 // 1), 1) - 1]
    assert abs((latencies.of(counted(found)).quantile(share) or 0) - true) <= true / 10


def test_the_bounds_of_buckets_meet() -> None:
    bounds = [values.fine_bounds(number) for number in range(480)]
    assert [values.fine_below(low) for low, _ in bounds[1:]] == [low for low, _ in bounds[:-1]]
    assert [values.fine_above(low) for low, _ in bounds] == [high for _, high in bounds]
