"""Sizes of calls, from what a profile knows of them: counts by powers of two, the commonest, all bytes."""

from __future__ import annotations

from collections import Counter
from typing import Dict, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotrace.fio import sizes
from iotrace.profile.latencies import by_powers
from iotrace.profile.metrics import SyscallStats


def call(moved: List[int], known: int = 4) -> SyscallStats:
    """What a profile says of calls that asked for so many bytes, and got them."""
    counts = Counter(moved)
    histogram: Dict[int, int] = {}
    for size, count in counts.items():
        lower = 0 if size == 0 else 2 ** (len(bin(size)) - 3)
        histogram[lower] = histogram.get(lower, 0) + count
    return SyscallStats(
        len(moved),
        sum(moved),
        requested=dict(histogram),
        completed=dict(histogram),
        common_sizes=dict(counts.most_common(known)),
        common_sizes_error=0,
    )


@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=60), st.integers(0, 4))
def test_counts_and_bytes_are_those_of_the_profile(moved: List[int], known: int) -> None:
    found = sizes.of_call(call(moved, known))
    assert sum(size * count for size, count in found.items()) == sum(moved)
    assert by_powers(found) == {lower: n for lower, n in call(moved).completed.items() if lower}


def test_four_sizes_at_most_are_exact() -> None:
    assert sizes.of_call(call([4096] * 7 + [12] * 3 + [512, 5000])) == {4096: 7, 12: 3, 512: 1, 5000: 1}


def test_what_was_asked_for_is_no_size_where_less_came() -> None:
    """A file of 10,000 bytes read by 65,536: one short read, and one at its end."""
    short = SyscallStats(2, 10_000, requested={65536: 2}, completed={8192: 1, 0: 1}, common_sizes={65536: 2})
    assert sizes.of_call(short) == {10_000: 1}


def test_sizes_keep_to_the_grain() -> None:
    stats = call([8192, 8192, 12288, 16384, 28672, 20480], known=0)
    assert all(size % 4096 == 0 for size in sizes.of_call(stats, 4096))


def test_condensing_keeps_counts_and_bytes() -> None:
    many = dict.fromkeys(range(1, 5000, 3), 1)
    few = sizes.condensed(many)
    assert len(few) <= 2 * len(by_powers(many))
    assert by_powers(few) == by_powers(many)
    assert sizes.total(few) == sum(many)


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        ({4: 1}, {4: 9}, 0.0),
        ({4: 1}, {8: 1}, 1.0),
        ({4: 3, 8: 1}, {4: 1, 8: 1}, 0.25),
        ({}, {}, 0.0),
        ({4: 1}, {}, 1.0),
    ],
)
def test_distance(a: Dict[int, int], b: Dict[int, int], distance: float) -> None:
    assert sizes.distance(a, b) == distance


def test_impossible_counts_are_borne() -> None:
    """A profile may come from anybody."""
    top = (1 << 63) - 1
    found = sizes.of_call(SyscallStats(0, top, completed={1: top, 1 << 62: 1}, common_sizes={3: top}))
    assert sum(found.values()) == top + 1
