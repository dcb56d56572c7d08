"""An assembler for BPF: programs and maps as data, the same on every machine.

It knows the instruction set and which kernel brought what, but nothing of the kernel that it runs on, and makes no
system call: loading is left to others. README.md has an example and a list of all names.

Records and specifications of maps are imported with the package; what assembles is imported when it is first used,
since whoever keeps assembled programs needs none of it.
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
    from asm.emitter import unchecked
    from asm.instruction import Instruction, decode, slots
    from asm.operands import Mem, Place, Register, Slot, SlotType, Source, r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10
    from asm.program import ProgramSpec
    from asm.requirements import HELPERS, MAP_TYPES, PROGRAM_TYPES, Helper, Reason, Requirement, Version

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
    "SlotType",
    "Source",
    "Version",
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
    "slots",
    "unchecked",
]

_LATE = {
    "asm.assembler": "Assembler",
    "asm.instruction": "Instruction decode slots",
    "asm.disassembly": "dis",
    "asm.emitter": "unchecked",
    "asm.operands": "Mem Place Register Slot SlotType Source r0 r1 r2 r3 r4 r5 r6 r7 r8 r9 r10",
    "asm.program": "ProgramSpec",
    "asm.requirements": "HELPERS MAP_TYPES PROGRAM_TYPES Helper Reason Requirement Version",
}
_HOME = {name: module for module, names in _LATE.items() for name in names.split()}

if not TYPE_CHECKING:  # or any name would pass for one of ours

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value
