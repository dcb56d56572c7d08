"""The most frequent of opens that failed, and that nothing of the rest goes missing."""

from __future__ import annotations

from collections import Counter
from typing import Dict, List, Tuple

import pytest
from hypothesis import given

from iotrace.profile.failed_opens import MOST, FailedOpen, added, from_row, most_frequent, totals_of
from tests.unit.iotrace.profile.samples import failed_opens

What = Tuple[bytes, str, bool]


def test_the_rest_of_each_errno_is_told() -> None:
    counts: Dict[What, int] = {(b"/%04d" % n, "ENOENT", False): n for n in range(1, MOST + 11)}
    counts[b"/a", "EACCES", True] = 10**6
    found = most_frequent(counts, {"ENOENT": 10**7, "EACCES": 10**6, "EIO": 2})
    assert found[0] == FailedOpen(b"/a", "EACCES", True, 10**6)
    assert found[1:MOST] == [FailedOpen(b"/%04d" % n, "ENOENT", False, n) for n in range(MOST + 10, 11, -1)]
    kept = sum(range(12, MOST + 11))
    assert found[MOST:] == [FailedOpen(None, "EIO", False, 2), FailedOpen(None, "ENOENT", False, 10**7 - kept)]


@given(failed_opens, failed_opens)
def test_the_sums_of_two_runs_are_those_of_both(a: List[FailedOpen], b: List[FailedOpen]) -> None:
    assert Counter(totals_of(added(a, b))) + Counter() == Counter(totals_of([*a, *b])) + Counter()


@pytest.mark.parametrize(
    "row",
    [("/text", "EIO", 0, 1), (b"/a", 5, 0, 1), (b"/a", "EIO", 0, -1), (b"/a", "E" * 200, 0, 1), (b"\0", "E", 0, 1)],
)
def test_what_is_no_row_is_refused(row: Tuple[object, ...]) -> None:
    with pytest.raises(ValueError):
        from_row(row)
