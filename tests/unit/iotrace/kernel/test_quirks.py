"""The table of what kernels differ in: complete, dated, and honest about what could not be told."""

from __future__ import annotations

import errno
import re
from dataclasses import fields
from typing import Dict, Iterator, get_type_hints

import pytest

from iotrace.kernel import quirks
from iotrace.kernel.quirks import QUIRKS, Quirk
from programs.facts.kernel import Kernel
from pybpf import features
from pybpf.features import FEATURES, Feature, State

UNDATED = {"preempted_programs"}  # whose commit is of no release yet


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> Dict[str, State]:
    """The answers of probes; a feature that is not in it is not supported."""
    answers: Dict[str, State] = {}
    monkeypatch.setattr(Feature, "state", property(lambda self: answers.get(self.name, State.NOT_SUPPORTED)))
    return answers


@pytest.fixture
def an_old_kernel() -> Iterator[None]:
    features.pretend((4, 14))
    yield
    features.pretend(None)


def test_they_are_told_in_the_order_of_their_kernels() -> None:
    ages = [quirk.since for quirk in QUIRKS]
    assert ages == sorted(ages)
    assert len({quirk.name for quirk in QUIRKS}) == len(QUIRKS)


def test_each_names_its_commit() -> None:
    """In the docstring of the probe that decides."""
    decide = {feature.name: feature for quirk in QUIRKS for feature in quirk.features}
    silent = {name for name, made in decide.items() if not re.match(r"[0-9a-f]{12} \(\"", made._probe.__doc__ or "")}
    assert silent == UNDATED


def test_every_ability_that_programs_are_told_is_in_the_table() -> None:
    """What the programs know of a kernel by a yes or no, but for the range of thread ids, which is a setting, and for
    what calibration finds out together with the members of its structures."""
    told = {name for name, kind in get_type_hints(Kernel).items() if kind is bool} - {"tid_direct", "shows_created"}
    decided = [quirk.fact for quirk in QUIRKS if quirk.fact]
    assert sorted(decided) == sorted(told | {"spares"})
    assert set(decided) <= {field.name for field in fields(Kernel)}


def test_facts_of_a_kernel_that_has_nothing(states: Dict[str, State]) -> None:
    assert quirks.facts() == {
        "big_values": False,
        "back_jumps": False,
        "jiffies": False,
        "ring_buffer": False,
        "fetch_atomics": False,
        "loops": False,
        "spares": 0,
    }


def test_facts_of_a_kernel_that_has_everything(states: Dict[str, State]) -> None:
    states.update(dict.fromkeys(FEATURES, State.SUPPORTED))
    assert quirks.facts() == {
        "big_values": True,
        "back_jumps": True,
        "jiffies": True,
        "ring_buffer": True,
        "fetch_atomics": True,
        "loops": True,
        "spares": quirks.SPARES,
    }


def test_a_pretended_kernel_has_no_quirk_of_a_newer_one(an_old_kernel: None) -> None:
    assert all(quirk.state is State.NOT_SUPPORTED for quirk in QUIRKS)
    assert not any(quirks.facts().values())


def test_one_that_several_features_decide_takes_all_of_them(states: Dict[str, State]) -> None:
    (quirk,) = [quirk for quirk in QUIRKS if quirk.fact == "back_jumps"]
    assert quirk.since == (5, 3)
    states["bounded_loops"] = State.SUPPORTED
    for large, expected in ((State.NOT_SUPPORTED, False), (State.UNKNOWN, False), (State.SUPPORTED, True)):
        states["large_programs"] = large
        assert (quirk.state, quirk.value) == (large, expected)


def test_good_is_what_one_would_wish(states: Dict[str, State]) -> None:
    wish, fear = Quirk("a", "batch", ""), Quirk("b", "batch", "", welcome=False)
    assert (wish.good, fear.good) == (False, True)
    states["batch"] = State.SUPPORTED
    assert (wish.good, fear.good) == (True, False)


def test_what_could_not_be_told_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = OSError(errno.EPERM, "Operation not permitted")

    def probe() -> bool:
        raise refused

    monkeypatch.setitem(FEATURES, "odd", Feature("odd", (6, 9), "an odd thing", probe))
    quirk = Quirk("odd", "odd", "")
    assert quirk.state is State.UNKNOWN and quirk.error is refused
