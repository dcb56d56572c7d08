"""An assembler for BPF: programs and maps as data, the same on every machine.

It knows the instruction set and no kernel, and does no input or output; loading is somebody else's business.
"""

from asm.assembler import Assembler
from asm.errors import AsmError, AssembleError, DecodeError, EncodeError, LayoutError, Where
from asm.instruction import Instruction, decode
from asm.kinds import MapType, ProgramType
from asm.layout import S32, S64, U8, U16, U32, U64, DataType, Field, Layout, Scalar, field
from asm.listing import dis
from asm.maps import Map
from asm.operands import Mem, Place, Register, Slot, Source, r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10
from asm.program import Program
from asm.requirements import HELPERS, Helper, Reason, Requirement

__all__ = [
    "HELPERS",
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
    "Map",
    "MapType",
    "Mem",
    "Place",
    "Program",
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
