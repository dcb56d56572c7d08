"""io_uring: what goes wrong with splices, opens and closes; provided buffers; and the rarer kinds of requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import needs

from .ring import trace_ring
from .traced import data_calls, histogram, made

pytestmark = needs.root


# --- splices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attach", ["raw", "perf"])
def test_splices_that_fail_or_fall_short(place: Path, attach: str) -> None:
    """A failed one counts on each side that is a regular file, or on none where a descriptor was unknown."""
    found = trace_ring(
        place,
        """
        source, target, log = create("source", 1000), create("target"), create("log", 0, RW | os.O_APPEND)
        ring, (out, into) = Ring(), os.pipe()
        assert ring.splice(source, into, 4096, 200) == 800
        assert ring.splice(out, target, 4096, HERE, 0) == 800
        assert ring.splice(source, into, 4096, 1000) == 0
        assert ring.splice(source, target, 16) == -errno.EINVAL             # neither is a pipe
        assert ring.splice(source, 999, 32) == -errno.EBADF
        assert ring.splice(999, target, 64) == -errno.EBADF
        assert ring.splice(source, into, 128, 0, 5) == -errno.ESPIPE        # an offset for a pipe
        assert ring.splice(5, into, 1, splice_flags=FD_IN_FIXED) == -errno.EBADF
        assert ring.splice(source, into, 256, splice_flags=64) == -errno.EINVAL     # refused when it is taken
        os.write(into, bytes(8))
        assert ring.splice(out, log, 8) == -errno.EINVAL                    # cannot append
        """,
        ["--attach", attach],
    )
    assert data_calls(found["source"]) == {
        "uring_splice_read": made(
            6, 800, {4096: 2, 16: 1, 32: 1, 128: 1, 256: 1}, {512: 1, 0: 1}, {"EINVAL": 2, "EBADF": 1, "ESPIPE": 1}
        ),
    }
    assert data_calls(found["target"])["uring_splice_write"] == made(
        3, 800, {4096: 1, 16: 1, 64: 1}, {512: 1}, {"EINVAL": 1, "EBADF": 1}
    )
    assert data_calls(found["log"]) == {"uring_splice_write": made(1, 0, {8: 1}, {}, {"EINVAL": 1})}
    assert found.document["unattributed"]["uring_splice_read"] == {"EBADF": 2}
    assert found.document["unattributed"]["uring_splice_write"] == {"EBADF": 1}
    assert histogram(found["source"], "sequential_read") == {512: 1}


def test_splices_that_are_not_posted(place: Path) -> None:
    """IOSQE_CQE_SKIP_SUCCESS: the request after it, which is no transfer, is not taken for its completion."""
    found = trace_ring(
        place,
        """
        source, target = create("source", 100000), create("target")
        ring, (out, into) = Ring(), os.pipe()
        for i in range(20):
            ring.add_splice(source, into, 512, 512 * i, flags=CQE_SKIP | LINK)
            ring.add_splice(out, target, 512, HERE, 512 * i, flags=CQE_SKIP | LINK)
            assert ring.one(NOP, -1) == 0
        """,
    )
    assert data_calls(found["source"]) == {"uring_splice_read": made(20, 10240, {512: 20})}
    assert data_calls(found["target"]) == {"uring_splice_write": made(20, 10240, {512: 20})}
    assert histogram(found["target"], "sequential_write") == {8192: 1}
    assert found.document["coverage"]["io_uring"] == "full"


def test_splices_whose_files_a_chain_opens(place: Path) -> None:
    found = trace_ring(
        place,
        """
        os.close(create("source", 5000))
        os.close(create("target"))
        ring, (out, into) = Ring(), os.pipe()
        ring.register_files(-1, -1)
        ring.add_open("source", slot=1, flags=LINK, data=1)
        ring.add_splice(0, into, 4000, 1000, flags=LINK, data=2, splice_flags=FD_IN_FIXED)
        ring.add_open("target", os.O_WRONLY, slot=2, flags=LINK, data=3)
        ring.add_splice(out, 1, 4000, flags=FIXED_FILE, data=4)
        ring.submit(4)
        assert ring.all(4) == {1: 0, 2: 4000, 3: 0, 4: 4000}
        """,
    )
    assert data_calls(found["source"]) == {"uring_splice_read": made(1, 4000, {2048: 1})}
    assert data_calls(found["target"]) == {"uring_splice_write": made(1, 4000, {2048: 1})}


# --- opens and closes -------------------------------------------------------------------------------------------------


def test_opens_and_closes_that_fail_or_make_a_file(place: Path) -> None:
    found = trace_ring(
        place,
        """
        create("data")
        ring = Ring()
        ring.register_files(-1, -1)
        assert ring.open("missing") == -errno.ENOENT
        assert ring.open("other/missing", slot=1) == -errno.ENOENT
        assert ring.close(999) == -errno.EBADF
        assert ring.close(0, slot=1) == -errno.EBADF
        how = ctypes.create_string_buffer(struct.pack("<QQQ", os.O_WRONLY | os.O_CREAT, 0o600, 0))
        fd = ring.one(OPENAT2, AT_FDCWD, path("new"), 24, ctypes.addressof(how))
        assert fd > 0
        assert ring.one(CLOSE, fd, 0, 0, 1) == -errno.EINVAL        # refused when it is taken
        assert ring.close(fd) == 0
        """,
    )
    new = found["new"]
    assert (new["opens"], new["closes"], new["syscalls"]["close"]["errors"]) == (1, 1, {"EINVAL": 1})
    assert found.document["unattributed"]["open"]["ENOENT"] >= 2
    assert found.document["unattributed"]["close"] == {"EBADF": 2}


def test_a_file_closed_while_another_descriptor_keeps_it(place: Path) -> None:
    file = trace_ring(
        place,
        """
        fd = create("data", 5000)
        kept = os.dup(fd)
        ring, at = Ring(), memory(65536)
        assert ring.one(READ, fd, at, 1000, HERE) == 1000
        assert ring.close(fd) == 0
        assert ring.one(READ, kept, at, 1000, HERE) == 1000
        assert ring.close(kept) == 0
        """,
    )["data"]
    assert (file["opens"], file["closes"]) == (1, 2)
    assert histogram(file, "sequential_read") == {1024: 1}


def test_a_file_unlinked_and_closed_by_requests(place: Path) -> None:
    file = trace_ring(
        place,
        """
        UNLINKAT = 36
        fd = create("data")
        ring = Ring()
        assert ring.one(UNLINKAT, AT_FDCWD, path("data")) == 0
        assert ring.close(fd) == 0
        """,
    )["data"]
    assert (file["opens"], file["closes"], file["deleted"]) == (1, 1, True)


def test_requests_on_a_place_that_a_chain_fills_anew(place: Path) -> None:
    """The file that was there when the request was taken is not the one that it reads."""
    found = trace_ring(
        place,
        """
        old, new = create("old", 5000), create("new", 5000)
        ring, at = Ring(), memory(65536)
        ring.register_files(old)
        ring.add_open("new", slot=1, flags=LINK, data=1)
        ring.add(READ, 0, at, 1000, 500, flags=FIXED_FILE | LINK, data=2)
        ring.add(READ, 0, at, 1000, 1500, flags=FIXED_FILE, data=3)
        ring.submit(3)
        assert ring.all(3) == {1: 0, 2: 1000, 3: 1000}
        """,
    )
    assert data_calls(found["old"]) == {}
    assert data_calls(found["new"]) == {"uring_read": made(2, 2000, {512: 2})}
    assert histogram(found["old"], "sequential_read") == {}
    assert histogram(found["new"], "sequential_read") == {1024: 1}


# --- others -----------------------------------------------------------------------------------------------------------


def test_provided_buffers(place: Path) -> None:
    """A request may leave its size to the buffer that the kernel chooses."""
    file = trace_ring(
        place,
        """
        PROVIDE_BUFFERS = 31
        fd = create("data", 10000)
        ring, at = Ring(), memory(65536)
        # PROVIDE_BUFFERS: descriptor = how many, size = that of each, offset = the first one's number
        assert ring.one(PROVIDE_BUFFERS, 4, at, 1024, 0, buffer=7) == 0
        def select(op, address, size, offset):
            return ring.one(op, fd, address, size, offset, flags=BUFFER_SELECT, buffer=7)
        assert select(READ, 0, 300, 0) == 300
        assert select(READ, 0, 0, 300) == 1024
        assert select(READ, 0, 0, HERE) == 1024
        assert select(READV, iovec((at, 200)), 1, 1324) == 200
        assert select(READ, 0, 0, 0) == -errno.ENOBUFS
        assert select(READ, 0, 16, 0) == -errno.ENOBUFS
        """,
    )["data"]
    read, readv = (data_calls(file)[key] for key in ("uring_read", "uring_readv"))
    assert read == made(5, 2348, {256: 1, 1024: 2, 0: 1, 16: 1}, {256: 1, 1024: 2}, {"ENOBUFS": 2})
    assert readv == made(1, 200, {128: 1})
    # 0 to 1323, then 1,024 at the position, which is 0; and 200 elsewhere.
    assert histogram(file, "sequential_read") == {1024: 2, 128: 1}


def test_the_rarer_kinds(place: Path) -> None:
    """SYNC_FILE_RANGE promises nothing; READ_MULTISHOT is not for regular files."""
    found = trace_ring(
        place,
        """
        SYNC_FILE_RANGE, READ_MULTISHOT = 8, 49
        fd = create("data")
        ring, at = Ring(), memory(65536)
        assert ring.one(WRITE, fd, at, 4096, 0) == 4096
        assert ring.one(SYNC_FILE_RANGE, fd, 0, 4096, 0, rw_flags=2) == 0
        assert ring.one(SYNC_FILE_RANGE, fd, 0, 4096, 0, rw_flags=1 << 20) == -errno.EINVAL
        assert ring.one(FSYNC, fd) == 0
        say(ring.one(READ_MULTISHOT, fd, 0, 0, HERE, flags=BUFFER_SELECT))
        """,
    )
    file = found["data"]
    ranges = file["syscalls"]["uring_sync_file_range"]
    assert (ranges["calls"], ranges["errors"], sum(ranges["latency_ns"].values())) == (2, {"EINVAL": 1}, 1)
    assert "bytes" not in ranges
    assert histogram(file, "bytes_between_syncs") == {4096: 1}
    errors = {-77: "EBADFD", -22: "EINVAL"}  # 6.7 and later; before
    assert data_calls(file)["uring_read"] == made(1, 0, {0: 1}, {}, {errors[found.said]: 1})


# --- where nothing is shown -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rings", "told"), [(0, "no rings"), (1, "1 ring"), (3, "3 rings")])
def test_a_kernel_that_does_not_show_requests(
    place: Path, rings: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missed is told by the number of rings; those that could not be made do not count."""
    monkeypatch.setenv("PRETEND_KERNEL", "4.14")
    found = trace_ring(
        place,
        f"""
        fd = create("data", 4096)
        for _ in range({rings}):
            assert Ring().one(READ, fd, memory(4096), 4096, 0) == 4096
        refused(errno.EINVAL, Ring, 0)
        """,
    )
    covered = found.document["coverage"]["io_uring"]
    assert covered.startswith("none: this kernel ") and covered.endswith(f"; {told} made")
    assert data_calls(found["data"]) == {}
