"""Linux AIO: every kind of request by raw system calls, with the answers of arithmetic; and fio's own account."""

from __future__ import annotations

import json
import shutil
import tempfile
import textwrap
from collections import Counter
from pathlib import Path
from typing import Dict, Iterator, Sequence

import pytest

from . import observe
from .observe import Command, path_of
from .traced import Traced, data_calls, histogram, made, trace

pytestmark = pytest.mark.skipif(observe.missing() is not None, reason=str(observe.missing()))

# include/uapi/linux/aio_abi.h, and struct aio_ring of fs/aio.c
PRELUDE = textwrap.dedent('''
PREAD, PWRITE, FSYNC, FDSYNC, POLL, NOOP, PREADV, PWRITEV = 0, 1, 2, 3, 5, 6, 7, 8
RESFD, IOPRIO = 1, 2
SETUP, DESTROY, SUBMIT, GETEVENTS = {"x86_64": (206, 207, 209, 208), "aarch64": (0, 1, 2, 4)}[os.uname().machine]
U64 = ctypes.c_uint64

class Iocb(ctypes.Structure):
    _fields_ = [("data", U64), ("key", ctypes.c_uint32), ("rw_flags", ctypes.c_int32), ("opcode", ctypes.c_uint16),
                ("priority", ctypes.c_int16), ("fd", ctypes.c_uint32), ("buffer", U64), ("size", U64),
                ("offset", ctypes.c_int64), ("reserved", U64), ("flags", ctypes.c_uint32), ("resfd", ctypes.c_uint32)]

class Event(ctypes.Structure):
    _fields_ = [("data", U64), ("request", U64), ("result", ctypes.c_int64), ("result2", ctypes.c_int64)]

class Entry(ctypes.Structure):
    _fields_ = [("base", U64), ("length", U64)]

area = mmap.mmap(-1, 1 << 20)
AT = ctypes.addressof(ctypes.c_char.from_buffer(area))
libc.syscall.restype = L

def call(number, *arguments):
    """The result, or -errno."""
    result = libc.syscall(L(number), *[L(argument) for argument in arguments])
    return result if result >= 0 else -ctypes.get_errno()

def request(opcode, fd, size=0, offset=0, buffer=AT, **more):
    return Iocb(opcode=opcode, fd=fd, buffer=buffer, size=size, offset=offset, **more)

def vector(lengths):
    return (Entry * len(lengths))(*[(AT, length) for length in lengths])

class Context:
    def __init__(self, entries=128):
        context = U64()
        assert call(SETUP, entries, ctypes.addressof(context)) == 0
        self.id = context.value

    def submit(self, *requests):
        self.kept = requests
        pointers = (U64 * len(requests))(*[ctypes.addressof(request) for request in requests])
        return call(SUBMIT, self.id, len(requests), ctypes.addressof(pointers))

    def reap(self, least, most=4096):
        """The results, in the order of completion."""
        events = (Event * most)()
        found = call(GETEVENTS, self.id, least, most, ctypes.addressof(events), 0)
        assert found >= least, found
        return [event.result for event in events[:found]]

    def one(self, *arguments, **more):
        assert self.submit(request(*arguments, **more)) == 1
        return self.reap(1)[0]

    def take(self, least):
        """As `reap`, but out of the ring itself: no system call."""
        head = (ctypes.c_uint32 * 8).from_address(self.id)
        results = []
        while len(results) < least:
            while head[2] != head[3]:
                results.append(Event.from_address(self.id + head[7] + head[2] * 32).result)
                head[2] = (head[2] + 1) % head[1]
        return results

    def destroy(self):
        assert call(DESTROY, self.id) == 0
''')


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="aio-", dir=observe.DISK) as directory:
        yield Path(directory)


@pytest.fixture(params=["raw", "perf"])
def options(request: pytest.FixtureRequest) -> Sequence[str]:
    return ["--attach", str(request.param)]


def trace_aio(place: Path, text: str, options: Sequence[str] = ()) -> Traced:
    """Run the script, with the above before it, under iotrace; every request must have been seen to complete."""
    found = trace(place, PRELUDE + textwrap.dedent(text), options)
    assert found.document["coverage"]["aio"] == "full"
    return found


