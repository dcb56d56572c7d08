"""Buckets, the sums of values, and what is refused of a kind."""

from __future__ import annotations

import json
from typing import Any, Dict, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotrace.profile import values
from tests.unit.iotrace.profile.samples import OF_KIND, histograms

KINDS = {name: kind for name, kind in vars(values).items() if isinstance(kind, values.Kind)}


@given(st.integers(1, (1 << 64) - 1))
def test_a_bucket_is_the_power_of_two_at_or_below(value: int) -> None:
    lower = values.bucket(value)
    assert bin(lower).count("1") == 1
    assert lower <= value < 2 * lower


@given(st.integers(0, 1 << 60))
def test_a_fine_bucket_is_at_most_an_eighth_wide(value: int) -> None:
    numbers = range(480)
    ((lower, upper),) = [bounds for bounds in map(values.fine_bounds, numbers) if bounds[0] <= value < bounds[1]]
    assert values.fine_above(lower) == upper
    assert upper - lower <= max(lower // 8, 16)


def test_zero_has_its_own_bucket() -> None:
    assert values.bucket(0) == 0


@pytest.mark.parametrize("name", KINDS)
@given(st.data())
def test_every_kind_comes_back_from_json(name: str, data: st.DataObject) -> None:
    kind = KINDS[name]
    value = data.draw(OF_KIND[kind])
    assert kind.parsed(json.loads(json.dumps(kind.dumped(value)))) == value


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.column])
@given(st.data())
def test_every_kind_comes_back_from_its_column(name: str, data: st.DataObject) -> None:
    kind = KINDS[name]
    value = data.draw(OF_KIND[kind])
    stored = value if kind.store is None else kind.store(value)
    assert type(stored) in (int, str, bytes, type(None)), "what SQLite takes as it is"
    assert kind.load(stored) == value


@given(histograms)
def test_a_histogram_is_encoded_as_json_has_it(histogram: Dict[int, int]) -> None:
    expected = json.dumps({str(key): histogram[key] for key in sorted(histogram)}, separators=(",", ":"))
    assert (values.encode(histogram) or "{}") == expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (values.COUNT, "1"),
        (values.COUNT, True),
        (values.COUNT, None),
        (values.COUNT, -1),
        (values.COUNT, 1 << 63),
        (values.MAYBE, 1.0),
        (values.FLAG, None),
        (values.TEXT, b"x"),
        (values.PATH, "x"),
        (values.PATH, b"a\0b"),
        (values.MAYBE_PATH, 7),
        (values.STATE, 7),
        (values.STATE, "elsewhere"),
        (values.UNSIGNED, "1"),
        (values.HISTOGRAM, 7),
        (values.HISTOGRAM, '{"3":1}'),
        (values.HISTOGRAM, '{"-1":1}'),
        (values.HISTOGRAM, '{"1":1.5}'),
        (values.HISTOGRAM, '{"18446744073709551616":1}'),
        (values.HISTOGRAM, "[" * 100_000),
        (values.FINE, {"65": 1}),
        (values.FINE, {"-16": 1}),
        (values.FINE, {"9" * 5000: 1}),
        (values.SIZES, {"x": 1}),
        (values.SIZES, {str(size): 1 for size in range(5)}),
        (values.SIZES, {"18446744073709551616": 1}),
        (values.COUNTS, []),
        (values.COUNTS, {"EIO": -1}),
        (values.WORDS, "ls"),
        (values.WORDS, [1]),
        (values.OBJECT, []),
        (values.TEXTS, {"aio": {}}),
        (values.NESTED_COUNTS, {"read": {"EIO": "1"}}),
        (values.NESTED_COUNTS, {"read": 1}),
    ],
)
def test_what_is_not_of_a_kind_is_refused(kind: values.Kind, value: Any) -> None:
    with pytest.raises(ValueError):
        kind.load(value)


@pytest.mark.parametrize(
    ("a", "b", "smaller", "larger"), [(1, 2, 1, 2), (2, 1, 1, 2), (None, 3, 3, 3), (3, None, 3, 3), (None, None) * 2]
)
def test_what_is_unknown_loses_against_what_is_known(
    a: Optional[int], b: Optional[int], smaller: Optional[int], larger: Optional[int]
) -> None:
    assert (values.least(a, b), values.greatest(a, b)) == (smaller, larger)


def test_descriptions_that_differ_are_both_named_once() -> None:
    assert values.both_named("one", "two") == "one / two"
    assert values.both_named("one / two", "two") == "one / two"
    assert (values.both_named("", "two"), values.both_named("one", "")) == ("two", "one")


def test_sums_of_tables_are_in_order() -> None:
    assert list(values.add_tables({8: 1, 1: 2}, {2: 3, 8: 4}).items()) == [(1, 2), (2, 3), (8, 5)]
    assert values.add_nested({"b": {"x": 1}}, {"a": {"x": 2}, "b": {"y": 3}}) == {"a": {"x": 2}, "b": {"x": 1, "y": 3}}


def test_what_runs_do_not_have_in_common_is_empty() -> None:
    assert (values.common([b"x"], [b"x"]), values.common([b"x"], [b"y"])) == ([b"x"], [])
    assert values.common({"pid": 1}, {}) == {}
