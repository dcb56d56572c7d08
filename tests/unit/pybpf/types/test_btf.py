"""The BTF reader on blobs made by hand, and on hostile ones."""

from __future__ import annotations

import struct
from typing import List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybpf.types.btf import Btf, BtfError, Member, MissingMember

INT, PTR, ARRAY, STRUCT, UNION, FWD, TYPEDEF, CONST, FUNC, FUNC_PROTO, TYPE_TAG = 1, 2, 3, 4, 5, 7, 8, 10, 12, 13, 18


class Blob:
    """Collects types by the rules of Documentation/bpf/btf.rst, written down apart from the code under test."""

    def __init__(self) -> None:
        self.strings = b"\0"
        self.types: List[bytes] = []

    def name(self, text: str) -> int:
        if not text:
            return 0
        self.strings += text.encode() + b"\0"
        return len(self.strings) - len(text) - 1

    def add(self, kind: int, name: str = "", size: int = 0, vlen: int = 0, rest: bytes = b"", flag: int = 0) -> int:  # noqa: PLR0917
        self.types.append(struct.pack("<III", self.name(name), flag << 31 | kind << 24 | vlen, size) + rest)
        return len(self.types)

    def integer(self, name: str, size: int) -> int:
        return self.add(INT, name, size, rest=struct.pack("<I", size * 8))

    def struct(self, name: str, size: int, *members: Tuple[str, int, int], kind: int = STRUCT, flag: int = 0) -> int:
        rest = b"".join(struct.pack("<III", self.name(label), of, bits) for label, of, bits in members)
        return self.add(kind, name, size, len(members), rest, flag)

    def array(self, of: int, count: int) -> int:
        return self.add(ARRAY, rest=struct.pack("<III", of, of, count))

    def build(self) -> bytes:
        types = b"".join(self.types)
        header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(self.strings))
        return header + types + self.strings


def test_nested_anonymous_and_qualified() -> None:
    b = Blob()
    u32, u64 = b.integer("u32", 4), b.integer("u64", 8)
    words = b.array(u32, 5)
    union = b.struct("", 8, ("both", u64, 0), ("half", u32, 0), kind=UNION)
    anonymous = b.struct("", 16, ("", union, 0), ("after", u64, 64))
    const = b.add(CONST, size=anonymous)
    pointer = b.add(PTR, size=u64)
    named = b.struct("inner", 40, ("words", words, 0), ("where", pointer, 192), ("end", u64, 256))
    typedef = b.add(TYPEDEF, "inner_t", size=named)
    tag = b.add(TYPE_TAG, "user", size=typedef)
    b.struct("outer", 64, ("first", u64, 0), ("", const, 64), ("in", tag, 192))
    btf = Btf(b.build())
    assert btf.offsets(
        ["outer.first", "outer.both", "outer.half", "outer.after", "outer.in", "outer.in.words", "outer.in.where"]
    ) == {
        "outer.first": Member(0, 8),
        "outer.both": Member(8, 8),
        "outer.half": Member(8, 4),
        "outer.after": Member(16, 8),
        "outer.in": Member(24, 40),
        "outer.in.words": Member(24, 20),
        "outer.in.where": Member(48, 8),
    }
    assert btf.offsets(["inner_t.end"]) == {"inner_t.end": Member(32, 8)}
    with pytest.raises(MissingMember, match=r"outer\.in\.where\.x"):
        btf.offsets(["outer.in.where.x"])  # not through pointers


def test_bit_fields() -> None:
    b = Blob()
    u32 = b.integer("u32", 4)
    b.struct("flags", 8, ("a", u32, 3 << 24), ("b", u32, 5 << 24 | 3), ("c", u32, 1 << 24 | 33), ("d", u32, 0), flag=1)
    found = Btf(b.build()).offsets(["flags.a", "flags.b", "flags.c", "flags.d"])
    assert list(found.values()) == [Member(0, 4, 3, 0), Member(0, 4, 5, 3), Member(4, 4, 1, 1), Member(0, 4)]


def test_ids_names_that_are_tails_and_duplicates() -> None:
    b = Blob()
    u32 = b.integer("u32", 4)
    prototype = b.add(FUNC_PROTO, size=u32)
    longer = b.add(FUNC, "old_read", size=prototype)
    read = b.add(FUNC, "read", size=prototype)
    b.add(FUNC, "read", size=prototype)
    b.struct("read", 4, ("x", u32, 0))
    btf = Btf(b.build())
    assert btf.type_id("func", "read") == read
    assert btf.type_id("func", "old_read") == longer
    assert btf.type_id("struct", "read") == 6
    assert btf.functions(["read", "old_read", "none"]) == {"read": read, "old_read": longer}
    # A writer may share tails of strings: "read" inside "old_read".
    tail = struct.pack("<III", b.strings.index(b"_read\0") + 1, UNION << 24, 4)
    b.types.append(tail)
    assert Btf(b.build()).type_id("union", "read") == 7


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "too short"),
        (b"\x7fELF" + bytes(60), "not BTF"),
        (struct.pack("<HBBIIIII", 0x9FEB, 1, 0, 24, 0, 0, 0, 1) + b"\0", "not BTF of a little-endian"),
        (struct.pack("<HBBIIIII", 0xEB9F, 2, 0, 24, 0, 0, 0, 1) + b"\0", "version 2"),
        (struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 0, 0, 9) + b"\0", "cut off"),
        (struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 0xFFFFFFFF, 0, 1) + b"\0", "cut off"),
        (struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 0, 0, 1) + b"x", "does not end"),
        (
            struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 12, 12, 1) + struct.pack("<III", 0, 31 << 24, 0) + b"\0",
            "type 1",
        ),
        (
            struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 12, 12, 1) + struct.pack("<III", 0, 1 << 24, 0) + b"\0",
            "type 1",
        ),
    ],
)
def test_what_is_no_btf(blob: bytes, message: str) -> None:
    with pytest.raises(BtfError, match=message):
        Btf(blob)


