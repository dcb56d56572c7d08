"""A 32-bit program for a 64-bit kernel, assembled by hand: whoever confuses the numbers misreads its calls.

It does what `int main()` below does, and its calls mean others by their numbers on the 64-bit side: on x86_64 read is
close and lseek is readv, on aarch64 dup2 is read.

    int fd = open("compat", O_RDWR | O_CREAT, 0644);
    for (8 times) write(fd, main, 16);
    lseek(fd, 1, SEEK_SET);
    for (8 times) { read(fd, buffer, 16); dup2(fd, 20); }
    close(fd); exit(7);
"""

from __future__ import annotations

import struct
from typing import Callable, Dict, List, Sequence, Tuple, Union

EXIT_STATUS = 7
ROUNDS = 8
_BASE = 0x1000000  # where the program lies in memory: above every vm.mmap_min_addr
_HEADERS = 52 + 32
_MEMORY = 8192  # code, then the buffer
_BUFFER = _BASE + 4096
_FD = "fd"

# i386 and ARM EABI agree on these: arch/x86/entry/syscalls/syscall_32.tbl, arch/arm/tools/syscall.tbl.
_EXIT, _READ, _WRITE, _OPEN, _CLOSE, _LSEEK, _DUP2 = 1, 3, 4, 5, 6, 19, 63
_O_RDWR_CREAT = 0o102

Call = Tuple[int, Sequence[Union[int, str]]]  # number; arguments, _FD for the descriptor


def _calls(name: int) -> List[Call]:
    turns: List[Call] = [(_READ, (_FD, _BUFFER, 16)), (_DUP2, (_FD, 20))]
    return [
        (_OPEN, (name, _O_RDWR_CREAT, 0o644)),
        *[(_WRITE, (_FD, _BASE, 16))] * ROUNDS,
        (_LSEEK, (_FD, 1, 0)),
        *turns * ROUNDS,
        (_CLOSE, (_FD,)),
        (_EXIT, (EXIT_STATUS,)),
    ]


def _i386(calls: List[Call]) -> bytes:
    code = b""
    for number, arguments in calls:
        for position, value in enumerate(arguments):
            if value == _FD:
                code += (b"\x89\xf3", b"\x89\xf1", b"\x89\xf2")[position]  # mov ebx|ecx|edx, esi
            else:
                code += struct.pack("<BI", (0xBB, 0xB9, 0xBA)[position], value)  # mov ebx|ecx|edx, value
        code += struct.pack("<BI", 0xB8, number) + b"\xcd\x80"  # mov eax, number; int 0x80
        if number == _OPEN:
            code += b"\x89\xc6"  # mov esi, eax
    return code


def _arm(calls: List[Call]) -> bytes:
    words: List[int] = []

    def load(register: int, value: int) -> None:
        for opcode, half in ((0xE3000000, value & 0xFFFF), (0xE3400000, value >> 16)):  # movw, movt
            words.append(opcode | (half >> 12) << 16 | register << 12 | half & 0xFFF)

    for number, arguments in calls:
        for position, value in enumerate(arguments):
            if isinstance(value, str):
                words.append(0xE1A00004 | position << 12)  # mov rN, r4
            else:
                load(position, value)
        load(7, number)
        words.append(0xEF000000)  # svc 0
        if number == _OPEN:
            words.append(0xE1A04000)  # mov r4, r0
    return struct.pack(f"<{len(words)}I", *words)


_MACHINES: Dict[str, Tuple[int, int, Callable[[List[Call]], bytes]]] = {
    "amd64": (3, 0, _i386),  # EM_386
    "arm64": (40, 0x05000000, _arm),  # EM_ARM, EF_ARM_EABI_VER5
}


def program(architecture: str) -> bytes:
    """The executable: an ELF header, one segment that is readable, writable and executable, the name, the code."""
    machine, flags, assemble = _MACHINES[architecture]
    name = b"compat\0\0"
    image = name + assemble(_calls(_BASE + _HEADERS))
    entry, size = _BASE + _HEADERS + len(name), _HEADERS + len(image)
    identity = b"\x7fELF\x01\x01\x01" + bytes(9)  # 32 bits, little endian
    header = identity + struct.pack("<HHIIIIIHHHHHH", 2, machine, 1, entry, 52, 0, flags, 52, 32, 1, 40, 0, 0)
    segment = struct.pack("<IIIIIIII", 1, 0, _BASE, _BASE, size, _MEMORY, 7, 4096)
    return header + segment + image
