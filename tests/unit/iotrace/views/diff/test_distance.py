"""How far distributions are apart, against transport plans that can be made in the head."""

from __future__ import annotations

import math
from typing import List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotrace.profile.latencies import Latencies
from iotrace.views.diff import distance

samples = st.lists(st.integers(0, 20), min_size=1, max_size=12)


def masses(places: List[int]) -> distance.Masses:
    return {float(at): places.count(at) for at in places}


@pytest.mark.parametrize(
    ("a", "b", "moved", "shifted"),
    [
        ({12.0: 10}, {12.0: 3}, 0, 0),
        ({12.0: 10}, {13.0: 1000}, 1, 1),
        ({12.0: 1, 14.0: 1}, {13.0: 2}, 1, 0),  # each by one, in both directions
        ({10.0: 3, 11.0: 1}, {10.0: 1, 11.0: 3}, 0.5, 0.5),  # half of them by one
        ({0.0: 1}, {0.0: 9, 30.0: 1}, 3, 3),  # a tenth by thirty
    ],
)
def test_distances_are_what_has_to_be_carried(
    a: distance.Masses, b: distance.Masses, moved: float, shifted: float
) -> None:
    assert distance.distance(a, b) == pytest.approx(moved) == distance.distance(b, a)
    assert distance.shift(a, b) == pytest.approx(shifted)


@given(samples, samples)
def test_the_distance_of_samples_is_that_of_their_quantiles(a: List[int], b: List[int]) -> None:
    """With as many of each, the best plan takes the smallest to the smallest, and so on."""
    plan = sum(abs(x - y) for x, y in zip(sorted(a * len(b)), sorted(b * len(a)))) / (len(a) * len(b))
    found, shifted = distance.distance(masses(a), masses(b)), distance.shift(masses(a), masses(b))
    assert found == pytest.approx(plan)
    assert shifted is not None and found is not None and abs(shifted) <= found + 1e-9


def test_nothing_is_no_distance_away() -> None:
    assert distance.distance({}, {1.0: 1}) is None and distance.shift({1.0: 1}, {}) is None


def test_sizes_are_powers_and_zeros_stay_out() -> None:
    assert distance.of_sizes({0: 7, 1: 2, 4096: 3, 8192: 0}) == {0.0: 2, 12.0: 3}


def test_latencies_are_in_the_middle_of_their_buckets() -> None:
    a, b = Latencies({64: 1, 80: 2}, total=1), Latencies({1024: 1}, total=1)
    first, second = distance.of_latencies(a, b)
    assert first == {math.log2(72): 1, math.log2(88): 2} and second == {math.log2(1088): 1}


def test_old_latencies_are_compared_by_powers() -> None:
    fine, coarse = Latencies({64: 1, 80: 2}), Latencies({64: 5}, coarse=True)
    assert distance.of_latencies(fine, coarse) == ({6.0: 3}, {6.0: 5})


def test_the_error_is_that_of_a_mean() -> None:
    assert distance.error({0.0: 2, 2.0: 2}) == pytest.approx(0.5)  # a deviation of 1 over the root of 4
    assert distance.error({}) == 0
