"""Which way in is chosen, by what the kernel lets in."""

from __future__ import annotations

from typing import Set

import pytest

from iotrace.errors import Failure
from iotrace.kernel import way_in
from pybpf import features


@pytest.fixture
def supported(monkeypatch: pytest.MonkeyPatch) -> Set[str]:
    """The features of the kernel; empty until the test adds some."""
    names: Set[str] = set()
    monkeypatch.setattr(features.Feature, "supported", lambda feature: feature.name in names)
    return names


def test_the_cheapest_is_chosen(supported: Set[str]) -> None:
    assert way_in.choose("auto") == "perf"
    supported.add("fentry")
    assert way_in.choose("auto") == "perf", "fentry is not chosen by itself"
    supported.add("raw_tracepoints")
    assert way_in.choose("auto") == "raw"


@pytest.mark.parametrize(("wanted", "feature"), [("raw", "raw_tracepoints"), ("fentry", "fentry")])
def test_one_that_the_kernel_lacks_is_refused_with_another(wanted: str, feature: str, supported: Set[str]) -> None:
    with pytest.raises(Failure, match="use --attach"):
        way_in.choose(wanted)
    supported.add(feature)
    assert way_in.choose(wanted) == wanted


def test_perf_tracepoints_are_always_there(supported: Set[str]) -> None:
    assert way_in.choose("perf") == "perf"
