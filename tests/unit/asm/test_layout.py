"""Records against the C compiler's rules (ctypes), and packing against unpacking."""

from __future__ import annotations

import ctypes
import struct
from typing import Any, Dict, List, Optional, Tuple, Type

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asm import S32, S64, U8, U16, U32, U64, Layout, LayoutError, Mem, Scalar, field, overlay, r6

C_TYPES = {
    U8: ctypes.c_uint8,
    U16: ctypes.c_uint16,
    U32: ctypes.c_uint32,
    U64: ctypes.c_uint64,
    S32: ctypes.c_int32,
    S64: ctypes.c_int64,
}

Members = List[Tuple[Scalar, int]]
members = st.lists(st.tuples(st.sampled_from(list(C_TYPES)), st.integers(0, 5)), min_size=1, max_size=8)


def c_structure(of: Members) -> Type[ctypes.Structure]:
    fields: List[Tuple[str, Any]] = [
        (f"m{number}", C_TYPES[type] * count if count else C_TYPES[type]) for number, (type, count) in enumerate(of)
    ]
    return type("S", (ctypes.LittleEndianStructure,), {"_fields_": fields})


def layout(of: Members) -> Type[Layout]:
    return type("L", (Layout,), {f"m{number}": field(type, count) for number, (type, count) in enumerate(of)})


@given(members)
def test_fields_lie_where_c_puts_them_and_padding_is_refused(of: Members) -> None:
    c = c_structure(of)
    padding = ctypes.sizeof(c) - sum(type.size * (count or 1) for type, count in of)
    if padding:
        with pytest.raises(LayoutError, match="insert a pad field"):
            layout(of)
        return
    ours = layout(of)
    assert ours.size == ctypes.sizeof(c) == ours.struct.size
    for name, place in ours.fields.items():
        assert (place.offset, place.total) == (getattr(c, name).offset, getattr(c, name).size)


@given(members, st.data())
def test_a_record_unpacks_as_c_sees_it_and_packs_again(of: Members, data: st.DataObject) -> None:
    of = sorted(of, key=lambda member: -member[0].size)
    of.append((U8, -sum(type.size * (count or 1) for type, count in of) % 8 or 8))
    c, ours = c_structure(of), layout(of)
    raw = data.draw(st.binary(min_size=ours.size, max_size=ours.size))
    seen = c.from_buffer_copy(raw)
    record = ours.unpack(raw)
    flat = ours.struct.unpack(raw)
    for number, (type, count) in enumerate(of):
        value = getattr(seen, f"m{number}")
        if count:
            value = bytes(value) if type is U8 else tuple(value)
        assert record[f"m{number}"] == value
        place = ours.fields[f"m{number}"]
        assert flat[place.index] == (value[0] if count and type is not U8 else value)
    assert ours.pack(**record) == raw


class Key(Layout):
    inode = field(U64)
    device = field(U32)
    op = field(U32)


class Record(Layout):
    """A record with everything in it."""

    owner = field(U32)
    pad = field(U32)
    key = field(Key)
    args = field(U64, 3)
    keys = field(Key, 2)
    name = field(U8, 8)


def test_nested_records_and_elements_sum_their_offsets() -> None:
    assert (Record.key[Key.device].offset, Record.key[Key.device].size) == (16, 4)
    assert Record.key.sub(Key.device) == Record.key[Key.device]
    assert Record.args[2].offset == 8 + 16 + 16
    assert Record.keys[1][Key.op].offset == 8 + 16 + 24 + 16 + 12
    assert Record.name[3].offset == 8 + 16 + 24 + 32 + 3
    flat = Record.struct.unpack(bytes(range(Record.size)))
    assert flat[Record.keys[1][Key.op].index] == struct.unpack_from("<I", bytes(range(88)), 76)[0]
    assert flat[Record.name.index] == bytes(range(80, 88))


def test_fields_make_operands() -> None:
    assert r6[Record.owner] == r6.u32(0)
    assert r6[Record.args[1]] == r6[32] == Mem(r6, 32, 8)
    assert r6[Record.args] == Mem(r6, 24, 24, scalar=False)


class Words(Layout):
    """A record whose words hold something else in another phase."""

    owner = field(U32)
    call = field(U32)
    first = field(U64)
    second = field(U64)
    half = overlay(U8, call, 4)
    key = overlay(Key, first)
    pair = overlay(U64, first, 2)


class UnionInC(ctypes.Union):
    _fields_ = [
        ("words", ctypes.c_uint64 * 2),
        (
            "key",
            type(
                "K",
                (ctypes.Structure,),
                {"_fields_": [("inode", ctypes.c_uint64), ("device", ctypes.c_uint32), ("op", ctypes.c_uint32)]},
            ),
        ),
    ]


