"""Finding members among bytes: what counts as found, and what is too little or too much."""

from __future__ import annotations

import struct
from typing import Dict, List, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybpf.calibration.peek import Peek
from pybpf.calibration.search import Block, CalibrationError, Search, apart, is_pointer, places, pointers

HEAP = 0xFFFF888000000000


class Memory:
    """A kernel's memory, as `peek` shows it."""

    def __init__(self, objects: Dict[int, bytes]) -> None:
        self.objects = objects

    def read(self, address: int, size: int) -> bytes:
        return self.objects.get(address, b"")[:size]


def search(objects: Dict[int, bytes]) -> Search:
    return Search(cast(Peek, Memory(objects)))


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


@given(st.lists(st.integers(0, 2**16 - 1), min_size=2, max_size=6, unique=True), st.integers(0, 30))
def test_values_are_found_where_all_have_them(values: List[int], position: int) -> None:
    """A lone field among bytes that cannot be one is found, at aligned offsets alone."""
    blocks = [Block(0, b"\xff" * 2 * position + value.to_bytes(2, "little") + b"\xff" * 4) for value in values]
    assert 2 * position in places(zip(blocks, values), 2)
    shifted = [Block(0, b"\xfe" + block.data) for block in blocks]
    assert 2 * position + 1 not in places(zip(shifted, values), 2)


def test_a_coincidence_in_one_object_does_not_matter() -> None:
    blocks = [Block(0, words(7, 7, 1)), Block(0, words(9, 8, 9))]
    assert places([(blocks[0], 7)], 8) == {0, 8}
    assert places(zip(blocks, (7, 9)), 8) == {0}
    assert places(zip(blocks, (1, 8)), 8) == set()


def test_none_and_several_are_errors_that_name_the_member() -> None:
    empty = search({})
    with pytest.raises(CalibrationError, match=r"file\.f_pos: it is nowhere"):
        empty.found("file.f_pos", [])
    with pytest.raises(CalibrationError, match=r"file\.f_pos: it may be at any of the offsets 8, 64") as caught:
        empty.found("file.f_pos", [64, 8, 64])
    assert caught.value.member == "file.f_pos"
    assert empty.members == {}
    assert empty.found("file.f_pos", {24}) == 24
    assert empty.members == {"file.f_pos": 24}


def test_pointers_are_addresses_of_the_kernel() -> None:
    assert is_pointer(HEAP) and is_pointer(0xFF11000000000000)
    assert not is_pointer(0) and not is_pointer(0x7FFFFFFFFFFF)
    assert not is_pointer((1 << 64) - 22)  # ERR_PTR(-EINVAL)
    first, second = Block(0, words(HEAP, 1, HEAP)), Block(0, words(HEAP + 8, HEAP, HEAP)[:-1])
    assert pointers([first, second]) == [0]


def test_through_a_pointer() -> None:
    """The one pointer that leads to what passes; its neighbours lead to something else, or nowhere."""
    objects = {HEAP + 0x100: words(5, 1), HEAP + 0x200: words(6, 2), HEAP + 0x300: words(9, 9)}
    looking = search(objects)
    blocks = [Block(0, words(HEAP + 0x300, HEAP + 0x100, HEAP)), Block(0, words(HEAP + 0x300, HEAP + 0x200, HEAP))]
    assert looking.through("a.b", blocks, 16, lambda targets: places(zip(targets, (1, 2)), 8)) == 8
    assert looking.through("a.c", blocks, 16, lambda _targets: True, among=lambda pair: pair[0] == HEAP) == 16
    with pytest.raises(CalibrationError, match=r"a\.d: it may be"):
        looking.through("a.d", blocks, 16, lambda _targets: True)


def test_objects_end_where_the_next_one_may_begin() -> None:
    """What looks like a second place is the same member of a neighbour."""
    assert apart([0x300, 0x100, 0x180, 0x100]) == 0x80
    assert apart([5]) > 1 << 20
    row = words(1, 0) + words(1, 0) + words(3, 0)
    looking = search({HEAP: row, HEAP + 16: row[16:]})
    assert [len(block.data) for block in looking.objects([HEAP, HEAP + 16, HEAP], 48)] == [16, 16, 16]
