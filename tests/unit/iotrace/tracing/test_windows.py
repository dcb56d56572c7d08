"""When windows are open: one instant in ONE_IN, whichever it is."""

from __future__ import annotations

import random
from typing import List

import pytest

from iotrace.tracing import windows
from programs.facts.records import ONE_IN

RUNS = 40_000
END = 40 * windows.WINDOW  # less than two windows come until then, on average


def spans(seed: random.Random) -> List[windows.Span]:
    """The windows of a run up to END."""
    found = [windows.first(0, lambda: 1 - seed.random())]
    while found[-1].closes < END:
        found.append(windows.following(found[-1].closes, lambda: 1 - seed.random()))
    return found


def test_every_instant_is_as_likely_to_lie_in_a_window() -> None:
    """Five standard deviations of a share of RUNS are 0.005."""
    seed = random.Random(20261129)
    runs = [spans(seed) for _ in range(RUNS)]
    for instant in (0, windows.WINDOW // 2, windows.WINDOW, 7 * windows.WINDOW, END - 1):
        inside = sum(any(span.opens <= instant < span.closes for span in found) for found in runs)
        assert inside / RUNS == pytest.approx(1 / ONE_IN, abs=0.005)


def test_what_happened_before_says_nothing_of_the_next_window() -> None:
    """Neither whether there was one at the beginning nor when it closed."""
    assert windows.following(5, lambda: 0.5).opens - 5 == windows.following(0, lambda: 0.5).opens
    assert windows.first(0, lambda: 1.0) == windows.following(0, lambda: 1.0)
    assert windows.following(0, lambda: 1.0).opens == 0
