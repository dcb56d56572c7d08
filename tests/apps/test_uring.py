"""io_uring: every kind of request by raw system calls, with the answers of arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import needs

from .ring import trace_ring
from .rings import SCENARIOS
from .scenario import errors_of
from .traced import data_calls, histogram, made, trace

pytestmark = needs.root


ways_in = pytest.mark.parametrize("attach", ["raw", "perf"])


@ways_in
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(place: Path, name: str, attach: str) -> None:
    scenario = SCENARIOS[name]
    found = trace(place, scenario.text, ["--attach", attach])
    if found.lacks is not None:
        needs.impossible(f"this kernel lacks {found.lacks}")
    assert not list(scenario.differences(found))
    assert errors_of(found, "uring_") == scenario.unattributed
    assert found.document["coverage"]["io_uring"] == "full"


def test_vectors_with_registered_buffers(place: Path) -> None:
    found = trace_ring(
        place,
        """
        fd = create("data", 4096)
        ring, at = Ring(), memory(65536)
        ring.register(REGISTER_BUFFERS, iovec((at, 65536)), 1)
        first = ring.one(WRITEV_FIXED, fd, iovec((at, 10), (at + 20, 30)), 2, 0)
        say([first, ring.one(READV_FIXED, fd, iovec((at, 10), (at + 20, 30)), 2, 0)])
        """,
    )
    if found.said != [40, 40]:
        needs.impossible("this kernel has no vectors with registered buffers (6.15)")
    assert data_calls(found["data"]) == {"uring_writev": made(1, 40, {32: 1}), "uring_readv": made(1, 40, {32: 1})}


@ways_in
def test_short_transfers_and_errors(place: Path, attach: str) -> None:
    found = trace_ring(
        place,
        """
        fd = create("data", 1000)
        poor = os.open("data", os.O_WRONLY)
        ring, at = Ring(), memory(65536)
        assert ring.one(READ, fd, at, 4096, 0) == 1000
        assert ring.one(READ, fd, at, 4096, 1000) == 0
        assert ring.one(READ, poor, at, 8, 0) == -errno.EBADF
        assert ring.one(READ, fd, 1, 16, 0) == -errno.EFAULT
        assert ring.one(READV, fd, iovec(*[(at, 1)] * 1200), 1200, 0) == -errno.EINVAL
        assert ring.one(WRITE, fd, at, 32, 0, ioprio=0xffff) == -errno.EINVAL
        assert ring.one(WRITE, fd, at, 64, 0, flags=128) == -errno.EINVAL
        assert ring.one(READ, 999, at, 8, 0) == -errno.EBADF
        assert ring.one(READ, 0, at, 8, 0, flags=FIXED_FILE) == -errno.EBADF
        assert ring.one(FSYNC, 999) == -errno.EBADF
        """,
        ["--attach", attach],
    )
    assert data_calls(found["data"]) == {
        "uring_read": made(4, 1000, {4096: 2, 8: 1, 16: 1}, {512: 1, 0: 1}, {"EBADF": 1, "EFAULT": 1}),
        "uring_readv": made(1, 0, {1024: 1}, {}, {"EINVAL": 1}),
        "uring_write": made(2, 0, {32: 1, 64: 1}, {}, {"EINVAL": 2}),
    }
    assert found.document["unattributed"]["uring_read"] == {"EBADF": 2}
    assert found.document["unattributed"]["uring_fsync"] == {"EBADF": 1}
    assert histogram(found["data"], "sequential_read") == {512: 1}


def test_a_file_that_a_chain_opens(place: Path) -> None:
    """The file is not there yet when the read that follows is taken from the ring."""
    found = trace_ring(
        place,
        """
        OPENAT = 18
        os.close(create("data", 5000))
        ring, at = Ring(), memory(65536)
        ring.register_files(-1, -1)
        name = ctypes.create_string_buffer(b"data")
        ring.add(OPENAT, -100, ctypes.addressof(name), 0, 0, second=1, flags=LINK, data=1)
        ring.add(READ, 0, at, 4096, 1000, flags=FIXED_FILE, data=2)
        ring.submit(2)
        assert ring.all(2) == {1: 0, 2: 4000}
        """,
    )
    assert data_calls(found["data"]) == {"uring_read": made(1, 4000, {4096: 1}, {2048: 1})}


def test_descriptors_closed_while_requests_are_under_way(place: Path) -> None:
    file = trace_ring(
        place,
        """
        ring, at = Ring(), memory(65536)
        for turn in range(20):
            fd = create("data", 1 << 16, RW | os.O_DIRECT)
            for i in range(16):
                ring.add(WRITE, fd, at, 4096, 4096 * i, data=i)
            ring.submit()
            os.close(fd)
            assert ring.all(16) == dict.fromkeys(range(16), 4096)
        """,
    )["data"]
    assert data_calls(file) == {"uring_write": made(320, 320 * 4096, {4096: 320})}


def test_what_is_no_regular_file_is_not_counted(place: Path) -> None:
    found = trace_ring(
        place,
        """
        ring, at = Ring(), memory(65536)
        end, other = os.pipe()
        assert ring.one(WRITE, other, at, 100, 0) == 100
        assert ring.one(READ, end, at, 100, 0) == 100
        """,
    )
    assert not [file["path"] for file in found.document["files"] if any("uring" in key for key in file["syscalls"])]


def test_requests_that_end_with_their_process(place: Path) -> None:
    found = trace_ring(
        place,
        """
        fd = create("data", 4096)
        ring, at = Ring(), memory(4096)
        end, other = os.pipe()
        ring.add(READ, end, at, 1, 0, flags=LINK)
        ring.add(READ, fd, at, 4096, 0)
        assert ring.submit() == 2
        """,
    )
    assert data_calls(found["data"]) == {"uring_read": made(1, 0, {4096: 1}, {}, {"ECANCELED": 1})}
    assert found.document["coverage"]["io_uring"] == "full"


def test_requests_that_outlive_the_tracing(place: Path) -> None:
    """They are told of, not counted."""
    found = trace_ring(
        place,
        """
        fd = create("data", 4096)
        ring, at = Ring(), memory(4096)
        end, other = os.pipe()
        ring.add(READ, end, at, 1, 0, flags=LINK)
        for _ in range(3):
            ring.add(READ, fd, at, 4096, 0, flags=LINK)
        ring.submit()
        time.sleep(2)
        """,
        ["--duration", "1"],
    )
    assert data_calls(found["data"]) == {}
    assert found.document["coverage"]["io_uring"] == "partial: 3 requests were not seen to complete"
