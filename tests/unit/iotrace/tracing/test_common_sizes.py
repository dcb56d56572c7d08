"""The most frequent sizes: what the programs keep of a stream, and of two that are added up, against all sizes."""

from __future__ import annotations

from collections import Counter
from typing import Dict, List, Tuple

from hypothesis import given
from hypothesis import strategies as st

from iotrace.tracing import common_sizes
from programs.facts.records import COMMON_SIZES, SIZE_BUCKETS, Requested

few = st.lists(st.sampled_from([0, 100, 4096, 8192]), max_size=30)
many = st.lists(st.sampled_from([0, 1, 2, 100, 100, 100, 100, 512, 4096, 4096, 4097, 8192, 65536]), max_size=60)


def kept(sizes: List[int], replaces: bool) -> bytes:
    """What the programs do: with places that are given to another size, or with what came first."""
    first, untold, replaced = 0, 0, 0
    places: List[List[int]] = []
    for size in sizes:
        first = first or size + 1
        if size + 1 == first:
            continue
        place = next((place for place in places if place[0] == size + 1), None)
        if place is None and len(places) < COMMON_SIZES:
            place = [size + 1, 0]
            places.append(place)
        if place is None and replaces:
            place = min(places, key=lambda place: place[1])
            place[0], replaced = size + 1, replaced + 1
        if place is None:
            untold += 1
        else:
            place[1] += 1
    return bytes(
        Requested.pack(
            first=first,
            others=untold,
            replaced=replaced,
            common=[{"bytes": size, "count": count} for size, count in places] + [{}] * (COMMON_SIZES - len(places)),
            buckets=(len(sizes), *[0] * (SIZE_BUCKETS - 1)),
        )
    )


def held(sizes: List[int], found: Tuple[Dict[int, int], int]) -> None:
    """Each count is off by the error at most, and no other size was asked for more often."""
    true, (told, error) = Counter(sizes), found
    assert all(abs(true[size] - count) <= error for size, count in told.items())
    least = min(told.values()) if len(told) == 4 else 0
    assert all(true[size] <= least + error for size in true.keys() - told.keys())


@given(few, st.booleans())
def test_up_to_four_sizes_are_exact(sizes: List[int], replaces: bool) -> None:
    assert common_sizes.read(kept(sizes, replaces), len(sizes)) == (Counter(sizes), 0)


@given(many, st.booleans())
def test_more_are_within_the_error(sizes: List[int], replaces: bool) -> None:
    held(sizes, common_sizes.read(kept(sizes, replaces), len(sizes)))


def added(one: List[int], other: List[int], replaces: bool) -> Tuple[Dict[int, int], int]:
    head = common_sizes.add(kept(one, replaces), kept(other, replaces))
    return common_sizes.read(head + bytes(8 * SIZE_BUCKETS), len(one) + len(other))


@given(few, few, st.booleans())
def test_the_sum_of_two_is_exact_where_both_are(one: List[int], other: List[int], replaces: bool) -> None:
    assert added(one, other, replaces) == (Counter(one + other), 0)


@given(many, many, st.booleans())
def test_the_sum_of_two_is_within_its_error(one: List[int], other: List[int], replaces: bool) -> None:
    held(one + other, added(one, other, replaces))
