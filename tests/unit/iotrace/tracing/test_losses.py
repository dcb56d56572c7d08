"""What was lost, by name: nothing that a program counts there may be left out of a profile."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Dict

import pytest

from iotrace.tracing import losses
from programs.facts.records import Lost
from pybpf.maps import Array


class OneRecord(Array):
    """The map of losses, without a kernel behind it."""

    def __init__(self, **counts: int) -> None:
        self._raw = Lost.pack(**counts)

    def at(self, index: int) -> bytes:
        assert index == 0
        return bytes(self._raw)


def account(**counts: int) -> Dict[str, int]:
    return {**dict.fromkeys(Lost.fields, 0), **counts}


def found(name: str, misses: int) -> Any:
    return SimpleNamespace(name=name, info=lambda: SimpleNamespace(recursion_misses=misses))


def test_the_programs_account_by_name() -> None:
    assert losses.read({"lost": OneRecord(calls=1, depth=2)}) == account(calls=1, depth=2)


def test_a_run_that_lost_nothing_says_so() -> None:
    assert losses.losses(account(), skipped=0, unnamed=0, truncated=0) == {"events": 0, "files": 0, "calls": 0}


@pytest.mark.parametrize(
    ("counts", "more", "key", "number"),
    [
        ({"tallies": 2}, {"skipped": 3}, "events", 5),
        ({"files": 2}, {"unnamed": 3}, "files", 5),
        ({"calls": 7}, {}, "calls", 7),
        ({"targets": 7}, {}, "processes", 7),
        ({"iovecs": 7}, {}, "iovecs", 7),
        ({"compat": 7}, {}, "calls_of_32_bit_tasks", 7),
        ({}, {"truncated": 7}, "truncated_paths", 7),
    ],
)
def test_each_loss_has_its_place(counts: Dict[str, int], more: Dict[str, int], key: str, number: int) -> None:
    told = losses.losses(account(**counts), **{**dict.fromkeys(("skipped", "unnamed", "truncated"), 0), **more})
    assert told == {"events": 0, "files": 0, "calls": 0, key: number}


def test_an_event_is_lost_only_if_every_copy_of_its_program_was_skipped() -> None:
    programs = [found("enter", 5), found("enter_s1", 2), found("enter_s2", 0), found("exit", 4), found("exit_s1", 1)]
    assert losses.skipped(programs) == 1
    assert losses.skipped([found("enter", 5), found("exit", 4)]) == 9


def test_the_status_line_counts_what_calls_and_histograms_lack() -> None:
    assert losses.so_far(account(calls=1, tallies=2, iovecs=4, rings=100)) == 7
