"""Programs as bytes: assembled and encoded, all but the descriptors of their maps.

What a `Binary` holds depends on the program alone, so that it can be kept and loaded again by another process, which
then needs neither the assembler nor what wrote the program.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Dict, List, Mapping, NamedTuple, Tuple

if TYPE_CHECKING:
    from asm import ProgramSpec

__all__ = ["Binary", "binary"]

_IMMEDIATE = 4  # its offset in an instruction of eight bytes


class Binary(NamedTuple):
    """A program, ready but for the descriptors of its maps.

    `kind` is a number of `asm.ProgramType`, `code` the instructions, 8 bytes each. `maps` has the name of each map with
    the byte of `code` where its descriptor belongs, 32 bits, little-endian. `btf`, `functions` and `lines` are the
    program's notes as the kernel takes them (5.0), all three or none: `struct bpf_func_info`, `struct bpf_line_info`.
    """

    name: str
    kind: int
    license: str
    code: bytes
    maps: Tuple[Tuple[int, str], ...]
    btf: bytes = b""
    functions: bytes = b""
    lines: bytes = b""

    @property
    def map_names(self) -> List[str]:
        """The maps that it uses, in the order of their first use."""
        return list(dict.fromkeys(name for _at, name in self.maps))

    def bound(self, fds: Mapping[str, int]) -> bytes:
        """The code with the descriptors of its maps from `fds`, by name. Raises KeyError for one that is missing."""
        code = bytearray(self.code)
        for at, name in self.maps:
            struct.pack_into("<i", code, at, fds[name])
        return bytes(code)

    def remarks(self) -> Dict[int, Tuple[str, str]]:
        """The note and the place in the sources of each instruction, by slot; only where they change."""
        if not self.lines:
            return {}
        strings = self.btf[24 + struct.unpack_from("<I", self.btf, 16)[0] :]
        found = {}
        for slot, file, text, line in struct.iter_unpack("<IIII", self.lines):
            place = f"{_string(strings, file)}:{line >> 10}"
            note = _string(strings, text)
            found[slot] = ("" if note == place else note, place)
        return found


def _string(strings: bytes, offset: int) -> str:
    return strings[offset : strings.index(b"\0", offset)].decode()


def binary(spec: ProgramSpec) -> Binary:
    """`spec` as bytes. Raises asm.EncodeError for a program that cannot be encoded."""
    # Needed where programs are made, not where they are kept.
    from asm.instruction import slots  # noqa: PLC0415
    from pybpf.types.btf_build import program_info  # noqa: PLC0415

    unbound: Dict[str, int] = dict.fromkeys(spec.maps, 0)
    places: List[Tuple[int, str]] = []
    for slot, instruction in slots(spec.instructions):
        if instruction.map is not None:
            places.append((8 * slot + _IMMEDIATE, instruction.map.name))
    return Binary(spec.name, int(spec.kind), spec.license, spec.encode(unbound), tuple(places), *program_info(spec))