def test_loops_end() -> None:
    b = Blob()
    b.add(TYPEDEF, "round", size=1)  # itself
    b.struct("holder", 8, ("x", 1, 0))
    b.struct("", 8, ("", 3, 0), ("", 3, 0))  # contains itself, twice
    b.struct("nested", 8, ("", 3, 0), ("", 3, 0))
    b.add(ARRAY, rest=struct.pack("<III", 5, 5, 0xFFFFFFFF))  # of itself
    b.struct("arrays", 8, ("x", 5, 0), ("y", 99, 0))
    btf = Btf(b.build())
    for path in ("round.x", "holder.x.y", "holder.x", "arrays.x", "arrays.y"):
        with pytest.raises(BtfError):
            btf.offsets([path])
    with pytest.raises(MissingMember):
        btf.offsets(["nested.x"])


def test_deep_nesting_is_refused() -> None:
    b = Blob()
    inner = b.integer("u32", 4)
    for _level in range(40):
        inner = b.struct("", 4, ("", inner, 0))
    b.struct("deep", 4, ("", inner, 0))
    with pytest.raises(BtfError, match="without end"):
        Btf(b.build()).offsets(["deep.x"])


def test_what_would_take_for_ever_is_refused() -> None:
    """One name in three million places, of no type and of many; structs without names that hold 60,000 others."""
    strings = b"\0" + b"x\0" * 3_000_000
    blob = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 16, 16, len(strings))
    with pytest.raises(BtfError, match="in reasonable time"):
        Btf(blob + struct.pack("<IIII", 0, 1 << 24, 4, 0) + strings).offsets(["x.y"])
    names = b"".join(struct.pack("<III", 1 + 2 * number, 2 << 24, 0) for number in range(400_000))  # a type for each
    blob = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(names), len(names), len(strings))
    with pytest.raises(BtfError, match="in reasonable time"):
        Btf(blob + names + strings).offsets(["x.y"])
    b = Blob()
    many = struct.pack("<III", b.name("a"), 1, 0) * 60_000
    holders = [b.add(STRUCT, "", 8, 60_000, many) for _ in range(40)]
    b.struct("wide", 8, *(("", holder, 0) for holder in holders))
    with pytest.raises(BtfError, match="in reasonable time"):
        Btf(b.build()).offsets(["wide.c"])


def everything(blob: bytes) -> None:
    """Ask a reader for all that it can tell; only the stated errors may come out."""
    try:
        btf = Btf(blob)
        for path in ("outer.a", "outer.b.a", "outer.c", "outer", "nothing.x"):
            try:
                btf.offsets([path])
            except MissingMember:
                continue
        btf.functions(["a", "outer"])
    except BtfError:
        pass


def valid() -> bytes:
    b = Blob()
    u32 = b.integer("u32", 4)
    inner = b.struct("", 8, ("a", u32, 0), ("b", u32, 32))
    typedef = b.add(TYPEDEF, "c", size=inner)
    b.struct("outer", 16, ("a", u32, 0), ("b", typedef, 32), ("", inner, 64), ("c", b.array(u32, 3), 96))
    b.add(FUNC, "a", size=b.add(FUNC_PROTO, size=u32))
    return b.build()


@given(st.binary(max_size=200))
def test_arbitrary_bytes(data: bytes) -> None:
    everything(data)
    everything(struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(data), len(data), 9) + data + b"\0outer\0a\0")


@given(
    st.lists(st.tuples(st.integers(0, len(valid()) - 1), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, 20),
)
def test_changed_bytes(changes: List[Tuple[int, int]], cut: int) -> None:
    blob = bytearray(valid())
    for position, value in changes:
        blob[position] = value
    everything(bytes(blob[: len(blob) - cut]))


def test_the_constants_of_an_enum() -> None:
    b = Blob()
    numbers = b"".join(struct.pack("<II", b.name(name), value) for name, value in (("first_id", 0), ("second_id", 7)))
    b.add(6, "ids", 4, 2, numbers)  # BTF_KIND_ENUM
    btf = Btf(b.build())
    assert btf.enumerators("ids") == {"first_id": 0, "second_id": 7}
    with pytest.raises(MissingMember):
        btf.enumerators("others")