def test_every_kind_of_request(place: Path, options: Sequence[str]) -> None:
    found = trace_aio(
        place,
        """
        fd, context = create("data", 1 << 20), Context()
        parts = vector([100, 0, 1000])
        assert context.one(PREAD, fd, 4096) == 4096
        assert context.one(PREADV, fd, 3, 8192, buffer=ctypes.addressof(parts)) == 1100
        assert context.one(PWRITE, fd, 16384) == 16384
        assert context.one(PWRITEV, fd, 3, 65536, buffer=ctypes.addressof(parts)) == 1100
        assert context.one(PWRITE, fd, 300, 70000, rw_flags=2) == 300
        assert context.one(FSYNC, fd, buffer=0) == 0
        assert context.one(FDSYNC, fd, buffer=0) == 0
        assert context.one(POLL, fd, buffer=1) >= 0
        os.close(fd)
        """,
        options,
    )
    file = found["data"]
    assert data_calls(file) == {
        "aio_pread": made(1, 4096, {4096: 1}),
        "aio_preadv": made(1, 1100, {1024: 1}),
        "aio_pwrite": made(2, 16684, {16384: 1, 256: 1}),
        "aio_pwritev": made(1, 1100, {1024: 1}),
    }
    for key in ("aio_fsync", "aio_fdsync"):
        assert (file["syscalls"][key]["calls"], sum(file["syscalls"][key]["latency_ns"].values())) == (1, 1)
    assert histogram(file, "bytes_between_syncs") == {16384: 1, 0: 1}
    assert (file["bytes_synced"], file["bytes_unsynced"], file["durable_writes"]) == (17784, 0, 1)
    assert (file["lowest_offset"], file["highest_offset"]) == (0, 70299)
    assert (file["opens"], file["closes"]) == (1, 1)


@pytest.mark.parametrize("entries", [0, 1, 8, 9, 16, 17, 1024])
def test_vectors(place: Path, entries: int) -> None:
    file = trace_aio(
        place,
        f"""
        fd, context = create("data", 1 << 20), Context()
        parts = vector([3 + n % 5 for n in range({entries})])
        assert context.one(PREADV, fd, {entries}, buffer=ctypes.addressof(parts)) == sum(p.length for p in parts)
        """,
    )["data"]
    size = sum(3 + n % 5 for n in range(entries))
    assert data_calls(file) == {"aio_preadv": made(1, size, {1 << size.bit_length() - 1 if size else 0: 1})}


def test_a_batch_across_files_and_things_that_are_none(place: Path, options: Sequence[str]) -> None:
    """New files, whose names must be sent, between known ones, a pipe and requests without data."""
    found = trace_aio(
        place,
        """
        files = [create(f"data{n}", 65536) for n in range(4)]
        (out, into), context = os.pipe(), Context()
        batch = []
        for n in range(12):
            batch += [request(PREAD, files[n % 4], 1024, n * 1024), request(PWRITE, into, 1)]
            batch += [request(POLL, into, buffer=4)]
        assert context.submit(*batch) == 36
        context.reap(36)
        """,
        options,
    )
    assert found.names == [f"data{n}" for n in range(4)]
    for name in found.names:
        assert data_calls(found[name]) == {"aio_pread": made(3, 3072, {1024: 3})}


def test_runs_follow_the_order_of_submission(place: Path, options: Sequence[str]) -> None:
    file = trace_aio(
        place,
        """
        fd, context = create("data", 65536 + 100), Context()
        assert context.submit(*[request(PREAD, fd, 1024, n * 1024) for n in range(64)]) == 64
        context.reap(64)
        assert context.one(PREAD, fd, 1024, 65536) == 100
        assert context.one(PREAD, fd, 1024, 65636) == 0
        assert context.one(PREAD, fd, 10, 0) == 10
        assert context.one(PREAD, fd, 10, 1 << 30) == 0
        assert context.one(PREAD, fd, 10, 10) == 10
        for n in (5, 3, 3):
            assert context.one(PWRITE, fd, 512, n * 1024) == 512
        """,
        options,
    )["data"]
    assert data_calls(file)["aio_pread"] == made(
        69, 65656, {1024: 66, 8: 3}, {1024: 64, 64: 1, 0: 2, 8: 2}
    )
    assert histogram(file, "sequential_read") == {65536: 1, 16: 1}
    assert histogram(file, "sequential_write") == {512: 3}
    assert file["rewrites"] == 1


def test_what_appends(place: Path) -> None:
    file = trace_aio(
        place,
        """
        fd, context = create("data", 1000, RW | os.O_APPEND), Context()
        assert context.submit(*[request(PWRITE, fd, 100) for _ in range(3)]) == 3
        context.reap(3)
        assert context.one(PWRITE, fd, 100) == 100
        assert os.fstat(fd).st_size == 1400
        """,
    )["data"]
    assert data_calls(file) == {"aio_pwrite": made(4, 400, {64: 4})}
    assert (file["lowest_offset"], file["highest_offset"]) == (1000, 1399)
    assert histogram(file, "sequential_write") == {256: 1}
    assert file["rewrites"] == 0


