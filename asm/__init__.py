"""An assembler for BPF: programs and maps as data, the same on every machine.

It knows the instruction set and no kernel, and does no input or output; loading is somebody else's business.

Records and maps are at hand at once; what assembles is imported when it is first asked for, as a run whose programs
were assembled before needs none of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from asm.errors import AsmError, AssembleError, DecodeError, EncodeError, LayoutError, Where
from asm.kinds import MapType, ProgramType
from asm.layout import S32, S64, U8, U16, U32, U64, DataType, Field, Layout, Scalar, field, overlay
from asm.maps import MapSpec

if TYPE_CHECKING:
    from asm.assembler import Assembler
    from asm.disassembly import dis
    from asm.instruction import Instruction, decode
    from asm.operands import Mem, Place, Register, Slot, Source, r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10
    from asm.program import ProgramSpec
    from asm.requirements import HELPERS, MAP_TYPES, PROGRAM_TYPES, Helper, Reason, Requirement

__all__ = [
    "HELPERS",
    "MAP_TYPES",
    "PROGRAM_TYPES",
    "S32",
    "S64",
    "U8",
    "U16",
    "U32",
    "U64",
    "AsmError",
    "AssembleError",
    "Assembler",
    "DataType",
    "DecodeError",
    "EncodeError",
    "Field",
    "Helper",
    "Instruction",
    "Layout",
    "LayoutError",
    "MapSpec",
    "MapType",
    "Mem",
    "Place",
    "ProgramSpec",
    "ProgramType",
    "Reason",
    "Register",
    "Requirement",
    "Scalar",
    "Slot",
    "Source",
    "Where",
    "decode",
    "dis",
    "field",
    "overlay",
    "r0",
    "r1",
    "r2",
    "r3",
    "r4",
    "r5",
    "r6",
    "r7",
    "r8",
    "r9",
    "r10",
]

_LATE = {
    "asm.assembler": "Assembler",
    "asm.instruction": "Instruction decode",
    "asm.disassembly": "dis",
    "asm.operands": "Mem Place Register Slot Source r0 r1 r2 r3 r4 r5 r6 r7 r8 r9 r10",
    "asm.program": "ProgramSpec",
    "asm.requirements": "HELPERS MAP_TYPES PROGRAM_TYPES Helper Reason Requirement",
}
_HOME = {name: module for module, names in _LATE.items() for name in names.split()}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
