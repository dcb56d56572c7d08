"""Specifications of programs: instructions that refer to maps by name, which a loader binds to descriptors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, Sequence, Tuple

from asm import isa
from asm.errors import EncodeError, place
from asm.instruction import Instruction, encode, slots
from asm.kinds import ProgramType
from asm.listing import listing
from asm.maps import MapSpec
from asm.requirements import Requirement, requirement

_TAKE_FUNCTIONS = (isa.JMP | isa.CALL, isa.LD_IMM64)


@dataclass(frozen=True)
class ProgramSpec:
    """A program to load. The functions that it calls follow its main body in the same list of instructions."""

    name: str
    kind: ProgramType
    instructions: Sequence[Instruction]
    license: str = "Dual BSD/GPL"

    @property
    def slots(self) -> int:
        """The length as the kernel counts it, in units of 8 bytes. Before 5.2 it is limited to 4096 (BPF_MAXINSNS)."""
        return sum(instruction.width for instruction in self.instructions)

    @property
    def maps(self) -> Dict[str, MapSpec]:
        """The maps by name, in the order of first use. Raises EncodeError if two different maps share a name."""
        maps: Dict[str, MapSpec] = {}
        for instruction in self.instructions:
            used = instruction.map
            if used is not None and maps.setdefault(used.name, used) is not used and maps[used.name] != used:
                raise EncodeError(f"{place(instruction.where)}: two different maps are called {used.name}")
        return maps

    @property
    def functions(self) -> List[Tuple[int, str]]:
        """The first slot and the name of each function, the program itself first."""
        starts = {0: self.name}
        for slot, instruction in slots(self.instructions):
            if instruction.op in _TAKE_FUNCTIONS and instruction.takes_function:
                start = slot + 1 + instruction.distance
                starts[start] = instruction.call or f"function_{start}"
        return sorted(starts.items())

    def encode(self, fds: Mapping[str, int]) -> bytes:
        """The program as bytes, given the descriptors of its maps by name. Raises EncodeError if one is missing."""
        return encode(self.instructions, fds)

    def requires(self) -> Requirement:
        """The first kernel that has everything this program uses, and why it is that one."""
        return requirement(self.kind, self.instructions)

    def listing(self, notes: bool = True, where: bool = False) -> str:
        """The program with names for operands, labels and helpers, for reviews; `where` adds the lines that emitted it.

        `dis(program.instructions)` shows it in the verifier's notation.
        """
        return listing(self.instructions, notes=notes, where=where)

    def tag(self) -> str:
        """16 hexadecimal digits that identify the instructions, whatever the descriptors of the maps are.

        Since 6.18 this is the tag that the kernel computes and bpftool prints; earlier kernels use SHA-1.
        """
        import hashlib  # noqa: PLC0415 - loads OpenSSL

        return hashlib.sha256(self.encode(dict.fromkeys(self.maps, 0))).hexdigest()[:16]
