"""Programs as bytes: the same as the assembler's own encoding, once their maps are known."""

from __future__ import annotations

import pytest

from asm import U32, U64, Assembler, MapSpec, MapType, ProgramSpec, ProgramType, r1
from pybpf.types.binary import Binary, binary

NUMBERS = MapSpec("numbers", MapType.HASH, U32, U64, 1)
OTHERS = MapSpec("others", MapType.ARRAY, U32, U64, 1)


def made() -> ProgramSpec:
    a = Assembler("three_maps", kind=ProgramType.TRACEPOINT)
    a.ld_imm64(r1, 1 << 40, "wide, before a map")
    key = a.slot("key", U32)
    a.st(key, 0, "first")
    for spec in (NUMBERS, OTHERS, NUMBERS):
        a.lookup(spec, key)
    a.ret(0)
    return a.program()


def test_bound_code_is_what_the_assembler_encodes() -> None:
    program = made()
    fds = {"numbers": 7, "others": 2**31 - 1}
    assert binary(program).bound(fds) == program.encode(fds)
    assert binary(program).map_names == ["numbers", "others"]


def test_a_missing_map_is_named() -> None:
    with pytest.raises(KeyError, match="others"):
        binary(made()).bound({"numbers": 7})


def test_remarks_are_where_the_notes_were_made() -> None:
    program = made()
    remarks = binary(program).remarks()
    assert remarks[0][0] == "wide, before a map"
    assert remarks[2][0] == "first"
    where = program.instructions[1].where
    assert where is not None
    assert remarks[2][1] == f"{where[0]}:{where[1]}"


def test_no_notes_no_remarks() -> None:
    assert Binary("bare", 1, "GPL", bytes(8), ()).remarks() == {}
