"""Workloads whose answer is arithmetic: every metric, by what the script did."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests import needs

from . import observe
from .compare import disagreements
from .observe import Command
from .strace import bucket
from .traced import Traced, data_calls, histogram, made, script, trace

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


# --- order ------------------------------------------------------------------------------------------------------------


def test_sequential_runs(place: Path) -> None:
    file = trace(
        place,
        """
        fd = create("data", 1 << 20)
        for block in range(10):                      # a run of 40,960
            os.pread(fd, 4096, block * 4096)
        for block in range(3):                       # a run of 12,288
            os.pread(fd, 4096, 500000 + block * 4096)
        os.pread(fd, 100, 0)                         # a run of 100 ...
        os.lseek(fd, 100, 0)
        os.read(fd, 30)                              # ... goes on by the file position ...
        os.pread(fd, 0, 7)                           # ... neither broken by nothing ...
        refused(errno.EINVAL, os.pread, fd, 10, -1)  # ... nor by a failure ...
        os.pread(fd, 100, 1 << 20)                   # ... nor by the end of the file ...
        os.pread(fd, 70, 130)                        # ... to 200
        os.close(fd)
        """,
    )["data"]
    assert histogram(file, "sequential_read") == {32768: 1, 8192: 1, 128: 1}
    assert histogram(file, "sequential_write") == {}


def test_reads_and_writes_run_apart(place: Path) -> None:
    file = trace(
        place,
        """
        fd = create("data", 1 << 20)
        for block in range(8):
            os.pread(fd, 512, block * 512)
            os.pwrite(fd, bytes(1024), 100000 + block * 1024)
        """,
    )["data"]
    assert histogram(file, "sequential_read") == {4096: 1}
    assert histogram(file, "sequential_write") == {8192: 1}


def test_lseek_breaks_a_run(place: Path) -> None:
    file = trace(
        place,
        """
        fd = create("data")
        os.write(fd, bytes(100))
        os.lseek(fd, 500, 0)
        os.write(fd, bytes(300))
        os.lseek(fd, 10, 1)
        os.lseek(fd, -10, 1)                         # there and back is nowhere else
        os.write(fd, bytes(300))
        os.lseek(fd, 0, 0)
        os.write(fd, bytes(20))
        """,
    )["data"]
    assert histogram(file, "sequential_write") == {64: 1, 512: 1, 16: 1}
    assert (file["lowest_offset"], file["highest_offset"]) == (0, 1099)


def test_a_run_belongs_to_an_open_file_description(place: Path) -> None:
    found = trace(
        place,
        """
        fd = create("dup")
        other = os.dup(fd)
        for turn in range(8):
            os.write((fd, other)[turn % 2], bytes(32))  # one description: one run of 256

        fd = create("forked")
        os.write(fd, bytes(64))
        child(lambda: os.write(fd, bytes(32)))
        os.write(fd, bytes(32))                         # one description: one run of 128

        one, two = create("twice"), create("twice")
        for turn in range(8):
            os.pwrite((one, two)[turn % 2], bytes(32), turn * 32)  # two descriptions: eight runs of 32
        """,
    )
    assert histogram(found["dup"], "sequential_write") == {256: 1}
    assert histogram(found["forked"], "sequential_write") == {128: 1}
    assert histogram(found["twice"], "sequential_write") == {32: 8}
    assert (found["dup"]["opens"], found["forked"]["opens"], found["twice"]["opens"]) == (1, 1, 2)


def test_a_run_ends_with_the_last_close(place: Path) -> None:
    file = trace(
        place,
        """
        for turn in range(4):
            fd = create("data")
            other = os.dup(fd)
            os.pwrite(fd, bytes(64), turn * 64)
            os.close(fd)
            os.pwrite(other, bytes(64), turn * 64 + 64)
            os.close(other)
        """,
    )["data"]
    assert histogram(file, "sequential_write") == {128: 4}
    assert file["closes"] == 8


def test_append_by_two_processes_in_turn(place: Path) -> None:
    """Each of the two finds that the file has grown in between: no write goes on where its last one ended."""
    file = trace(
        place,
        """
        mine, yours = os.pipe(), os.pipe()
        def writer(wait, tell):
            fd = create("data", flags=RW | os.O_APPEND)
            for _ in range(50):
                os.read(wait, 1)
                os.write(fd, bytes(10))
                os.write(tell, b"!")
        pid = os.fork()
        if pid == 0:
            writer(yours[0], mine[1])
            os._exit(0)
        os.write(mine[1], b"!")
        writer(mine[0], yours[1])
        os.waitpid(pid, 0)
        """,
    )["data"]
    assert data_calls(file) == {"write": made(100, 1000, {8: 100})}
    assert histogram(file, "sequential_write") == {8: 100}
    assert (file["lowest_offset"], file["highest_offset"], file["rewrites"]) == (0, 999, 0)


def test_append_by_two_threads_on_one_descriptor(place: Path) -> None:
    file = trace(
        place,
        """
        fd = create("data", flags=RW | os.O_APPEND)
        lock = threading.Lock()
        def writer():
            for _ in range(500):
                with lock:
                    os.write(fd, bytes(10))
        threads = [threading.Thread(target=writer) for _ in range(2)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        """,
    )["data"]
    assert data_calls(file) == {"write": made(1000, 10000, {8: 1000})}
    assert histogram(file, "sequential_write") == {8192: 1}


def test_append_goes_to_the_end_whatever_the_position(place: Path) -> None:
    file = trace(
        place,
        """
        fd = create("data", 5000, RW | os.O_APPEND)
        os.lseek(fd, 0, 0)
        os.write(fd, bytes(100))
        os.lseek(fd, 0, 0)
        os.write(fd, bytes(100))
        os.pwrite(fd, bytes(56), 7)      # Linux appends here too (pwrite(2), BUGS)
        assert os.fstat(fd).st_size == 5256
        """,
    )["data"]
    assert histogram(file, "sequential_write") == {256: 1}
    assert (file["lowest_offset"], file["highest_offset"], file["rewrites"]) == (5000, 5255, 0)


def test_rewrites(place: Path) -> None:
    found = trace(
        place,
        """
        fd = create("one")
        for _ in range(5):
            os.pwrite(fd, bytes(100), 0)             # four rewrites
        os.pwrite(fd, bytes(10), 100)
        os.pwrite(fd, bytes(10), 0)                  # not the same as the one before
        os.lseek(fd, 0, 0)
        os.write(fd, bytes(10))                      # a fifth
        other = create("one")
        os.pwrite(other, bytes(10), 0)               # the sixth, by another description of the same file

        fd = create("none")
        for block in range(5):
            os.write(fd, bytes(100))
            os.pread(fd, 100, 0)
        """,
    )
    assert (found["one"]["rewrites"], found["none"]["rewrites"]) == (6, 0)


# --- durability -------------------------------------------------------------------------------------------------------


def test_bytes_between_syncs(place: Path) -> None:
    found = trace(
        place,
        """
        fd, other = create("data"), create("data")
        os.write(fd, bytes(5000))
        os.fsync(fd)                                 # 5,000
        os.write(fd, bytes(100))
        os.pwrite(other, bytes(200), 0)
        os.fdatasync(other)                          # 300, whichever descriptor wrote them
        os.fsync(fd)                                 # nothing
        os.write(fd, bytes(7))                       # never synced

        fd = create("never")
        os.write(fd, bytes(11))
        libc.sync_file_range.argtypes = [ctypes.c_int, L, L, ctypes.c_uint]
        assert libc.sync_file_range(fd, 0, 0, 2) == 0
        refused(errno.EINVAL, libc.sync_file_range, fd, 0, 0, 64)
        """,
    )
    data, never = found["data"], found["never"]
    assert histogram(data, "bytes_between_syncs") == {4096: 1, 256: 1, 0: 1}
    assert (data["bytes_synced"], data["bytes_unsynced"]) == (5300, 7)
    assert (data["syscalls"]["fsync"]["calls"], data["syscalls"]["fdatasync"]["calls"]) == (2, 1)
    assert sum(data["syscalls"]["fsync"]["latency_ns"].values()) == 2
    assert sum(data["syscalls"]["fdatasync"]["latency_ns"].values()) == 1
    # sync_file_range makes nothing durable by itself (sync_file_range(2), Warning).
    assert never["syscalls"]["sync_file_range"]["calls"] == 2
    assert never["syscalls"]["sync_file_range"]["errors"] == {"EINVAL": 1}
    assert (never["bytes_synced"], never["bytes_unsynced"], never["last_sync_ns"]) == (0, 11, None)
    assert histogram(never, "bytes_between_syncs") == {}


def test_durable_writes(place: Path) -> None:
    found = trace(
        place,
        """
        for flag, count in ((os.O_SYNC, 3), (os.O_DSYNC, 2)):
            fd = create("data", flags=RW | flag)
            for _ in range(count):
                os.write(fd, b"x")
            os.read(fd, 1)
        fd = create("data")
        for flag in (os.RWF_SYNC, os.RWF_DSYNC):
            os.pwritev(fd, [b"x"], 0, flag)
        os.pwritev(fd, [b"x"], 0, 0)
        os.write(fd, b"x")
        """,
    )
    assert found["data"]["durable_writes"] == 7


def test_direct_calls(place: Path) -> None:
    found = trace(
        place,
        """
        try:
            fd = create("data", flags=RW | os.O_DIRECT)
        except OSError:
            say(None)
            raise SystemExit(0)
        page = mmap.mmap(-1, 4096)
        for block in range(3):
            assert os.pwritev(fd, [page], block * 4096) == 4096
        for block in range(2):
            assert os.preadv(fd, [page], block * 4096) == 4096
        plain = os.open("data", os.O_RDONLY)
        os.read(plain, 10)
        say(fd)
        """,
    )
    if found.said is None:
        needs.impossible("this file system has no O_DIRECT")
    assert found["data"]["direct_calls"] == 5


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


# --- which files ------------------------------------------------------------------------------------------------------


def test_every_kind_of_open(place: Path) -> None:
    file = trace(
        place,
        """
        import struct
        kinds = 0
        os.open("data", RW, 0o644); kinds += 1                            # openat
        libc.creat(b"data", 0o644); kinds += 1
        here = os.open(".", os.O_RDONLY)
        os.open("data", os.O_RDONLY, dir_fd=here); kinds += 1
        os.open("data", os.O_PATH); kinds += 1
        how = ctypes.create_string_buffer(struct.pack("QQQ", os.O_RDONLY, 0, 0))
        libc.syscall.argtypes = None
        if libc.syscall(L(437), ctypes.c_int(-100), b"data", how, L(24)) >= 0:  # openat2, new in 5.6
            kinds += 1
        handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
        mount = ctypes.c_int()
        if libc.name_to_handle_at(-100, b"data", handle, ctypes.byref(mount), 0) == 0:
            assert libc.open_by_handle_at(here, handle, os.O_RDONLY) >= 0
            kinds += 1
        os.dup(here)
        say(kinds)
        """,
    )
    assert file["data"]["opens"] == file["data"]["syscalls"]["open"]["calls"] == file.said >= 4
    assert file["data"]["closes"] == 0


def test_what_is_no_named_regular_file_is_not_counted(place: Path) -> None:
    found = trace(
        place,
        """
        import socket
        os.mkdir("directory"); os.mkfifo("fifo")
        pipe, pair = os.pipe(), socket.socketpair()
        fds = [os.open("fifo", os.O_RDWR), os.open("/dev/null", os.O_RDWR), os.open(".", os.O_TMPFILE | os.O_RDWR),
               os.memfd_create("memory"), pipe[1], pair[0].fileno()]
        for fd in fds:
            os.write(fd, bytes(8))
        for name in ("directory", "."):
            refused(errno.EISDIR, os.read, os.open(name, os.O_RDONLY), 10)
        os.read(os.open("/proc/self/stat", os.O_RDONLY), 10)
        os.read(os.open("/sys/kernel/mm/transparent_hugepage/enabled", os.O_RDONLY), 10)
        """,
    )
    assert found.names == []
    paths = {observe.path_of(file) for file in found.document["files"]}
    assert not [path for path in paths if path.startswith((b"/proc/", b"/sys/", b"/dev/", b"/memfd:"))]


def test_pseudo_files_on_request(place: Path) -> None:
    found = trace(place, 'os.read(os.open("/proc/self/stat", os.O_RDONLY), 10)', ["--include-pseudo"])
    files = [file for file in found.document["files"] if observe.path_of(file).endswith(b"/stat")]
    assert [data_calls(file) for file in files] == [{"read": made(1, 10, {8: 1})}]
    assert files[0]["fstype"] == "proc"


def test_mapped_files_are_marked(place: Path) -> None:
    found = trace(
        place,
        """
        fd = create("mapped", 4096)
        os.read(fd, 10)
        area = mmap.mmap(fd, 4096)
        area[0] = 1
        os.read(create("plain", 4096), 10)
        anonymous = mmap.mmap(-1, 4096)
        """,
    )
    assert (found["mapped"]["mapped"], found["plain"]["mapped"]) == (True, False)


def test_incarnations_of_one_path(place: Path) -> None:
    """All are open at once, so that no inode number is used twice."""
    file = trace(
        place,
        """
        for size in (10, 20, 30):
            os.write(create("data"), bytes(size))
            os.unlink("data")
        """,
    )["data"]
    assert (file["incarnations"], file["bytes_written"], file["opens"], file["deleted"]) == (3, 60, 3, True)


def test_globs_narrow_the_trace(place: Path) -> None:
    text = """
        os.mkdir("sub")
        for name in ("a.log", "b.log", "c.dat", "sub/d.log"):
            os.write(create(name), bytes(10))
    """
    assert trace(place, text, ["--path", f"{place}/*.log"]).names in (
        ["a.log", "b.log"],
        ["a.log", "b.log", "sub/d.log"],
    )
    shutil.rmtree(place / "sub")
    assert trace(place, text, ["--exclude", "*.log"]).names == ["c.dat"]


# --- whom -------------------------------------------------------------------------------------------------------------


FAMILY = """
    import subprocess
    os.write(create("own"), bytes(10))
    child(lambda: os.write(create("child"), bytes(20)))
    subprocess.run(["/bin/sh", "-c", "echo hello > shell"], check=True)
    child(lambda: child(lambda: os.write(create("grandchild"), bytes(30))))
    threading.Thread(target=lambda: os.write(create("thread"), bytes(40))).start()
"""


def test_descendants_are_followed(place: Path) -> None:
    found = trace(place, FAMILY)
    assert {name: found[name]["bytes_written"] for name in found.names} == {
        "own": 10,
        "child": 20,
        "shell": 6,
        "grandchild": 30,
        "thread": 40,
    }


def test_no_follow_is_the_command_alone(place: Path) -> None:
    found = trace(place, FAMILY, ["--no-follow"])
    assert {name: found[name]["bytes_written"] for name in found.names} == {"own": 10, "thread": 40}


I386 = r"""
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
int main(void) {
    char buffer[100] = {0};
    int fd = open("data", O_RDWR | O_CREAT, 0644);
    for (int i = 0; i < 23; i++)
        if (write(fd, buffer, 100) != 100) return 1;
    for (int i = 0; i < 7; i++)
        if (pread(fd, buffer, 50, i * 50) != 50) return 2;
    return fsync(fd) || close(fd) ? 3 : 0;
}
"""


def test_a_32_bit_program_is_decoded_or_reported_but_never_misread(place: Path) -> None:
    (place / "program.c").write_text(I386)
    built = subprocess.run(
        [needs.program("gcc"), "-m32", "-o", "program", "program.c"], cwd=place, stderr=subprocess.DEVNULL
    )
    if built.returncode != 0:
        needs.missing("gcc-multilib")
    found = observe.alone(Command([str(place / "program")], place))
    assert found.status == 0, found.stderr
    traced = Traced(place, found.document, 0, found.stderr)
    if "data" in traced.names:
        file = traced["data"]
        assert data_calls(file) == {"write": made(23, 2300, {64: 23}), "pread64": made(7, 350, {32: 7})}
        assert (file["opens"], file["closes"], file["bytes_synced"]) == (1, 1, 2300)
    else:
        assert any("32" in key for key in found.document["coverage"])
        assert traced.names == [] and found.document["unattributed"].get("close", {}) == {}


# --- the same, watched ------------------------------------------------------------------------------------------------


@needs.programs("strace")
def test_a_little_of_everything_agrees_with_strace(place: Path) -> None:
    command = script(
        place,
        FAMILY
        + """
    fd, other = create("a"), create("b", 5000)
    os.pwritev(fd, [bytes(n) for n in range(300)], 100)
    os.preadv(fd, [bytearray(n) for n in range(300)], 44850)
    os.sendfile(fd, other, 0, 4000)
    os.copy_file_range(other, fd, 5000, 4500, 0)
    refused(errno.EBADF, os.read, 999, 10)
    refused(errno.EINVAL, os.pread, fd, 10, -5)
    refused(errno.EFAULT, libc.write, fd, P(8), ctypes.c_size_t(77))
    refused(errno.EFAULT, libc.writev, fd, P(8), 3)
    os.rename("a", "c"); os.write(fd, b"renamed")
    os.unlink("b"); os.read(other, 10)
    for turn in range(10):
        os.close(create("again")); os.unlink("again")
    os.fsync(fd); os.fdatasync(other)
    """,
    )
    found = observe.both(Command(command, place))
    assert disagreements(found.strace, found.document) == []
    assert found.status == 0, found.stderr
