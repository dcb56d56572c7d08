"""Programs of a few instructions that rename themselves twice and exit: the smallest 32-bit task there can be.

The kernel's objects of 32-bit tasks differ from those of 64-bit ones by one bit, and a 64-bit Python cannot be a 32-bit
task. The programs need no library and no loader. The first renaming gives them the name that `peek` serves, the second
one is served.
"""

from __future__ import annotations

import struct
from typing import Callable, Dict, NamedTuple

__all__ = ["image"]

_BASE = 0x400000  # where the file is mapped as a whole
_PR_SET_NAME = 15


class _Machine(NamedTuple):
    elf: int  # EM_*, include/uapi/linux/elf-em.h
    bits: int
    flags: int
    code: Callable[[int], bytes]  # for the address of the name


def _i386(name: int) -> bytes:
    # mov ebx, mov ecx, mov eax; int 0x80 ... xor ebx, ebx
    rename = struct.pack("<BIBIBI", 0xBB, _PR_SET_NAME, 0xB9, name, 0xB8, 172) + b"\xcd\x80"
    return rename * 2 + b"\x31\xdb" + struct.pack("<BI", 0xB8, 1) + b"\xcd\x80"


def _x86_64(name: int) -> bytes:
    # mov edi, mov esi, mov eax; syscall ... xor edi, edi
    rename = struct.pack("<BIBIBI", 0xBF, _PR_SET_NAME, 0xBE, name, 0xB8, 157) + b"\x0f\x05"
    return rename * 2 + b"\x31\xff" + struct.pack("<BI", 0xB8, 60) + b"\x0f\x05"


def _arm(name: int) -> bytes:
    def movw(register: int, value: int) -> int:
        return 0xE3000000 | (value >> 12) << 16 | register << 12 | value & 0xFFF

    def movt(register: int, value: int) -> int:
        return movw(register, value) | 0x400000

    svc = 0xEF000000
    rename = [movw(0, _PR_SET_NAME), movw(1, name & 0xFFFF), movt(1, name >> 16), movw(7, 172), svc]
    return struct.pack("<13I", *rename, *rename, movw(0, 0), movw(7, 1), svc)


def _aarch64(name: int) -> bytes:
    def movz(register: int, value: int) -> int:
        return 0xD2800000 | value << 5 | register

    def movk_16(register: int, value: int) -> int:
        return 0xF2A00000 | value << 5 | register

    svc = 0xD4000001
    rename = [movz(0, _PR_SET_NAME), movz(1, name & 0xFFFF), movk_16(1, name >> 16), movz(8, 167), svc]
    return struct.pack("<13I", *rename, *rename, movz(0, 0), movz(8, 93), svc)


_MACHINES: Dict[str, Dict[int, _Machine]] = {
    "x86_64": {32: _Machine(3, 32, 0, _i386), 64: _Machine(62, 64, 0, _x86_64)},
    "aarch64": {32: _Machine(40, 32, 0x05000200, _arm), 64: _Machine(183, 64, 0, _aarch64)},  # ARM: EABI 5
}


def image(machine: str, bits: int, name: bytes) -> bytes:
    """An ELF executable for tasks of `bits` (32 or 64) on `machine`, which takes the name `name` and exits with 0.

    Raises KeyError for a machine that is not supported.
    """
    target = _MACHINES[machine][bits]
    header = 52 + 32 if bits == 32 else 64 + 56
    length = len(target.code(0))
    code = target.code(_BASE + header + length)
    size = header + length + len(name) + 1
    ident = b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9)
    start = _BASE + header
    if bits == 32:
        elf = struct.pack("<16sHHIIIIIHHHHHH", ident, 2, target.elf, 1, start, 52, 0, target.flags, 52, 32, 1, 0, 0, 0)
        load = struct.pack("<IIIIIIII", 1, 0, _BASE, _BASE, size, size, 5, 0x10000)
    else:
        elf = struct.pack("<16sHHIQQQIHHHHHH", ident, 2, target.elf, 1, start, 64, 0, target.flags, 64, 56, 1, 0, 0, 0)
        load = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    return elf + load + code + name + b"\0"
