"""Workloads whose answer is arithmetic: sizes, times and errors, by what the script did."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests import needs

from .strace import bucket
from .traced import data_calls, histogram, made, trace

pytestmark = needs.root


# --- sizes, calls, bytes ----------------------------------------------------------------------------------------------


def test_twenty_three_reads(place: Path) -> None:
    file = trace(
        place,
        """
        fd = create("data", 23 * 4096)
        for block in range(23):
            assert len(os.pread(fd, 4096, block * 4096)) == 4096
        os.close(fd)
        """,
    )["data"]
    assert data_calls(file) == {"pread64": made(23, 94208, {4096: 23})}
    assert (file["bytes_read"], file["bytes_written"], file["opens"], file["closes"]) == (94208, 0, 1, 1)
    assert (file["lowest_offset"], file["highest_offset"]) == (0, 94207)


def test_short_reads_at_the_end_of_the_file(place: Path) -> None:
    file = trace(
        place,
        """
        fd = create("data", 1000)
        assert [len(os.read(fd, 4096)) for _ in range(3)] == [1000, 0, 0]
        assert len(os.pread(fd, 4096, 999)) == 1
        """,
    )["data"]
    assert data_calls(file) == {
        "read": made(3, 1000, {4096: 3}, {512: 1, 0: 2}),
        "pread64": made(1, 1, {4096: 1}, {1: 1}),
    }


def test_zero_byte_calls(place: Path) -> None:
    file = trace(
        place,
        """
        fd = create("data", 100)
        os.write(fd, b"")
        os.pwrite(fd, b"", 50)
        os.read(fd, 0)
        assert libc.readv(fd, None, 0) == 0
        assert libc.writev(fd, None, 0) == 0
        """,
    )["data"]
    assert data_calls(file) == {key: made(1, 0, {0: 1}) for key in ("write", "pwrite64", "read", "readv", "writev")}
    assert (file["lowest_offset"], file["highest_offset"]) == (None, None)
    assert histogram(file, "sequential_read") == histogram(file, "sequential_write") == {}


@pytest.mark.parametrize("entries", [1, 2, 17, 1024])
def test_vectors(place: Path, entries: int) -> None:
    """Through libc by name, because os.preadv takes whatever system call it likes."""
    file = trace(
        place,
        f"""
        fd = create("data")
        class Entry(ctypes.Structure):
            _fields_ = [("base", P), ("length", ctypes.c_size_t)]
        buffer = ctypes.create_string_buffer(100)
        vector = (Entry * {entries})(*[(ctypes.addressof(buffer), 3 + n % 5) for n in range({entries})])
        size = sum(3 + n % 5 for n in range({entries}))
        for name in ("preadv", "pwritev", "preadv2", "pwritev2"):
            getattr(libc, name).argtypes = [ctypes.c_int, P, ctypes.c_int, L] + [ctypes.c_int] * name.endswith("2")
        assert libc.writev(fd, vector, {entries}) == size
        assert libc.pwritev(fd, vector, {entries}, 1000) == size
        assert libc.pwritev2(fd, vector, {entries}, 2000, 2) == size
        os.lseek(fd, 0, 0)
        assert libc.readv(fd, vector, {entries}) == size
        assert libc.preadv(fd, vector, {entries}, 1000) == size
        assert libc.preadv2(fd, vector, {entries}, 2000, 0) == size
        """,
    )["data"]
    size = sum(3 + n % 5 for n in range(entries))
    bucket = 1 << (size.bit_length() - 1)
    calls = data_calls(file)
    assert calls.pop("pwritev2") == made(1, size, {bucket: 1})
    # glibc's preadv2 without flags is preadv.
    assert calls.pop("preadv")[:2] in ((1, size), (2, 2 * size))
    calls.pop("preadv2", None)
    assert calls == {key: made(1, size, {bucket: 1}) for key in ("readv", "writev", "pwritev")}
    assert file["bytes_read"] == file["bytes_written"] == 3 * size


def test_offset_minus_one_is_the_file_position(place: Path) -> None:
    file = trace(
        place,
        """
        fd = create("data")
        os.write(fd, bytes(100))
        assert os.pwritev(fd, [bytes(50)], -1, os.RWF_DSYNC) == 50
        assert os.lseek(fd, 0, 1) == 150
        os.lseek(fd, 20, 0)
        libc.syscall.argtypes = [L, L, P, L, L, L, L]
        assert os.preadv(fd, [bytearray(30)], -1, os.RWF_HIPRI) == 30
        assert os.lseek(fd, 0, 1) == 50
        os.read(fd, 10)
        """,
    )["data"]
    assert histogram(file, "sequential_write") == {128: 1}
    assert histogram(file, "sequential_read") == {32: 1}
    assert (file["lowest_offset"], file["highest_offset"]) == (0, 149)


# --- times ------------------------------------------------------------------------------------------------------------


def test_times_lie_between_the_scripts_own(place: Path) -> None:
    """The two clocks are tied together once at the start; a millisecond is what they may drift apart until the end."""
    found = trace(
        place,
        """
        fd = create("data", 100000)
        stamps = {}
        def stamped(name, *calls):
            stamps[name] = []
            for call in calls:
                stamps[name].append(time.time_ns())
                call()
                stamps[name].append(time.time_ns())
        stamped("read", lambda: os.pread(fd, 10, 0), lambda: os.pread(fd, 10, 0), lambda: os.pread(fd, 10, 0))
        refused(errno.EINVAL, os.pread, fd, 10, -1)
        stamped("write", lambda: os.pwrite(fd, b"x", 0), lambda: os.pwrite(fd, b"x", 0))
        stamped("sync", lambda: os.fsync(fd), lambda: os.fdatasync(fd))
        say(stamps)
        """,
    )
    file, said, slack = found["data"], found.said, 1_000_000
    for direction in ("read", "write"):
        first, last = file[f"first_{direction}_ns"], file[f"last_{direction}_ns"]
        assert said[direction][0] - slack <= first <= said[direction][1] + slack
        assert said[direction][-2] - slack <= last <= said[direction][-1] + slack
        assert first < last
    assert said["sync"][2] - slack <= file["last_sync_ns"] <= said["sync"][3] + slack
    assert file["first_read_ns"] < file["last_read_ns"] < file["first_write_ns"] < file["last_write_ns"]
    assert file["last_write_ns"] < file["last_sync_ns"]
    assert found.document["started_ns"] < file["first_read_ns"] < file["last_sync_ns"] < found.document["ended_ns"]


def test_times_that_never_were_are_null(place: Path) -> None:
    found = trace(
        place,
        """
        os.close(create("opened"))
        fd = create("refused")
        refused(errno.EINVAL, os.pread, fd, 1, -1)
        """,
    )
    names = ("first_read_ns", "last_read_ns", "first_write_ns", "last_write_ns", "last_sync_ns")
    assert [found["opened"][name] for name in names] == [None] * 5
    # The entry of the first read, whatever became of it; the return of the last successful one.
    assert found["refused"]["last_read_ns"] is None


# --- concurrency ------------------------------------------------------------------------------------------------------


def test_four_threads_on_one_descriptor(place: Path) -> None:
    file = trace(
        place,
        """
        fd = create("data", 1 << 20)
        def worker(number):
            for turn in range(5000):
                os.pread(fd, 10 + number, turn)
                os.pwrite(fd, bytes(100), turn * 100)
        threads = [threading.Thread(target=worker, args=(number,)) for number in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        """,
    )["data"]
    assert data_calls(file) == {
        "pread64": made(20000, 5000 * (10 + 11 + 12 + 13), {8: 20000}),
        "pwrite64": made(20000, 2_000_000, {64: 20000}),
    }
    assert (file["lowest_offset"], file["highest_offset"]) == (0, 499_999)


def test_four_processes_on_one_file(place: Path) -> None:
    file = trace(
        place,
        """
        create("data", 1 << 20)
        pids = []
        for number in range(4):
            pid = os.fork()
            if pid == 0:
                fd = os.open("data", os.O_RDWR)
                for turn in range(5000):
                    os.pread(fd, 10 + number, turn)
                    os.pwrite(fd, bytes(100), turn * 100)
                os.fsync(fd)
                os._exit(0)
            pids.append(pid)
        for pid in pids:
            os.waitpid(pid, 0)
        """,
    )["data"]
    assert data_calls(file) == {
        "pread64": made(20000, 5000 * (10 + 11 + 12 + 13), {8: 20000}),
        "pwrite64": made(20000, 2_000_000, {64: 20000}),
    }
    assert file["bytes_synced"] + file["bytes_unsynced"] == 2_000_000
    assert sum(histogram(file, "bytes_between_syncs").values()) == 4
    # A read starts one byte after the start of the one before, which is not its end; a write starts where one ended.
    assert histogram(file, "sequential_read") == {8: 20000}
    assert histogram(file, "sequential_write") == {262144: 4}


# --- errors -----------------------------------------------------------------------------------------------------------


def test_errors_of_unknown_descriptors_belong_to_no_file(place: Path) -> None:
    found = trace(
        place,
        """
        libc.sync_file_range.argtypes = [ctypes.c_int, L, L, ctypes.c_uint]
        for _ in range(3):
            refused(errno.EBADF, os.read, 999, 10)
        refused(errno.EBADF, os.pwrite, 999, b"x", 0)
        refused(errno.EBADF, libc.writev, 999, None, 0)
        refused(errno.EBADF, os.fsync, 999)
        refused(errno.EBADF, libc.fdatasync, -1)
        refused(errno.EBADF, libc.sync_file_range, 999, 0, 0, 2)
        refused(errno.EBADF, os.close, 999)
        for _ in range(5):
            refused(errno.ENOENT, os.open, "absent/absent", os.O_RDONLY)
        refused(errno.EEXIST, os.open, ".", os.O_CREAT | os.O_EXCL)
        """,
    )
    lost = found.document["unattributed"]
    assert {key: lost[key] for key in lost if key != "open"} == {
        "read": {"EBADF": 3},
        "pwrite64": {"EBADF": 1},
        "writev": {"EBADF": 1},
        "fsync": {"EBADF": 1},
        "fdatasync": {"EBADF": 1},
        "sync_file_range": {"EBADF": 1},
        "close": {"EBADF": 1},
    }
    assert lost["open"]["EEXIST"] == 1
    assert lost["open"]["ENOENT"] >= 5  # the loader and the interpreter look for files in vain, too
    assert found.names == []


def test_errors_of_a_file_are_its_own(place: Path) -> None:
    file = trace(
        place,
        """
        reader = os.open("data", os.O_RDONLY | os.O_CREAT, 0o644)
        writer = os.open("data", os.O_WRONLY)
        both = os.open("data", os.O_RDWR)
        path = os.open("data", os.O_PATH)
        os.write(both, bytes(100))
        refused(errno.EBADF, os.write, reader, bytes(20))
        refused(errno.EBADF, os.pread, writer, 20, 0)
        refused(errno.EBADF, os.read, path, 20)
        refused(errno.EINVAL, os.pread, both, 4096, -7)
        refused(errno.EFAULT, libc.pread, both, P(8), ctypes.c_size_t(50), L(0))
        refused(errno.EFAULT, libc.write, both, P(8), ctypes.c_size_t(50))
        """,
    )["data"]
    assert data_calls(file) == {
        "write": made(3, 100, {64: 1, 16: 1, 32: 1}, {64: 1}, {"EBADF": 1, "EFAULT": 1}),
        "pread64": made(3, 0, {16: 1, 4096: 1, 32: 1}, {}, {"EBADF": 1, "EINVAL": 1, "EFAULT": 1}),
        "read": made(1, 0, {16: 1}, {}, {"EBADF": 1}),
    }
    assert (file["bytes_read"], file["bytes_written"]) == (0, 100)


def test_an_iovec_that_cannot_be_read_is_lost_but_counted(place: Path) -> None:
    found = trace(
        place,
        """
        fd = create("data", 100)
        refused(errno.EFAULT, libc.readv, fd, P(8), 3)
        """,
        complete=False,
    )
    call = found["data"]["syscalls"]["readv"]
    assert (call["calls"], call["errors"]) == (1, {"EFAULT": 1})
    assert call["requested"] == {}
    assert found.document["lost"] == {"events": 0, "files": 0, "calls": 0, "iovecs": 1}


def test_a_full_file_system(place: Path) -> None:
    """ENOSPC after a short write, on a tmpfs of 16 pages: the script's own log is the answer."""
    small = place / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    try:
        found = trace(
            place,
            """
            fd = create("small/data")
            done = []
            while not done or done[-1] >= 0:
                try:
                    done.append(os.write(fd, bytes(5000)))
                except OSError as error:
                    assert error.errno == errno.ENOSPC
                    done.append(-1)
            os.ftruncate(fd, 0)
            say(done)
            """,
        )
        file, said = found["small/data"], found.said
    finally:
        subprocess.run(["umount", str(small)], check=True)
    done = said[:-1]
    completed = Counter(bucket(size) for size in done)
    assert data_calls(file) == {"write": made(len(said), sum(done), {4096: len(said)}, completed, {"ENOSPC": 1})}
    assert file["fstype"] == "tmpfs"


def test_the_file_size_limit(place: Path) -> None:
    file = trace(
        place,
        """
        import resource
        fd = create("data")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        assert [os.write(fd, bytes(600)) for _ in range(2)] == [600, 400]
        refused(errno.EFBIG, os.write, fd, bytes(600))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        """,
    )["data"]
    assert data_calls(file) == {"write": made(3, 1000, {512: 3}, {512: 1, 256: 1}, {"EFBIG": 1})}
    assert histogram(file, "sequential_write") == {512: 1}


# --- copies -----------------------------------------------------------------------------------------------------------


def test_sendfile(place: Path) -> None:
    found = trace(
        place,
        """
        import socket
        source, target = create("source", 10000), create("target")
        assert os.sendfile(target, source, 0, 3000) == 3000      # by its own offset ...
        assert os.sendfile(target, source, 3000, 1096) == 1096   # ... contiguous
        libc.sendfile.argtypes = [ctypes.c_int, ctypes.c_int, P, ctypes.c_size_t]
        assert libc.sendfile(target, source, None, 100) == 100   # by the file position, which is still 0
        here, there = socket.socketpair()
        assert os.sendfile(here.fileno(), source, 9990, 500) == 10
        refused(errno.EBADF, libc.sendfile, 999, source, None, 5)
        """,
    )
    source, target = found["source"], found["target"]
    assert source["syscalls"]["sendfile_read"]["bytes"] == source["bytes_read"] == 4206
    assert data_calls(target) == {"sendfile_write": made(3, 4196, {2048: 1, 1024: 1, 64: 1})}
    assert histogram(source, "sequential_read") == {4096: 1, 64: 1, 8: 1}
    assert histogram(target, "sequential_write") == {4096: 1}
    assert (source["lowest_offset"], source["highest_offset"]) == (0, 9999)


def test_copy_file_range(place: Path) -> None:
    found = trace(
        place,
        """
        source, target = create("source", 10000), create("target")
        assert os.copy_file_range(source, target, 4096) == 4096           # both positions
        assert os.copy_file_range(source, target, 4096, 4096, 4096) == 4096
        assert os.copy_file_range(source, target, 4096, 9000, 50000) == 1000
        assert os.copy_file_range(source, target, 4096, 10000, 0) == 0    # the end of the source
        refused(errno.EBADF, os.copy_file_range, source, os.open("target", os.O_RDONLY), 10)
        """,
    )
    source, target = found["source"], found["target"]
    expected = made(5, 9192, {4096: 4, 8: 1}, {4096: 2, 512: 1, 0: 1}, {"EBADF": 1})
    assert data_calls(source) == {"copy_file_range_read": expected}
    assert data_calls(target) == {"copy_file_range_write": expected}
    assert histogram(source, "sequential_read") == histogram(target, "sequential_write") == {8192: 1, 512: 1}
    assert (target["lowest_offset"], target["highest_offset"]) == (0, 50999)


@pytest.mark.skipif(not hasattr(os, "splice"), reason=needs.IMPOSSIBLE + "os.splice is new in Python 3.10")
def test_splice(place: Path) -> None:
    found = trace(
        place,
        """
        source, target = create("source", 10000), create("target")
        reader, writer = os.pipe()
        for size in (3000, 1000):
            assert os.splice(source, writer, size) == size
            assert os.splice(reader, target, size) == size
        assert os.splice(source, writer, 100, offset_src=9000) == 100
        assert os.splice(reader, target, 100, offset_dst=20000) == 100
        """,
    )
    assert data_calls(found["source"]) == {"splice_read": made(3, 4100, {2048: 1, 512: 1, 64: 1})}
    assert data_calls(found["target"]) == {"splice_write": made(3, 4100, {2048: 1, 512: 1, 64: 1})}
    assert histogram(found["source"], "sequential_read") == {2048: 1, 64: 1}
    assert (found["target"]["lowest_offset"], found["target"]["highest_offset"]) == (0, 20099)


def test_a_file_copied_within_itself(place: Path) -> None:
    file = trace(
        place,
        """
        fd = create("data", 10000)
        assert os.copy_file_range(fd, fd, 1000, 0, 20000) == 1000
        """,
    )["data"]
    assert data_calls(file) == {
        "copy_file_range_read": made(1, 1000, {512: 1}),
        "copy_file_range_write": made(1, 1000, {512: 1}),
    }
    assert (file["bytes_read"], file["bytes_written"]) == (1000, 1000)
