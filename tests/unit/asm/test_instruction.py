"""Instructions to bytes and back."""

from __future__ import annotations

from typing import List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asm import U64, DecodeError, EncodeError, Instruction, MapSpec, MapType, decode, dis

LD_IMM64 = 0x18

registers = st.integers(0, 10)
narrow = st.builds(
    Instruction,
    op=st.integers(0, 255).filter(lambda op: op != LD_IMM64),
    dst=registers,
    src=registers,
    off=st.integers(-(2**15), 2**15 - 1),
    imm=st.integers(-(2**31), 2**31 - 1),
)
wide = st.builds(
    Instruction,
    op=st.just(LD_IMM64),
    dst=registers,
    src=registers,
    off=st.integers(-(2**15), 2**15 - 1),
    imm=st.integers(0, 2**64 - 1),
)
programs = st.lists(narrow | wide, max_size=20)
encoded = programs.map(lambda program: b"".join(instruction.encode() for instruction in program))


@given(programs)
def test_decoding_gives_back_what_was_encoded(program: List[Instruction]) -> None:
    code = b"".join(instruction.encode() for instruction in program)
    assert len(code) == 8 * sum(instruction.width for instruction in program)
    assert decode(code) == program


@given(st.binary(max_size=64) | st.builds(lambda code, at: code[at:] + code[:at], encoded, st.integers(0, 64)))
def test_any_bytes_decode_or_are_refused(code: bytes) -> None:
    try:
        program = decode(code)
    except DecodeError:
        return
    assert b"".join(instruction.encode() for instruction in program) == code
    assert dis(program).count("\n") == len(program)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("b7000000000000", "not a whole number"),
        ("b70b000000000000", "there is no register r11"),
        ("bff0000000000000", "there is no register r15"),
        ("1801000000000000", "slot 0: a wide instruction without its second half"),
        ("b70000000000000018010000000000000100000000000000", "slot 1: a wide instruction without"),
        ("18010000000000000001000000000000", "a wide instruction without its second half"),
        ("18010000000000000000010000000000", "a wide instruction without its second half"),
    ],
)
def test_malformed_code_is_refused(code: str, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decode(bytes.fromhex(code))


@pytest.mark.parametrize(
    "wrong",
    [
        Instruction(0x100),
        Instruction(0xB7, dst=16),
        Instruction(0xB7, src=-1),
        Instruction(0xB7, off=1 << 15),
        Instruction(0xB7, imm=1 << 31),
        Instruction(LD_IMM64, imm=1 << 64),
        Instruction(LD_IMM64, imm=-1),
    ],
)
def test_what_does_not_fit_is_not_encoded(wrong: Instruction) -> None:
    with pytest.raises(EncodeError, match="out of range"):
        wrong.encode()


def test_maps_are_bound_by_name() -> None:
    totals = MapSpec("totals", MapType.HASH, U64, U64, 16)
    load = Instruction(LD_IMM64, 1, 1, map=totals)
    assert load.encode({"totals": 7}).hex() == "18110000070000000000000000000000"
    with pytest.raises(EncodeError, match="the map totals has no descriptor"):
        load.encode({"other": 7})
    with pytest.raises(EncodeError, match="the map totals has no descriptor"):
        load.encode()


def test_the_offset_of_a_map_value_is_in_the_second_slot() -> None:
    totals = MapSpec("totals", MapType.ARRAY, U64, U64, 1)
    load = Instruction(LD_IMM64, 1, 2, imm=5 << 32, map=totals)
    assert load.encode({"totals": 7}).hex() == "18210000070000000000000005000000"
