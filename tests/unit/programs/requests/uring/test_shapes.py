"""The kinds of requests against the kernel's own list of them, and what a kernel that shows less is good for."""

from __future__ import annotations

from dataclasses import replace
from typing import Set

import pytest

from programs.facts.catalogue import READ, WRITE
from programs.facts.records import SYNC
from programs.requests.uring.shapes import OPCODES, Shape, known
from tests.unit.programs.forms import URING

# enum io_uring_op, include/uapi/linux/io_uring.h of 6.15, from IORING_OP_NOP on.
KERNEL_ORDER = """
nop readv writev fsync read_fixed write_fixed poll_add poll_remove sync_file_range sendmsg recvmsg timeout
timeout_remove accept async_cancel link_timeout connect fallocate openat close files_update statx read write fadvise
madvise send recv openat2 epoll_ctl splice provide_buffers remove_buffers tee shutdown renameat unlinkat mkdirat
symlinkat linkat msg_ring fsetxattr setxattr fgetxattr getxattr socket uring_cmd send_zc sendmsg_zc read_multishot
waitid futex_wait futex_wake futex_waitv fixed_fd_install ftruncate bind listen recv_zc epoll_wait readv_fixed
writev_fixed
"""
IORING_OP = KERNEL_ORDER.split()
COUNTED_AS = {
    "readv": "uring_readv",
    "writev": "uring_writev",
    "fsync": "uring_fsync",
    "read_fixed": "uring_read_fixed",
    "write_fixed": "uring_write_fixed",
    "sync_file_range": "uring_sync_file_range",
    "openat": "open",
    "close": "close",
    "read": "uring_read",
    "write": "uring_write",
    "openat2": "open",
    "splice": "uring_splice_write",
    "read_multishot": "uring_read",
    "readv_fixed": "uring_readv",
    "writev_fixed": "uring_writev",
}


def test_each_kind_has_the_number_that_the_kernel_gives_it() -> None:
    assert {IORING_OP[number]: kind.operation for number, kind in OPCODES.items()} == COUNTED_AS


def test_a_kind_moves_data_the_way_its_name_says() -> None:
    for kind in OPCODES.values():
        moves = READ if "read" in kind.operation else WRITE if "write" in kind.operation else SYNC
        assert kind.direction == moves, kind.operation


@pytest.mark.parametrize(
    ("lacks", "gone"),
    [
        ("splice.source", {Shape.SPLICE}),
        ("splice.target_offset", {Shape.SPLICE}),
        ("open.slot", {Shape.OPEN}),
        ("close.fd", {Shape.CLOSE}),
        ("close.slot", {Shape.CLOSE}),
        ("node.file", set()),
    ],
)
def test_a_kernel_that_lacks_a_member_shows_all_that_does_not_need_it(lacks: str, gone: Set[Shape]) -> None:
    shown = replace(URING, offsets={name: offset for name, offset in URING.offsets.items() if name != lacks})
    assert {kind.shape for kind in known(shown).values()} == set(Shape) - gone
    assert [number for number, kind in OPCODES.items() if kind.shape not in gone] == list(known(shown))
