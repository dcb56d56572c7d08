"""The catalogue of system calls, against the numbers in the kernel's own headers."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Dict, List

import pytest

from programs.facts import catalogue
from programs.facts.catalogue import (
    BY_CODE,
    BY_NAME,
    NUMBERS,
    OPERATIONS,
    READ,
    SYSTEM_CALLS,
    WITHOUT_DATA,
    WITHOUT_ENTRY,
    WRITE,
    Beside,
    Flags,
    Kind,
    Position,
    Route,
    runs,
)
from programs.facts.maps import SYSCALL_ROWS
from tests import needs

_DEFINE = re.compile(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)\b", re.MULTILINE)


def header(*candidates: str) -> Dict[str, int]:
    """The numbers that the first of these headers defines; skips where none is installed."""
    for path in map(Path, candidates):
        if path.exists():
            return {name: int(number) for name, number in _DEFINE.findall(path.read_text())}
    return needs.missing(f"{candidates[0]} (linux-libc-dev)")


@pytest.mark.parametrize(
    ("machine", "candidates"),
    [
        ("x86_64", ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"]),
        ("aarch64", ["/usr/include/asm-generic/unistd.h"]),
    ],
)
def test_numbers_are_those_of_the_header(machine: str, candidates: List[str]) -> None:
    numbers = header(*candidates)
    assert {name: numbers.get(name) for name in NUMBERS[machine]} == NUMBERS[machine]


def test_every_call_has_a_number_on_x86_64_and_no_old_ones_on_aarch64() -> None:
    every = [*SYSTEM_CALLS, *WITHOUT_ENTRY]
    names = {call.name for call in every}
    assert len(names) == len(every)
    assert set(NUMBERS["x86_64"]) == names
    assert set(NUMBERS["aarch64"]) == names - {"open", "creat", "rename", "unlink"}
    for numbers in NUMBERS.values():
        assert len(set(numbers.values())) == len(numbers) and max(numbers.values()) < SYSCALL_ROWS


KEYS = {
    READ: """
        read readv pread64 preadv preadv2 sendfile_read copy_file_range_read splice_read aio_pread aio_preadv
        uring_read uring_readv uring_read_fixed uring_splice_read
        """,
    WRITE: """
        write writev pwrite64 pwritev pwritev2 sendfile_write copy_file_range_write splice_write aio_pwrite aio_pwritev
        uring_write uring_writev uring_write_fixed uring_splice_write
        """,
    None: """
        fsync fdatasync sync_file_range aio_fsync aio_fdsync uring_fsync uring_sync_file_range open close
        """,
}
"""The keys of the output: a contract, so none may go or change its meaning."""


def test_operations_are_the_keys_of_the_output() -> None:
    found = {name: operation.direction for name, operation in BY_NAME.items()}
    assert found == {name: direction for direction, names in KEYS.items() for name in names.split()}


def test_what_makes_data_durable() -> None:
    """sync_file_range(2) warns that it writes neither metadata nor the disk's cache, so nothing is safe after it."""
    syncs = {operation.name for operation in OPERATIONS if operation.syncs}
    assert syncs == {name for name in KEYS[None].split() if "sync" in name}
    promises = {operation.name for operation in OPERATIONS if operation.covers}
    assert promises == {"fsync", "fdatasync", "aio_fsync", "aio_fdsync", "uring_fsync"}
    assert set(KEYS[None].split()) == WITHOUT_DATA


def test_codes_tell_directions_apart_by_order() -> None:
    """The programs compare a code with the last read: reads first, then writes, then the rest; 0 is none."""
    assert sorted(BY_CODE) == list(range(1, len(OPERATIONS) + 1))
    order = [BY_CODE[code].direction for code in sorted(BY_CODE)]
    assert order == sorted(order, key=[READ, WRITE, None].index)
    assert max(BY_CODE) < 256


def test_each_side_of_a_copy_goes_its_way() -> None:
    for call in SYSTEM_CALLS:
        if call.kind in (Kind.COPY, Kind.SENDFILE):
            assert [BY_NAME[name].direction for name in call.operations] == [READ, WRITE]


def test_the_arguments_that_are_read_exist() -> None:
    """What the programs read for a kind of call lies within the arguments that the tracepoint shows."""
    needed = {
        Kind.SCALAR: 3,
        Kind.VECTOR: 3,
        Kind.SYNC: 1,
        Kind.CLOSE: 1,
        Kind.OPEN: 0,
        Kind.MMAP: 5,
        Kind.SENDFILE: 4,
        Kind.COPY: 5,
        Kind.NAMESPACE: 0,
        Kind.NAMES: 0,
        Kind.RING: 0,
        Kind.BESIDE: 0,
        Kind.AIO_SETUP: 2,
        Kind.AIO_DESTROY: 1,
        Kind.AIO_SUBMIT: 3,
        Kind.AIO_REAP: 4,
        Kind.AIO_EXIT: 0,
    }
    extra = {Position.CURRENT: 0, Position.EXPLICIT: 4, Position.MINUS_ONE: 6}
    flags = {Flags.NOWHERE: 2, Flags.SECOND: 2, Flags.THIRD: 3, Flags.CREAT: 1, Flags.HANDLE: 0}
    beside = {**dict.fromkeys(Beside, 0), Beside.MSYNC: 3, Beside.CLONE: 2}
    for call in SYSTEM_CALLS:
        if call.kind is Kind.BESIDE:
            more = beside[Beside(call.position)]
        else:
            more = flags[Flags(call.position)] if call.kind is Kind.OPEN else extra[Position(call.position)]
        assert call.arity >= max(needed[call.kind], more), call.name


def test_kinds_go_the_way_of_their_descriptors() -> None:
    """read(2) and its kin take the descriptor first; open(2) has none yet; mmap(2) and close(2) need a closer look."""
    ways = {kind.name: kind.route for kind in Kind}
    assert {name for name, route in ways.items() if route is Route.RESOLVE} == {"SCALAR", "VECTOR", "SYNC"}
    assert {name for name, route in ways.items() if route is Route.HAND_ON} == {"CLOSE", "MMAP", "SENDFILE", "COPY"}
    assert {name for name, route in ways.items() if route is Route.AIO} == {"AIO_SUBMIT", "AIO_DESTROY", "AIO_EXIT"}


def test_runs_are_all_kinds_in_their_order() -> None:
    flat = [number for first, last in runs() for number in range(first, last + 1)]
    assert flat == sorted(Kind)
    assert all(Kind(number).route is first.route for first, last in runs() for number in range(first, last + 1))
    ways = [first.route for first, _ in runs()]
    assert all(one is not other for one, other in zip(ways, ways[1:]))


def test_a_kind_without_a_route_is_an_error() -> None:
    with pytest.raises(TypeError, match="kind 19 has no route"):
        exec(inspect.getsource(Kind) + "    STATX = 21\n", dict(vars(catalogue)))