def test_requests_that_are_refused(place: Path, options: Sequence[str]) -> None:
    found = trace_aio(
        place,
        """
        fd, context = create("data", 8192), Context()
        only_read = os.open("data", os.O_RDONLY)
        good = lambda n: request(PREAD, fd, 100, n * 100)
        assert context.submit(request(PREAD, 999, 10)) == -errno.EBADF
        assert context.submit(request(FSYNC, 999, buffer=0)) == -errno.EBADF
        assert context.submit(request(PWRITE, only_read, 10)) == -errno.EBADF
        assert context.submit(request(99, fd, 10)) == -errno.EINVAL
        assert context.submit(request(PREAD, fd, 10, reserved=1)) == -errno.EINVAL
        assert context.submit() == 0
        assert call(SUBMIT, context.id, -1, AT) == -errno.EINVAL
        assert call(SUBMIT, context.id, 1, 8) == -errno.EFAULT
        assert call(SUBMIT, 12345 << 12, 1, AT) == -errno.EINVAL
        assert context.submit(good(0), good(1), request(PREAD, 999, 100), good(2)) == 2
        assert context.reap(2) == [100, 100]
        assert context.submit(good(2), good(3)) == 2
        assert context.reap(2) == [100, 100]
        """,
        options,
    )
    file = found["data"]
    assert data_calls(file) == {
        "aio_pread": made(5, 400, {64: 4, 8: 1}, {64: 4}, {"EINVAL": 1}),
        "aio_pwrite": made(1, 0, {8: 1}, {}, {"EBADF": 1}),
    }
    assert histogram(file, "sequential_read") == {256: 1}
    assert {key: found.document["unattributed"][key] for key in ("aio_pread", "aio_fsync")} == {
        "aio_pread": {"EBADF": 1}, "aio_fsync": {"EBADF": 1},
    }  # fmt: skip


def test_a_queue_that_is_full_takes_a_part(place: Path, options: Sequence[str]) -> None:
    """What was refused is submitted again, and continues the run that it had been taken back from."""
    found = trace_aio(
        place,
        """
        fd, context, left, rounds = create("data", 1 << 20), Context(1), 2000, 0
        while left:
            batch = [request(PREAD, fd, 16, (2000 - n) * 16) for n in range(left, max(left - 700, 0), -1)]
            taken = context.submit(*batch)
            assert taken > 0
            context.reap(taken)
            left, rounds = left - taken, rounds + (taken < len(batch))
        assert rounds
        """,
        options,
    )
    assert data_calls(found["data"]) == {"aio_pread": made(2000, 32000, {16: 2000})}
    assert histogram(found["data"], "sequential_read") == {16384: 1}


def test_failures_that_complete(place: Path) -> None:
    file = trace_aio(
        place,
        """
        fd, context = create("data", 65536, RW | os.O_DIRECT), Context()
        assert context.one(PREAD, fd, 4096, buffer=4096) == -errno.EFAULT
        assert context.one(PREAD, fd, 4096, 4096) == 4096
        """,
    )["data"]
    assert data_calls(file) == {"aio_pread": made(2, 4096, {4096: 2}, {4096: 1}, {"EFAULT": 1})}
    assert file["direct_calls"] == 2
    assert histogram(file, "sequential_read") == {4096: 1}


def test_events_and_priorities(place: Path) -> None:
    file = trace_aio(
        place,
        """
        fd, context = create("data", 65536), Context()
        told = libc.eventfd(0, 0)
        batch = [request(PREAD, fd, 64, n * 64, flags=RESFD, resfd=told) for n in range(7)]
        assert context.submit(*batch, request(PREAD, fd, 64, 448, flags=IOPRIO, priority=2 << 13 | 4)) == 8
        context.reap(8)
        assert int.from_bytes(os.read(told, 8), sys.byteorder) == 7
        """,
    )["data"]
    assert data_calls(file) == {"aio_pread": made(8, 512, {64: 8})}


@pytest.mark.parametrize("end", ["context.destroy()", "os._exit(0)", "pass"])
def test_a_ring_that_the_process_reads_itself(place: Path, options: Sequence[str], end: str) -> None:
    """Around the ring several times, with the same iocbs again and again; nothing but the end shows the last ones."""
    file = trace_aio(
        place,
        f"""
        fd, context = create("data", 1 << 20), Context(8)
        batch = [request(PREAD, fd, 512 << n % 3) for n in range(8)]
        for n in range(200):
            assert context.submit(*batch) == 8
            assert sorted(context.take(8) if n % 5 else context.reap(8)) == sorted(r.size for r in batch)
        assert context.submit(*batch[:3]) == 3
        context.take(3)
        {end}
        """,
        options,
    )["data"]
    assert data_calls(file) == {
        "aio_pread": made(1603, 601 * 512 + 601 * 1024 + 401 * 2048, {512: 601, 1024: 601, 2048: 401})
    }


