"""The table of tail calls: one index for each program, whoever it belongs to."""

from __future__ import annotations

from programs.facts.catalogue import Kind
from programs.facts.jumps import JUMPS, WALKS, Jump


def test_no_index_is_taken_twice_and_none_is_left_over() -> None:
    """An IntEnum makes two members of one value one, with two names."""
    assert len(Jump) == len(Jump.__members__) and len(Kind) == len(Kind.__members__)
    assert sorted([0, *Kind, *Jump]) == list(range(JUMPS))


def test_each_work_space_has_a_walk_of_its_own() -> None:
    assert len(set(WALKS)) == len(WALKS) == 2
