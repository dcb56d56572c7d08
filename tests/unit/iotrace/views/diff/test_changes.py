"""What has become of a file, and which changes come first."""

from __future__ import annotations

from typing import List, Tuple

import pytest

from iotrace.profile.rows import Sums
from iotrace.views.diff.changes import Kind, Pair, Part, Rule, by_directory, collect, entry

SECOND = Rule("bytes", (1.0, 1.0))
HUGE = 1 << 40


def part(size: int, calls: int) -> Part:
    return Part(1, Sums(bytes_read=size, calls=calls))


PAIRS = [
    (b"/huge", part(HUGE, 1), part(3 * HUGE, 1)),
    (b"/grew", part(1000, 100), part(2000, 200)),
    (b"/gone", part(10, 1), None),
    (b"/shrank", part(9000, 900), part(7000, 700)),
    (b"/chance", part(HUGE, 100), part(HUGE + HUGE // 9, 111)),
    (b"/same", part(1000, 100), part(1049, 105)),
    (b"/still", part(5, 5), part(5, 5)),
]


def test_what_is_claimed_comes_first_whatever_its_weight() -> None:
    found = collect((entry(*pair, SECOND) for pair in PAIRS), 0)
    assert [each.name for each in found.entries] == [b"/shrank", b"/grew", b"/gone", b"/huge", b"/chance", b"/same"]
    counts = {kind: number for kind, number in found.counts.items() if number}
    assert counts == {Kind.GREW: 1, Kind.SHRANK: 1, Kind.VANISHED: 1, Kind.UNCLEAR: 1, Kind.SAME: 3}
    assert collect((entry(*pair, SECOND) for pair in PAIRS), 2).entries == found.entries[:2]


@pytest.mark.parametrize(
    ("sort", "seconds", "kind"),
    [
        ("bytes", (1.0, 1.0), Kind.GREW),
        ("bytes", (1.0, 2.0), Kind.SAME),
        ("bytes", (1.0, 4.0), Kind.SHRANK),
        ("written", (1.0, 1.0), Kind.SAME),
        ("errors", (1.0, 1.0), Kind.UNCLEAR),
    ],
)
def test_rates_decide(sort: str, seconds: Tuple[float, float], kind: Kind) -> None:
    after = Part(1, Sums(bytes_read=2000, calls=200, errors=2))
    assert entry(b"/x", part(1000, 100), after, Rule(sort, seconds)).kind == kind


def test_directories_add_up_what_is_in_either_run() -> None:
    files: List[Pair] = [
        (b"/a/b/x", part(1, 1), None),
        (b"/a/c", None, part(2, 1)),
        (b"/a/b/y", part(4, 2), part(8, 3)),
    ]
    found = {name: (before, after) for name, before, after in by_directory(files)}
    assert found == {b"/a/b": (Part(2, Sums(5, calls=3)), part(8, 3)), b"/a": (None, part(2, 1))}
    assert [name for name, *_ in by_directory(files, depth=1)] == [b"/a"]
