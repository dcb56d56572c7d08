"""What is built where iotrace is not in the initial PID namespace, and that nothing of it is built anywhere else."""

from __future__ import annotations

import pytest

from programs import build
from programs.facts import maps
from programs.facts.kernel import Options
from tests.unit.programs.forms import GOLDEN_SETS, NEWEST, OF_PIDS, encoded
from tests.unit.programs.old_verifier import LIMIT, processed

SETS = [name for name in GOLDEN_SETS if name.startswith("contained")]


def test_in_the_initial_namespace_there_is_nothing_of_it() -> None:
    assert build.telling_numbers(NEWEST, Options(), maps.declare(NEWEST), raw=True) is None
    elsewhere = [made for name, made in GOLDEN_SETS.items() if name not in SETS]
    used = {name for made in elsewhere for program in made.programs.values() for name in program.maps}
    assert "targets" in used and not used & OF_PIDS


@pytest.mark.parametrize("name", ["contained", "contained, 4.14"])
def test_names_are_matched_at_home_alone(name: str) -> None:
    assert set(GOLDEN_SETS[name].programs) == {"new_task", "rename", "number"}


def test_everything_is_what_is_at_home() -> None:
    others = {"exit_answered", "core_dump", "number"}
    assert set(GOLDEN_SETS["contained, all"].programs) == {"enter", *others}
    assert set(GOLDEN_SETS["contained, all, 4.14"].programs) == {*(f"enter_{arity}" for arity in range(7)), *others}


@pytest.mark.parametrize("name", ["contained, 4.14", "contained, all, 4.14"])
def test_4_14_takes_them(name: str) -> None:
    for program in GOLDEN_SETS[name].programs.values():
        assert program.requires().version <= (4, 14), program.name
        assert len(encoded(program)) <= 4096 * 8, program.name
        assert processed(program) <= LIMIT // 4, program.name
