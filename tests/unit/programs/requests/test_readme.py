"""What the documents of asynchronous requests say of their programs, held to the programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, Iterator, Set, Tuple

import programs.requests
from asm import ProgramSpec, isa
from programs.build import ProgramSet
from tests.unit.programs.forms import GOLDEN_SETS

README = (Path(programs.requests.__file__).parent / "README.md").read_text()
OURS = re.compile(r"enter_aio|exit_aio_\w+|aio_\w+|uring_\w+")
BACKWARDS = -3  # a tail call sets the index, the context and the map, in this order


def told() -> Dict[str, Set[str]]:
    """The rows of both tables: a program, and what it goes on with."""
    rows = re.findall(r"^\| `(\w+)` \|.*\|([^|]*)\|$", README, re.MULTILINE)
    return {program: set(re.findall(r"`(\w+)`", after)) for program, after in rows if OURS.fullmatch(program)}


def tail_calls(made: ProgramSet, program: ProgramSpec) -> Iterator[str]:
    """Those whose index is a constant. The others are of the exit, and of the walks."""
    code = program.instructions
    for at, instruction in enumerate(code):
        index = code[at + BACKWARDS]
        if instruction.call == "tail_call" and index.op == isa.ALU64 | isa.MOV | isa.K:
            yield made.jumps[index.imm]


def found() -> Dict[str, Set[str]]:
    """The same of the programs, in whatever form they do so."""
    edges: Dict[str, Set[str]] = {}
    for made in GOLDEN_SETS.values():
        for program in made.programs.values():
            if OURS.fullmatch(program.name):
                edges.setdefault(program.name, set()).update(tail_calls(made, program))
    return edges


def test_the_tables_list_every_program_and_what_it_goes_on_with() -> None:
    assert told() == found()


def modules() -> Iterator[Tuple[str, str]]:
    """What a row of a table names as a module, or a folder, of the package."""
    for row in README.splitlines():
        if row.startswith("|"):
            yield from ((row, name) for name in re.findall(r"`((?:\w+/)*\w+\.py|\w+/)`", row))


def test_the_modules_that_it_names_are_there() -> None:
    here = Path(programs.requests.__file__).parent
    assert [row for row, name in modules() if not ((here / name).exists() or (here.parent / name).exists())] == []
