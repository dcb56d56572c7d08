"""Specifications of programs: instructions that know their maps by name, until a loader binds them to descriptors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Dict, List, Mapping, Sequence, Tuple

from asm.errors import EncodeError, place
from asm.instruction import Instruction, slots
from asm.kinds import ProgramType
from asm.listing import listing
from asm.maps import MapSpec
from asm.requirements import Requirement, requirement


@dataclass(frozen=True)
class ProgramSpec:
    """A program to load. Functions that it calls follow its main body in the same list of instructions."""

    name: str
    kind: ProgramType
    instructions: Sequence[Instruction]
    license: str = "Dual BSD/GPL"

    @property
    def slots(self) -> int:
        """Its length as the kernel counts it. Before 5.2 it may be 4096 at most (BPF_MAXINSNS)."""
        return sum(instruction.width for instruction in self.instructions)

    @property
    def maps(self) -> Dict[str, MapSpec]:
        """The maps it uses, in the order of first use. Raises EncodeError if two different ones share a name."""
        maps: Dict[str, MapSpec] = {}
        for instruction in self.instructions:
            used = instruction.map
            if used is not None and maps.setdefault(used.name, used) != used:
                raise EncodeError(f"{place(instruction.where)}: two different maps are called {used.name}")
        return maps

    @property
    def functions(self) -> List[Tuple[int, str]]:
        """The first slot and the name of each function, the program itself first."""
        starts = {0: self.name}
        for slot, instruction in slots(self.instructions):
            if instruction.takes_function:
                start = slot + 1 + instruction.distance
                starts[start] = instruction.call or f"function_{start}"
        return sorted(starts.items())

    def encode(self, fds: Mapping[str, int]) -> bytes:
        """The program as bytes, with the descriptors of its maps by name. Raises EncodeError for a missing one."""
        return b"".join(instruction.encode(fds) for instruction in self.instructions)

    def requires(self) -> Requirement:
        """The first kernel that has everything this program uses."""
        return requirement(self.kind, self.instructions)

    def listing(self, notes: bool = True, where: bool = False) -> str:
        """The program as it is written in the source, for reviews; `where` adds the lines that emitted it.

        `dis(program.instructions)` has it in the verifier's notation.
        """
        return listing(self.instructions, notes=notes, where=where)

    def tag(self) -> str:
        """16 hex digits that change with the instructions, but not with the descriptors of maps.

        From 6.18 on it is the tag that the kernel computes and bpftool prints; before, the kernel took SHA-1.
        """
        return hashlib.sha256(self.encode(dict.fromkeys(self.maps, 0))).hexdigest()[:16]
