"""What becomes of a probe's answer."""

from __future__ import annotations

import errno
from typing import Iterator, List

import pytest

from pybpf import features
from pybpf.features import FEATURES, Feature, State
from pybpf.syscalls import BpfError


@pytest.fixture(autouse=True)
def nothing_is_pretended() -> Iterator[None]:
    yield
    features.pretend(None)


def test_features_are_listed_oldest_first() -> None:
    assert [feature.since for feature in FEATURES.values()] == sorted(feature.since for feature in FEATURES.values())
    assert all(feature.name == name for name, feature in FEATURES.items())


def test_what_cannot_be_told_is_asked_again() -> None:
    refusals = [BpfError(errno.EPERM, "BPF_MAP_CREATE"), BpfError(errno.EPERM, "BPF_MAP_CREATE")]
    answers = [True]

    def probe() -> bool:
        if refusals:
            raise refusals.pop()
        return answers.pop()

    feature = Feature("x", (4, 4), "x", probe)
    assert feature.known is None
    assert feature.state is State.UNKNOWN
    assert feature.error is not None
    assert feature.error.errno == errno.EPERM
    assert feature.known is None
    assert not feature.supported()
    assert feature.supported()
    assert feature.supported()  # kept: there is no further answer to pop
    assert feature.error is None
    assert feature.known is True


def test_what_is_hidden_is_not_probed() -> None:
    asked: List[int] = []

    def probe() -> bool:
        asked.append(1)
        return True

    feature = Feature("x", (5, 8), "x", probe)
    features.pretend((5, 7))
    assert feature.hidden
    assert feature.state is State.NOT_SUPPORTED
    assert feature.known is None
    features.pretend((5, 8))
    assert not feature.hidden
    assert not asked
    assert feature.supported()
    features.pretend((4, 14))
    assert not feature.supported()
    assert feature.known is True  # of this kernel, whatever is pretended
    features.pretend(None)
    assert feature.supported()
    assert asked == [1]


def test_an_answer_of_another_process_is_taken_over() -> None:
    feature = Feature("x", (5, 8), "x", lambda: 1 / 0 > 0)
    feature.assume(True)
    assert feature.supported()
    feature.assume(False)
    assert feature.state is State.NOT_SUPPORTED
