"""Programs: their maps, bytes, tags and listings."""

from __future__ import annotations

import pytest

from asm import U32, U64, Assembler, EncodeError, MapSpec, MapType, ProgramSpec, ProgramType, dis, r0, r1, r2, r6

FIRST = MapSpec("first", MapType.HASH, U64, U64, 16)
SECOND = MapSpec("second", MapType.ARRAY, U32, U64, 1)


def sample(second: MapSpec = SECOND, step: int = 1) -> ProgramSpec:
    a = Assembler("sample", ProgramType.TRACEPOINT)
    a.ldx(r6, r1[8], "the argument")
    a.ld_map(r1, second)
    a.ld_map_value(r2, SECOND, 4)
    a.ld_map(r1, FIRST)
    a.jslt(r6, 0, "failed", "an error")
    a.mov32(r6, step)
    a.label("failed")
    a.ret(0)
    return a.program()


def test_maps_come_in_the_order_of_first_use() -> None:
    assert list(sample().maps.items()) == [("second", SECOND), ("first", FIRST)]


def test_two_maps_of_one_name_are_refused() -> None:
    other = MapSpec("second", MapType.ARRAY, U32, U64, 2)
    with pytest.raises(EncodeError, match="two different maps are called second"):
        _ = sample(other).maps


def test_every_map_needs_a_descriptor() -> None:
    assert len(sample().encode({"first": 3, "second": 4})) == 8 * sample().slots == 8 * 11
    with pytest.raises(EncodeError, match="the map first has no descriptor"):
        sample().encode({"second": 4})


def test_the_tag_is_of_the_instructions_alone() -> None:
    renamed = MapSpec("other", MapType.ARRAY, U32, U64, 1)
    assert sample().tag() == sample(renamed).tag()
    assert sample().tag() != sample(step=2).tag()


def test_specs_are_values() -> None:
    assert sample() == sample()
    assert hash(FIRST) == hash(MapSpec("first", MapType.HASH, U64, U64, 16))
    assert (FIRST.key_size, SECOND.key_size, MapSpec("ring", MapType.RINGBUF, None, None, 4096).value_size) == (8, 4, 0)


def test_functions_called_back_are_loaded_by_distance() -> None:
    a = Assembler("main", ProgramType.TRACEPOINT)
    a.mov(r0, 0)
    a.ld_function(r2, "callback")
    a.exit()
    a.function("callback", args=2)
    a.mov(r0, r1)
    a.exit()
    program = a.program()
    assert program.functions == [(0, "main"), (4, "callback")]
    assert program.instructions[1].encode().hex() == "18420000020000000000000000000000"
    assert "   1: (18) r2 = subprog[+2]\n   3: (95) exit\ncallback:\n" in dis(program.instructions)
    assert "    r2 = function callback\n    exit\ncallback:\n" in program.listing()
    assert program.requires().version == (5, 13)