def test_one_thread_submits_and_others_reap(place: Path, options: Sequence[str]) -> None:
    file = trace_aio(
        place,
        """
        fd, context = create("data", 1 << 20), Context(256)
        left = threading.Semaphore(0)
        def reap():
            for _ in range(1000):
                context.reap(1, 1)
                left.release()
        reapers = [threading.Thread(target=reap) for _ in range(3)]
        for reaper in reapers:
            reaper.start()
        kept = []
        for n in range(500):
            batch = [request(PWRITE if n % 2 else PREAD, fd, 128, n * 768 + k * 128) for k in range(6)]
            kept.append(batch)
            assert context.submit(*batch) == 6
            for _ in range(6):
                left.acquire()
        for reaper in reapers:
            reaper.join()
        """,
        options,
    )["data"]
    assert data_calls(file) == {key: made(1500, 192000, {128: 1500}) for key in ("aio_pread", "aio_pwrite")}


def test_a_file_that_is_closed_meanwhile(place: Path) -> None:
    found = trace_aio(
        place,
        """
        fd, context = create("data", 65536), Context()
        assert context.submit(*[request(PREAD, fd, 1000, n * 1000) for n in range(4)]) == 4
        os.close(fd)
        os.close(create("other"))
        context.reap(4)
        """,
    )
    assert data_calls(found["data"]) == {"aio_pread": made(4, 4000, {512: 4})}
    assert found.names == ["data", "other"]


def test_requests_in_flight_at_the_end_are_told(place: Path) -> None:
    found = trace(
        place,
        PRELUDE + textwrap.dedent(
            """
            fd, contexts = create("data", 65536), [Context(), Context()]
            for context in contexts:
                context.submit(request(PREAD, fd, 10), request(PREAD, fd, 10, 10))
            """
        ),
    )
    # Of the context made last the end of the process tells.
    assert found.document["coverage"]["aio"] == "partial: 2 requests were not seen to complete"


# --- fio --------------------------------------------------------------------------------------------------------------

JOBS: Dict[str, str] = {
    "one": "iodepth=1",
    "direct": "direct=1\niodepth=32",
    "deep": "direct=1\niodepth=256\niodepth_batch=64",
    "batches": "iodepth=256\niodepth_batch=256\niodepth_batch_complete_min=32\niodepth_batch_complete_max=256",
    "buffered": "iodepth=32\niodepth_batch=8",
    "synced": "iodepth=8\nfsync=8",
    "reaped": "direct=1\niodepth=64\niodepth_batch=8\nuserspace_reap=1",
    "threads": "thread=1\nnumjobs=2\niodepth=16\nuserspace_reap=1",
}


@pytest.mark.skipif(not shutil.which("fio"), reason="not installed: fio")
@pytest.mark.parametrize("job", JOBS)
def test_fio_counts_the_same(place: Path, job: str, options: Sequence[str]) -> None:
    text = f"[global]\nioengine=libaio\nrw=randrw\nsize=2m\nbssplit=4k/50:8k/30:16k/20\n{JOBS[job]}\n[job]\n"
    (place / "jobs.fio").write_text(text)
    for number in range(2):
        (place / f"job.{number}.0").write_bytes(bytes(2 << 20))
    found = observe.alone(Command(["fio", "--output-format=json", "--output=fio.json", "jobs.fio"], place), options)
    assert found.status == 0, found.stderr
    assert not any(found.document["lost"].values())
    assert found.document["coverage"]["aio"] == "full"
    ours: Counter[str] = Counter()
    for file in found.document["files"]:
        if path_of(file).startswith(bytes(place) + b"/job."):
            for key, call in file["syscalls"].items():
                ours[key + " calls"] += call["calls"]
                ours[key + " bytes"] += call["bytes"] if key.startswith("aio") else 0
                assert not call["errors"]
    theirs = json.loads((place / "fio.json").read_text())["jobs"]
    for ours_key, key in (("aio_pread", "read"), ("aio_pwrite", "write")):
        assert ours[ours_key + " calls"] == sum(part[key]["total_ios"] for part in theirs)
        assert ours[ours_key + " bytes"] == sum(part[key]["io_bytes"] for part in theirs)
    if job == "synced":
        assert ours["fsync calls"] == sum(part["sync"]["total_ios"] for part in theirs)