def test_an_overlay_lies_where_a_union_in_c_would_and_takes_no_room() -> None:
    key_in_c = UnionInC._fields_[1][1]
    assert Words.size == Words.struct.size == 8 + ctypes.sizeof(UnionInC)
    for inner in (Key.inode, Key.device, Key.op):
        assert Words.key[inner].offset == 8 + UnionInC.key.offset + getattr(key_in_c, inner.name).offset
        assert r6[Words.key[inner]] == Mem(r6, Words.key[inner].offset, inner.size)
    assert (Words.half[2].offset, Words.half[2].size) == (4 + 2, 1)
    assert (Words.pair[1].offset, Words.key[Key.op].name) == (16, "key.op")


def test_an_overlay_is_neither_packed_nor_unpacked() -> None:
    raw = bytes(range(Words.size))
    assert list(Words.unpack(raw)) == ["owner", "call", "first", "second"]
    assert Words.pack(**Words.unpack(raw)) == raw
    with pytest.raises(LayoutError, match=r"Words has no field key"):
        Words.pack(key={"inode": 1})
    assert Words.key.index == Words.key[Key.op].index == Words.pair[1].index == -1


def test_an_overlay_of_a_nested_record_is_found_in_it() -> None:
    class Outer(Layout):
        before = field(U64)
        words = field(Words)

    inner = Outer.words[Words.key]
    assert (inner.offset, inner.name, inner.index) == (16, "words.key", -1)
    assert Outer.words[Words.key][Key.op].offset == Outer.words.offset + Words.key[Key.op].offset == 8 + 8 + 12


def test_an_overlay_must_lie_within_its_record() -> None:
    elsewhere = field(U64)
    with pytest.raises(LayoutError, match=r"X\.over lies over a field that is not one of X's own"):
        type("X", (Layout,), {"word": field(U64), "over": overlay(U64, elsewhere)})
    low, high, narrow = field(U32), field(U32), field(U64)
    with pytest.raises(LayoutError, match=r"X\.over would lie at offset 4, which is not a multiple of 8"):
        type("X", (Layout,), {"low": low, "high": high, "over": overlay(U64, high)})
    with pytest.raises(LayoutError, match=r"X\.over would end 8 bytes behind the record"):
        type("X", (Layout,), {"word": narrow, "over": overlay(U64, narrow, 2)})
    with pytest.raises(LayoutError, match=r"X\.overlays: the name is taken by Layout itself"):
        type("X", (Layout,), {"overlays": field(U64)})


def test_nested_records_are_dicts() -> None:
    values: Dict[str, Any] = {
        "owner": 1,
        "key": {"inode": 2, "op": 3},
        "args": (4, 5, 6),
        "keys": ({"inode": 7}, {"device": 8}),
        "name": b"abc",
    }
    record = Record.unpack(Record.pack(**values))
    assert record["key"] == {"inode": 2, "device": 0, "op": 3}
    assert record["keys"] == ({"inode": 7, "device": 0, "op": 0}, {"inode": 0, "device": 8, "op": 0})
    assert (record["args"], record["name"]) == ((4, 5, 6), b"abc\0\0\0\0\0")
    assert Record.pack() == bytes(Record.size)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nonsense": 1}, "Record has no field nonsense"),
        ({"owner": 1 << 32}, "Record: "),
        ({"owner": -1}, "Record: "),
        ({"args": (1, 2)}, "Record.args has 3 elements, not 2"),
        ({"name": b"123456789"}, "Record.name has 8 bytes, not 9"),
        ({"key": {"node": 1}}, "Key has no field node"),
    ],
)
def test_values_that_do_not_fit_are_refused(values: Dict[str, Any], message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        Record.pack(**values)


@pytest.mark.parametrize("size", [0, Record.size - 1, Record.size + 1])
def test_a_record_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(LayoutError, match=f"Record has 88 bytes, not {size}"):
        Record.unpack(bytes(size))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Record.owner[0], "owner is not an array"),
        (lambda: Record.args[3], "the array has 3 elements"),
        (lambda: Record.args[-1], "the array has 3 elements"),
        (lambda: Record.owner[Key.op], "not a record"),
        (lambda: Record.keys[Key.op], "choose an element"),
        (lambda: Record.key[Record.owner], "which has no field owner"),
        (lambda: field(U64, -1), "-1 elements"),
        (lambda: type("Empty", (Layout,), {}), "Empty has no fields"),
        (lambda: type("Taken", (Layout,), {"size": field(U64)}), "Taken.size"),
    ],
)
def test_mistakes_with_fields_are_refused(wrong: Any, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        wrong()


def test_the_message_names_the_field_that_needs_padding() -> None:
    missing: Optional[LayoutError] = None
    try:
        type("Totals", (Layout,), {"op": field(U32), "count": field(U64)})
    except LayoutError as error:
        missing = error
    assert "Totals.count would lie at offset 4" in str(missing)
