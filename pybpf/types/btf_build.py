"""Writing BTF for what is loaded: keys and values of maps from their layouts, functions and source notes of programs.

With it `bpftool map dump` prints records with the names of their fields, and `bpftool prog dump xlated` the notes of
programs. The format is described in Documentation/bpf/btf.rst. Maps take BTF since 4.18, programs since 5.0.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Optional, Tuple

from asm.layout import DataType, Field, Scalar

if TYPE_CHECKING:
    from asm import MapSpec, ProgramSpec, Where

__all__ = ["FUNCTION_SIZE", "LINE_SIZE", "BtfWriter", "ProgramInfo", "program_info"]

_KIND_INT, _KIND_ARRAY, _KIND_STRUCT, _KIND_FUNC, _KIND_FUNC_PROTO = 1, 3, 4, 12, 13
_INT_SIGNED, _INT_CHAR = 1, 2
FUNCTION_SIZE, LINE_SIZE = 8, 16  # of the records in `ProgramInfo`
_LINE_LIMIT = (1 << 22) - 1  # a line number shares its word with ten bits of column


def _identifier(name: str) -> str:
    """`name` as the kernel takes it for a type: a C identifier (btf_name_valid_identifier)."""
    return re.sub(r"\W", "_", name, flags=re.ASCII)[:127] or "_"


class BtfWriter:
    """Collects types and strings. Every method returns the id of its type, the same one for the same type."""

    def __init__(self) -> None:
        self._strings = bytearray(b"\0")
        self._string_at: Dict[str, int] = {"": 0}
        self._types: List[bytes] = []
        self._known: Dict[object, int] = {}

    def string(self, text: str) -> int:
        """The offset of `text` in the string section.

        Unprintable characters become spaces, as the kernel wants them.
        """
        offset = self._string_at.get(text)
        if offset is None:
            offset = self._string_at[text] = len(self._strings)
            if not (text.isascii() and text.isprintable()):
                text = "".join(character if " " <= character <= "~" else " " for character in text)
            self._strings += text.encode("ascii") + b"\0"
        return offset

    def _add(self, name: str, kind: int, vlen: int, size_or_type: int, rest: bytes = b"") -> int:
        self._types.append(struct.pack("<III", self.string(name), kind << 24 | vlen, size_or_type) + rest)
        return len(self._types)

    def data(self, type: DataType) -> int:
        """An integer, or a record with its fields."""
        if type not in self._known:
            self._known[type] = self._integer(type) if isinstance(type, Scalar) else self._record(type)
        return self._known[type]

    def _integer(self, type: Scalar) -> int:
        return self._add(type.name, _KIND_INT, 0, type.size, struct.pack("<I", type.signed << 24 | type.size * 8))

    def _record(self, layout: DataType) -> int:
        assert not isinstance(layout, Scalar)
        fields: List[Field] = list(layout.fields.values())
        members = b"".join(
            struct.pack("<III", self.string(_identifier(field.name)), self._field(field), field.offset * 8)
            for field in fields
        )
        return self._add(_identifier(layout.__name__), _KIND_STRUCT, len(fields), layout.size, members)

    def _field(self, field: Field) -> int:
        if not field.array:
            return self.data(field.type)
        element = self._character() if field.is_bytes else self.data(field.type)
        index = self.data(Scalar("u32", 4, False))
        key = ("array", element, field.count)
        if key not in self._known:
            self._known[key] = self._add("", _KIND_ARRAY, 0, 0, struct.pack("<III", element, index, field.count))
        return self._known[key]

    def _character(self) -> int:
        if "char" not in self._known:
            self._known["char"] = self._add("char", _KIND_INT, 0, 1, struct.pack("<I", _INT_CHAR << 24 | 8))
        return self._known["char"]

    def function(self, name: str) -> int:
        """A static function without arguments, `int name()`: no reader looks for them."""
        prototype = "prototype"
        if prototype not in self._known:
            result = self.data(Scalar("s32", 4, True))
            self._known[prototype] = self._add("", _KIND_FUNC_PROTO, 0, result)
        return self._add(_identifier(name), _KIND_FUNC, 0, self._known[prototype])

    def map_types(self, spec: MapSpec) -> Tuple[int, int]:
        """The types of a map's key and value, both of which the spec must have."""
        assert spec.key is not None
        assert spec.value is not None
        return self.data(spec.key), self.data(spec.value)

    def build(self) -> bytes:
        """The blob for BPF_BTF_LOAD."""
        types, strings = b"".join(self._types), bytes(self._strings)
        header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
        return header + types + strings


class ProgramInfo(NamedTuple):
    """BTF of a program, and the records that tie its instructions to it.

    They are `struct bpf_func_info` and `struct bpf_line_info`.
    """

    btf: bytes
    functions: bytes
    lines: bytes


def program_info(spec: ProgramSpec) -> ProgramInfo:
    """Functions and notes of `spec`.

    A line is recorded where a note or a source line begins, and at each function's start.
    """
    from asm.instruction import slots  # noqa: PLC0415 - whoever has a program has it imported

    writer = BtfWriter()
    functions = spec.functions
    records = b"".join(struct.pack("<II", start, writer.function(name)) for start, name in functions)
    starts = {start for start, _name in functions}
    lines: List[bytes] = []
    record = struct.Struct("<IIII").pack
    known: Dict[Tuple[str, Optional[Where]], Tuple[int, int, int]] = {}
    note: Optional[str] = None
    where: Optional[Where] = None
    for slot, instruction in slots(spec.instructions):
        if instruction.note == note and instruction.where == where and slot not in starts:
            continue
        note, where = place = instruction.note, instruction.where
        found = known.get(place)
        if found is None:
            file, line = where or ("", 0)
            found = writer.string(file), writer.string(note or f"{file}:{line}"), min(line, _LINE_LIMIT) << 10
            known[place] = found
        lines.append(record(slot, *found))
    return ProgramInfo(writer.build(), records, b"".join(lines))
