"""Workloads whose answer is arithmetic: sequential runs, rewrites, and what was made durable."""

from __future__ import annotations

from pathlib import Path

from tests import needs

from .traced import data_calls, histogram, made, trace

pytestmark = needs.root


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
