"""No program without loops is more than the verifier of an old kernel will walk through.

A kernel before 5.2 gives up after 131,072 instructions. Its own figures, of samples and of the programs as they were
then, are in golden/processed.txt; the model in `old_verifier` comes to the same, each to the last instruction. Late
releases of 4.14 and those between 4.15 and 5.2 keep states at the same places, but not always know the same of a
number: so a quarter of the limit is all that a program may take.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Dict, Tuple

import pytest

from asm import ProgramSpec
from programs.facts import maps
from programs.facts.kernel import Options
from programs.requests.aio import events
from programs.way.body import Body
from tests.unit.programs.every import every_straight_form
from tests.unit.programs.forms import FORMS, OLDEST, Form, built, built_as
from tests.unit.programs.old_verifier import LIMIT, processed
from tests.unit.programs.samples import SAMPLES

FIGURES = Path(__file__).parent / "golden/processed.txt"
MAY_TAKE = LIMIT // 4


@lru_cache(maxsize=None)
def figures() -> Dict[Tuple[str, str], str]:
    """What a kernel said, by name and tag of the program."""
    lines = [line.split() for line in FIGURES.read_text().splitlines() if not line.startswith("#")]
    return {(name, tag): figure for name, tag, figure in lines}


@lru_cache(maxsize=None)
def steps(tag: str, program: ProgramSpec) -> int:
    """Of a program, of which many forms have the same."""
    return processed(program)


def as_written(program: ProgramSpec) -> str:
    """The model's figure as the kernel's are written."""
    found = processed(program)
    return "too-many" if found > LIMIT else str(found)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_model_comes_to_the_kernel_s_figure(name: str) -> None:
    program = SAMPLES[name]
    assert as_written(program) == figures()[name, program.tag()]


@pytest.mark.slow
def test_the_model_comes_to_the_kernel_s_figures_of_programs_that_have_not_changed() -> None:
    known = figures()
    for form in FORMS:
        if (form.attach, form.kernel) == ("perf", (4, 14)):
            for name, program in built_as(form).programs.items():
                if (name, program.tag()) in known:
                    assert str(steps(program.tag(), program)) == known[name, program.tag()], f"{form} {name}"


@pytest.mark.slow
@every_straight_form
def test_an_old_verifier_walks_to_the_end(form: Form) -> None:
    too_many = {name: steps(program.tag(), program) for name, program in built_as(form).programs.items()}
    assert {name: count for name, count in too_many.items() if count > MAY_TAKE} == {}


@pytest.mark.slow
def test_so_it_does_where_files_are_counted_over_time() -> None:
    """With what that adds to a call, the programs have room in 4,096 slots too."""
    made = built(OLDEST, Options(attach="perf", comm=True, series=True)).programs
    found = {name: program for name, program in made.items() if "series" in program.maps}
    assert len(found) > 8 and max(program.slots for program in found.values()) <= 4096
    assert {
        name: steps(program.tag(), program) for name, program in found.items() if processed(program) > MAY_TAKE
    } == {}


@pytest.mark.slow
def test_it_would_not_if_ways_differed_in_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two events of Linux AIO, each of any kind, once were more than 4.14 takes, though only 2,964 slots.

    Records in parts were looked for one by one then, which took as many ways again.
    """
    monkeypatch.setattr(Body, "fill_stack", lambda _body: None)
    program = events.rare_events(OLDEST, Options(attach="perf"), maps.declare(OLDEST), entering=False)
    assert processed(program) > MAY_TAKE
