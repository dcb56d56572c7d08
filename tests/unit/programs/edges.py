"""Who goes on with whom: the tail calls of the programs, whatever form they are in."""

from __future__ import annotations

from typing import Dict, Iterator, Set

from asm import ProgramSpec, isa
from programs.build import ProgramSet
from tests.unit.programs.forms import GOLDEN_SETS

BACKWARDS = -3  # a tail call sets the index, the context and the map, in this order


def tail_calls(made: ProgramSet, program: ProgramSpec) -> Iterator[str]:
    """Those whose index is a constant. The others are of the exit, and of the walks."""
    code = program.instructions
    for at, instruction in enumerate(code):
        index = code[at + BACKWARDS]
        if instruction.call == "tail_call" and index.op == isa.ALU64 | isa.MOV | isa.K:
            yield made.jumps[index.imm]


def edges() -> Dict[str, Set[str]]:
    """Every program, with the programs that it goes on with in one form or another."""
    found: Dict[str, Set[str]] = {}
    for made in GOLDEN_SETS.values():
        for program in made.programs.values():
            found.setdefault(program.name, set()).update(tail_calls(made, program))
    return found
