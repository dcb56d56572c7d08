"""Sessions on the running kernel: the same counts by every way in and with every kernel's abilities, and for whom."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, Type

import pytest

from iotrace.kernel import facts
from iotrace.profile import reader as profiles
from iotrace.profile.model import FileStats, Profile, bucket
from iotrace.profile.writer import Writer
from iotrace.tracing.session import Session, Settings
from programs.facts.kernel import Kernel
from pybpf import features
from pybpf.types.tracefs import Tracefs
from tests import needs

BLOCK = 4096
CALLS = 23
PR_SET_NAME = 15
BPF_NUMBERS = {"x86_64": 321, "aarch64": 280}  # of bpf(2), asm/unistd.h
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.pread64.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64]

Pause = Callable[[], None]


class Child:
    """A process that waits at each `pause()` of its work until `step` lets it go on."""

    def __init__(self, work: Callable[[Pause], None]) -> None:
        child_reads, self._go = os.pipe()
        self._reached, child_writes = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._go)
            os.close(self._reached)
            self._run(work, child_reads, child_writes)
        os.close(child_reads)
        os.close(child_writes)

    @staticmethod
    def _run(work: Callable[[Pause], None], go: int, reached: int) -> None:
        def pause() -> None:
            os.write(reached, b".")
            if not os.read(go, 1):
                os._exit(3)

        status = 1
        try:
            pause()
            work(pause)
            status = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def wait(self) -> None:
        """Until it has come to a `pause()`; the first is before its work."""
        assert os.read(self._reached, 1) == b".", "the child has failed"

    def step(self) -> None:
        """Let it go on, to its next `pause()`."""
        os.write(self._go, b"!")
        self.wait()

    def end(self) -> None:
        """Let it go on, to its end."""
        os.write(self._go, b"!")
        pid, self.pid = self.pid, 0
        assert os.waitpid(pid, 0)[1] == 0

    def __enter__(self) -> Child:
        self.wait()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        os.close(self._go)
        os.close(self._reached)
        if self.pid:
            os.waitpid(self.pid, 0)


def in_child(work: Callable[[], None]) -> None:
    """Do the work in a child of this process, and wait for it."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


@dataclass(frozen=True)
class Form:
    """A way in, the kernel whose abilities are acted out (None: this one's), and where calls under way are kept."""

    attach: str
    kernel: Optional[Tuple[int, int]] = None
    tid_slots: Optional[int] = None

    def facts(self) -> facts.Facts:
        """This kernel's, less what the one acted out does not have."""
        with contextlib.ExitStack() as stack:
            found = facts.gather(stack.enter_context(Tracefs.open()) if self.attach == "perf" else None)
        if self.tid_slots is not None:
            found = replace(found, kernel=replace(found.kernel, tid_slots=self.tid_slots, tid_direct=False))
        if self.kernel is None:
            return found
        kernel = found.kernel
        older = Kernel(
            kernel.machine,
            kernel.offsets,
            kernel.fields,
            kernel.one_reference,
            fetch_atomics=False,
            big_values=self.kernel >= (4, 18),
            ring_buffer=self.kernel >= (5, 8),
            tid_slots=kernel.tid_slots,
            tid_direct=kernel.tid_direct,
            back_jumps=self.kernel >= (5, 3),
        )
        return replace(found, kernel=older, preallocate=True)

    @contextlib.contextmanager
    def session(self, **wanted: Any) -> Iterator[Session]:
        """A session that has been started."""
        found = self.facts()
        features.pretend(self.kernel)
        try:
            with Session(Settings(attach=self.attach, **{"max_files": 1024, **wanted}), found) as session:
                session.attach()
                yield session
        finally:
            features.pretend(None)

    def trace(self, work: Callable[[], None], **wanted: Any) -> Profile:
        """The profile of a child that does the work."""
        with Child(lambda _pause: work()) as child, self.session(**wanted) as session:
            session.trace_process(child.pid, follow=True)
            child.end()
            return finished(session)


RAW, PERF = Form("raw"), Form("perf")
FORMS = {
    "raw": RAW,
    "raw as on 4.17": Form("raw", (4, 17)),
    "raw as on 5.10": Form("raw", (5, 10)),
    "raw, one record for all threads": Form("raw", None, 1),
    "raw, no records by thread number": Form("raw", None, 0),
    "perf": PERF,
    "perf as on 4.14": Form("perf", (4, 14)),
    "perf as on 4.14, no records by thread number": Form("perf", (4, 14), 0),
}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
both_ways = pytest.mark.parametrize("form", [RAW, PERF], ids=["raw", "perf"])

Made = Tuple[int, int, Dict[int, int], Dict[int, int], Dict[str, int]]


def made(call_sizes: List[int], completed: Optional[List[int]] = None, errors: Optional[Dict[str, int]] = None) -> Made:
    """What must be counted for calls that asked for these sizes: calls, bytes, requested, completed, errors."""
    done = call_sizes if completed is None else completed
    return len(call_sizes), sum(done), histogram(call_sizes), histogram(done), errors or {}


def histogram(sizes: List[int]) -> Dict[int, int]:
    counts: Dict[int, int] = {}
    for size in sizes:
        counts[bucket(size)] = counts.get(bucket(size), 0) + 1
    return counts


def finished(session: Session) -> Profile:
    """The session's profile, as it is read from its file."""
    session.stop()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "profile")
        session.write_to(Writer(path))
        session.finish()
        with profiles.open(path) as reader:
            return Profile(**vars(reader.header), files=list(reader.files()))


def file_of(profile: Profile, path: Path) -> FileStats:
    (found,) = [file for file in profile.files if file.path == os.fsencode(path)]
    return found


def data(profile: Profile, path: Path) -> Dict[str, Made]:
    """What was counted for the file's calls but open and close."""
    return {
        name: (call.calls, call.bytes, call.requested, call.completed, call.errors)
        for name, call in file_of(profile, path).syscalls.items()
        if name not in ("open", "close")
    }


def paths(profile: Profile, below: Path) -> List[str]:
    start = os.fsencode(below) + b"/"
    return sorted(os.fsdecode(file.path[len(start) :]) for file in profile.files if file.path.startswith(start))


def nothing_lost(profile: Profile) -> bool:
    return not any(profile.lost.values())


def write_calls(path: Path, calls: int = CALLS) -> None:
    """`calls` times pwrite64 of a block."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for number in range(calls):
        os.pwrite(fd, bytes(BLOCK), number * BLOCK)
    os.close(fd)


# -- counts: one run of all workloads for each form --------------------------------------------------------------------

BUCKET_SIZES = [0, 1, *(size for power in range(1, 18) for size in ((1 << power) - 1, 1 << power))]
CUT_SIZES = [(1 << power) - less for power in (31, 32, 33, 34) for less in (1, 0)]
FAULTY_SIZES = [1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
VECTOR_LENGTHS = [1, 2, 15, 16, 17, 31, 32, 33, 1008, 1009, 1023, 1024]
VECTOR_SUMS = [4095, 4096]
TOO_MANY = 3000  # entries: more than UIO_MAXIOV, of which the sum is that of the first 1024
THREADS, THREAD_CALLS = 6, 400
DEEP = Path(*(f"level-{number:03}" for number in range(100)))


def blocks(path: Path) -> None:
    write_calls(path)
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    for number in range(CALLS + 2):  # the last two are beyond the end
        os.pread(fd, BLOCK, number * BLOCK)
    while os.read(fd, 3 * BLOCK):
        pass
    os.lseek(fd, BLOCK, os.SEEK_SET)
    os.write(fd, bytes(100))
    os.fsync(fd)
    os.close(fd)


def powers_of_two(path: Path) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for size in BUCKET_SIZES:
        os.pwrite(fd, bytes(size), 0)
    os.ftruncate(fd, 1000)
    for size in BUCKET_SIZES:
        os.pread(fd, size, 0)


def huge_requests(path: Path) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(fd, 10)
    buffer = ctypes.create_string_buffer(16)
    for sizes, expected in ((CUT_SIZES, 0), (FAULTY_SIZES, errno.EFAULT)):
        for size in sizes:
            ctypes.set_errno(0)
            assert LIBC.pread64(fd, buffer, size, 0) == (-1 if expected else 10)
            assert ctypes.get_errno() == expected


def vectors(place: Path) -> None:
    for entries in VECTOR_LENGTHS:
        for total in VECTOR_SUMS:
            sizes = [number % 3 for number in range(entries - 1)]
            sizes.append(total - sum(sizes))
            fd = os.open(place / f"{entries}-{total}", os.O_RDWR | os.O_CREAT, 0o600)
            assert os.writev(fd, [bytes(size) for size in sizes]) == total
            os.lseek(fd, 0, os.SEEK_SET)
            assert os.readv(fd, [bytearray(size) for size in sizes]) == total
    fd = os.open(place / "none", os.O_RDWR | os.O_CREAT, 0o600)
    os.writev(fd, [])
    os.readv(fd, [])
    fd = os.open(place / "too many", os.O_RDWR | os.O_CREAT, 0o600)
    with contextlib.suppress(OSError):
        os.readv(fd, [bytearray(1)] * TOO_MANY)


class Iocb(ctypes.Structure):
    """struct iocb, include/uapi/linux/aio_abi.h."""

    _fields_ = [
        ("data", ctypes.c_uint64),
        ("key", ctypes.c_uint32),
        ("rw_flags", ctypes.c_int32),
        ("opcode", ctypes.c_uint16),
        ("priority", ctypes.c_int16),
        ("fd", ctypes.c_uint32),
        ("buffer", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("reserved", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    ]


class Aio:
    """A context of Linux AIO, by raw system calls."""

    PREAD, PWRITE, FSYNC, FDSYNC, PREADV, PWRITEV = 0, 1, 2, 3, 7, 8
    SETUP, SUBMIT, GETEVENTS = {"x86_64": (206, 209, 208), "aarch64": (0, 2, 4)}[os.uname().machine]

    def __init__(self) -> None:
        self.area = ctypes.create_string_buffer(1 << 16)
        context = ctypes.c_ulong()
        assert LIBC.syscall(self.SETUP, 64, ctypes.byref(context)) == 0
        self.context = context

    def vector(self, lengths: List[int]) -> Any:
        """An iovec, all of whose entries are the same memory."""
        words = [word for length in lengths for word in (ctypes.addressof(self.area), length)]
        return (ctypes.c_uint64 * len(words))(*words)

    def submit(self, fd: int, *requests: Tuple[int, int, int, Any]) -> int:
        """Requests by opcode, offset, size or number of entries, and iovec; how many were taken, or -errno."""
        self.kept = [
            Iocb(
                opcode=opcode,
                fd=fd,
                offset=offset,
                size=size,
                buffer=0 if opcode in (self.FSYNC, self.FDSYNC) else ctypes.addressof(vector or self.area),
            )
            for opcode, offset, size, vector in requests
        ]
        pointers = (ctypes.c_void_p * len(requests))(*map(ctypes.addressof, self.kept))
        taken: int = LIBC.syscall(self.SUBMIT, self.context, ctypes.c_long(len(requests)), pointers)
        return taken if taken >= 0 else -ctypes.get_errno()

    def reap(self, count: int) -> None:
        events, wanted = ctypes.create_string_buffer(32 * count), ctypes.c_long(count)
        assert LIBC.syscall(self.GETEVENTS, self.context, wanted, wanted, events, None) == count

    def take(self, count: int) -> None:
        """As `reap`, out of the ring that the kernel shares with the process: without a system call."""
        head = (ctypes.c_uint32 * 8).from_address(self.context.value)  # struct aio_ring, fs/aio.c
        while (head[3] - head[2]) % head[1] < count:
            time.sleep(0.001)
        head[2] = (head[2] + count) % head[1]


SUBMISSIONS = 30


def asynchronous(path: Path) -> None:
    """All kinds of requests, many a call, with one call in three reaped without any."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(fd, 1 << 16)
    aio = Aio()
    short, long = aio.vector([100, 0, 1000]), aio.vector([7] * 20)
    for number in range(SUBMISSIONS):
        batch = [(Aio.PREAD, 512 * place, 512, None) for place in range(8)]
        batch += [(Aio.PREADV, 8192, 3, short), (Aio.PWRITEV, 4096, 20, long)]
        batch += [(Aio.PWRITE, 16384, 4096, None)] * 3 + [(Aio.FSYNC, 0, 0, None), (Aio.FDSYNC, 0, 0, None)]
        assert aio.submit(fd, *batch) == len(batch)
        (aio.reap if number % 3 else aio.take)(len(batch))
    assert aio.submit(fd, (Aio.PREADV, 0, TOO_MANY, aio.vector([1] * TOO_MANY))) == -errno.EINVAL
    assert aio.submit(fd, (Aio.PREAD, 0, 100, None), (99, 0, 0, None), (Aio.PREAD, 100, 100, None)) == 1
    aio.reap(1)
    assert aio.submit(1 << 20, (Aio.PWRITE, 0, 100, None)) == -errno.EBADF


def mistakes(place: Path) -> None:
    fd = os.open(place / "data", os.O_WRONLY | os.O_CREAT, 0o600)
    for size in (100, 5):
        with contextlib.suppress(OSError):
            os.pread(fd, size, 0)
    os.close(fd)
    for _ in range(CALLS):
        with contextlib.suppress(OSError):
            os.pwrite(fd, b"x", 0)
    with contextlib.suppress(OSError):
        os.open(place / "absent", os.O_RDONLY)


def threads_on_one_descriptor(path: Path) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def thread(number: int) -> None:
        for call in range(THREAD_CALLS):
            os.pwrite(fd, bytes(number + 1), (number * THREAD_CALLS + call) * 16)

    running = [threading.Thread(target=thread, args=(number,)) for number in range(THREADS)]
    for one in running:
        one.start()
    for one in running:
        one.join()


class Counted(NamedTuple):
    """What a form counted of all workloads in a directory, and how the kernel saw it."""

    form: Form
    place: Path
    profile: Profile
    span: Tuple[int, int]
    verified: Dict[str, int]
    ids: Dict[str, List[int]]


@pytest.fixture(scope="module", params=FORMS.values(), ids=list(FORMS))
def counted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Counted:
    form, place = request.param, tmp_path_factory.mktemp("counted")
    (place / DEEP).mkdir(parents=True)

    def work(_pause: Pause) -> None:
        mistakes(place)  # first, while no other file is open that would take the closed one's number
        blocks(place / "blocks")
        powers_of_two(place / "powers")
        huge_requests(place / "huge")
        vectors(place)
        threads_on_one_descriptor(place / "threads")
        asynchronous(place / "asynchronous")
        write_calls(place / DEEP / "data")

    before = time.time_ns()
    with Child(work) as child, form.session(comms=[b"iotr-nobody"]) as session:
        session.trace_process(child.pid, follow=True)
        ids = {
            "prog": [program.info().id for program in session.loaded.programs],
            "map": [made_map.id() for made_map in session.loaded.maps.values()],
        }
        verified = {program.name: program.info().verified_insns for program in session.loaded.programs}
        child.end()
        return Counted(form, place, finished(session), (before, time.time_ns()), verified, ids)


def test_nothing_is_lost(counted: Counted) -> None:
    assert nothing_lost(counted.profile)


def test_calls_bytes_runs_and_times(counted: Counted) -> None:
    path = counted.place / "blocks"
    file = file_of(counted.profile, path)
    whole, rest = divmod(CALLS, 3)
    assert data(counted.profile, path) == {
        "pwrite64": made([BLOCK] * CALLS),
        "pread64": made([BLOCK] * (CALLS + 2), [BLOCK] * CALLS + [0, 0]),
        "read": made([3 * BLOCK] * (whole + 2), [3 * BLOCK] * whole + [rest * BLOCK, 0]),
        "write": made([100]),
        "fsync": (1, 0, {}, {}, {}),
    }
    assert (file.opens, file.closes) == (2, 2)
    assert (file.bytes_written, file.bytes_synced, file.bytes_unsynced) == (CALLS * BLOCK + 100,) * 2 + (0,)
    assert file.bytes_read == 2 * CALLS * BLOCK
    assert (file.lowest_offset, file.highest_offset) == (0, CALLS * BLOCK - 1)
    assert file.bytes_between_syncs == histogram([CALLS * BLOCK + 100])
    assert file.sequential_write == histogram([CALLS * BLOCK, 100])
    assert file.sequential_read == histogram([CALLS * BLOCK, CALLS * BLOCK])
    for name, call in file.syscalls.items():
        assert name in ("open", "close") or sum(call.latency_ns.values()) == call.calls
    moments = [file.first_write_ns, file.first_read_ns, file.last_read_ns, file.last_write_ns, file.last_sync_ns]
    known = [moment for moment in moments if moment is not None]
    assert len(known) == 5 and known == sorted(known)
    assert counted.span[0] <= known[0] and known[-1] <= counted.span[1]


def test_every_bucket_begins_at_its_power_of_two(counted: Counted) -> None:
    assert data(counted.profile, counted.place / "powers") == {
        "pwrite64": made(BUCKET_SIZES),
        "pread64": made(BUCKET_SIZES, [min(size, 1000) for size in BUCKET_SIZES]),
    }


def test_requests_that_no_kernel_serves_whole(counted: Counted) -> None:
    """From 2 GiB on they are cut (MAX_RW_COUNT), and refused where no address range is so long."""
    errors = {"EFAULT": len(FAULTY_SIZES)}
    expected = made(CUT_SIZES + FAULTY_SIZES, [10] * len(CUT_SIZES), errors)
    assert data(counted.profile, counted.place / "huge") == {"pread64": expected}


def test_vectors_of_every_length_are_summed_exactly(counted: Counted) -> None:
    """Sums that are a power of two and one less: a byte too few or too many falls into another bucket."""
    for entries in VECTOR_LENGTHS:
        for total in VECTOR_SUMS:
            expected = {"writev": made([total]), "readv": made([total])}
            assert data(counted.profile, counted.place / f"{entries}-{total}") == expected, entries
    assert data(counted.profile, counted.place / "none") == {"writev": made([0]), "readv": made([0])}
    assert data(counted.profile, counted.place / "too many") == {"readv": made([1024], [], {"EINVAL": 1})}


def test_errors_go_to_their_file_or_to_none(counted: Counted) -> None:
    expected = {"pread64": made([100, 5], [], {"EBADF": 2})}
    assert data(counted.profile, counted.place / "data") == expected
    expected_of_none = {"open": {"ENOENT": 1}, "pwrite64": {"EBADF": CALLS}, "aio_pwrite": {"EBADF": 1}}
    assert counted.profile.unattributed == expected_of_none


def test_threads_on_one_file(counted: Counted) -> None:
    """With one call record by thread number for all, most threads have theirs elsewhere."""
    path = counted.place / "threads"
    sizes = [number + 1 for number in range(THREADS) for _ in range(THREAD_CALLS)]
    assert data(counted.profile, path) == {"pwrite64": made(sizes)}
    assert file_of(counted.profile, path).highest_offset == (THREADS * THREAD_CALLS - 1) * 16 + THREADS - 1


def test_requests_that_complete_later(counted: Counted) -> None:
    path, times = counted.place / "asynchronous", SUBMISSIONS
    file = file_of(counted.profile, path)
    assert data(counted.profile, path) == {
        "aio_pread": made([512] * 8 * times + [100]),
        "aio_preadv": made([1100] * times + [1024], [1100] * times, {"EINVAL": 1}),
        "aio_pwrite": made([4096] * 3 * times),
        "aio_pwritev": made([140] * times),
        "aio_fsync": (times, 0, {}, {}, {}),
        "aio_fdsync": (times, 0, {}, {}, {}),
    }
    # In the order of submission: the reads from 0, the vectored one behind them, the one of 100 bytes at the end.
    assert file.sequential_read == histogram([8 * 512, 1100] * times + [100])
    assert file.sequential_write == histogram([140, 4096, 4096, 4096] * times)
    assert file.rewrites == 2 * times
    assert sum(file.bytes_between_syncs.values()) == 2 * times
    assert counted.profile.coverage["aio"] == "full"


def test_a_deep_path_is_walked_by_several_programs(counted: Counted) -> None:
    assert data(counted.profile, counted.place / DEEP / "data") == {"pwrite64": made([BLOCK] * CALLS)}


def test_the_verifier_needs_few_steps(counted: Counted) -> None:
    """4.14 gives up after 131,072 (BPF_COMPLEXITY_LIMIT_INSNS), 5.2 after 1,000,000; both take no fewer than this."""
    limit = 1_000_000 if counted.form.kernel and counted.form.kernel >= (5, 2) else 131072
    assert 0 < max(counted.verified.values()) < limit, counted.verified


NEXT_ID = {"prog": 11, "map": 12}  # BPF_*_GET_NEXT_ID, uapi/linux/bpf.h


def alive(kind: str, number: int) -> bool:
    """Whether there is a program or map with that id.

    The next id is asked for, as opening a prog_array that is being cleared would keep it for good: each last close
    takes a reference, and only the first one's is given back (prog_array_map_clear(), kernel/bpf/arraymap.c).
    """
    attribute = (ctypes.c_uint32 * 3)(number - 1, 0, 0)  # start_id, next_id, open_flags
    call = (BPF_NUMBERS[os.uname().machine], NEXT_ID[kind], ctypes.byref(attribute), ctypes.sizeof(attribute))
    if LIBC.syscall(*call) == 0:
        return bool(attribute[1] == number)
    assert ctypes.get_errno() == errno.ENOENT
    return False


def test_nothing_is_left_in_the_kernel(counted: Counted) -> None:
    left = [(kind, number) for kind, numbers in counted.ids.items() for number in numbers]
    deadline = time.monotonic() + 60
    while left and time.monotonic() < deadline:  # the kernel takes them apart after a grace period
        left = [(kind, number) for kind, number in left if alive(kind, number)]
        time.sleep(0.05)
    assert left == []


def test_what_is_there_is_found_alive() -> None:
    """The test above would pass on anything if it were not."""
    with RAW.session() as session:
        assert all(alive("map", made_map.id()) for made_map in session.loaded.maps.values())
        assert all(alive("prog", program.info().id) for program in session.loaded.programs)


@every_form
def test_a_full_map_loses_what_it_says(form: Form, tmp_path: Path) -> None:
    def work() -> None:
        for number in range(CALLS):
            write_calls(tmp_path / str(number), number + 1)

    profile = form.trace(work, max_files=8)
    calls_made = sum(range(1, CALLS + 1)) + 2 * CALLS  # with an open and a close each
    counted = sum(file.calls for file in profile.files)
    assert 0 < counted < calls_made
    assert counted + profile.lost["calls"] == calls_made
    assert len(profile.files) + profile.lost["files"] == CALLS
    for file in profile.files:
        sizes = file.syscalls["pwrite64"]
        assert sizes.calls <= int(os.path.basename(file.path)) + 1
        assert sum(sizes.requested.values()) == sum(sizes.completed.values()) == sizes.calls


# -- the kernel's view -------------------------------------------------------------------------------------------------


@both_ways
def test_bpftool_shows_fields_and_notes(form: Form, tmp_path: Path) -> None:
    with Child(lambda _pause: write_calls(tmp_path / "data")) as child, form.session() as session:
        session.trace_process(child.pid, follow=True)
        child.end()
        states = needs.bpftool("map", "dump", "id", session.loaded.maps["states"].id())
        assert needs.bpftool("map", "show", "id", session.loaded.maps["states"].id())["name"] == "states"
        shown = [element["formatted"]["value"] for element in states]
        assert [(state["opens"], state["closes"], state["unsynced"]) for state in shown] == [(1, 1, CALLS * BLOCK)]
        (program,) = [program for program in session.loaded.programs if program.name == "exit"]
        dumped = needs.bpftool("prog", "dump", "xlated", "id", program.info().id, "linum")
        notes = {line.get("src", "") for line in dumped}
        assert any("the result" in note for note in notes)


@both_ways
def test_two_sessions_do_not_disturb_each_other(form: Form, tmp_path: Path) -> None:
    """The first ends while the second goes on; both see the process that both trace."""

    def work(pause: Pause) -> None:
        write_calls(tmp_path / "early", 3)
        pause()
        write_calls(tmp_path / "late", 5)

    with Child(work) as shared, Child(work) as other:
        with form.session() as second:
            with form.session() as first:
                first.trace_process(shared.pid, follow=True)
                second.trace_process(shared.pid, follow=True)
                second.trace_process(other.pid, follow=True)
                shared.step()
                other.step()
                one = finished(first)
            shared.end()
            other.end()
            two = finished(second)
    assert nothing_lost(one) and nothing_lost(two)
    assert data(one, tmp_path / "early") == {"pwrite64": made([BLOCK] * 3)}
    assert paths(one, tmp_path) == ["early"]
    assert data(two, tmp_path / "early") == {"pwrite64": made([BLOCK] * 6)}
    assert data(two, tmp_path / "late") == {"pwrite64": made([BLOCK] * 10)}


# -- whom --------------------------------------------------------------------------------------------------------------


def name_thread(name: bytes) -> None:
    """The calling thread's own name, which for the first thread is the process's."""
    assert LIBC.prctl(PR_SET_NAME, name, 0, 0, 0) == 0


def in_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def by_name(form: Form, work: Callable[[], None], *, follow: bool = False) -> Profile:
    """The profile of the processes called iotr-wanted while a child works."""
    with Child(lambda _pause: work()) as child, form.session(comms=[b"iotr-wanted"], follow=follow) as session:
        session.trace_running()
        child.end()
        return finished(session)


@both_ways
def test_a_process_is_known_by_its_first_threads_name(form: Form, tmp_path: Path) -> None:
    def renamed(name: bytes, path: Path) -> None:
        name_thread(name)
        write_calls(path)

    def unwanted() -> None:
        name_thread(b"iotr-unwanted")
        in_thread(lambda: renamed(b"iotr-wanted", tmp_path / "thread of unwanted"))
        write_calls(tmp_path / "unwanted")

    def work() -> None:
        in_child(unwanted)
        name_thread(b"iotr-wanted")
        in_thread(lambda: renamed(b"iotr-thread", tmp_path / "thread of wanted"))

    assert paths(by_name(form, work), tmp_path) == ["thread of wanted"]


@both_ways
def test_a_process_that_renames_itself_comes_and_goes(form: Form, tmp_path: Path) -> None:
    def work() -> None:
        for number, name in enumerate([b"iotr-other", b"iotr-wanted", b"iotr-wanted2", b"iotr-wanted", b"x"]):
            name_thread(name)
            write_calls(tmp_path / f"{number} as {name.decode()}")

    profile = by_name(form, work)
    assert nothing_lost(profile)
    assert paths(profile, tmp_path) == ["1 as iotr-wanted", "3 as iotr-wanted"]


@both_ways
def test_a_thread_that_renames_the_process(form: Form, tmp_path: Path) -> None:
    """By /proc/PID/comm, whose owner's threads may write it: the event's current task is not the one renamed."""

    def work() -> None:
        def rename() -> None:
            with open(f"/proc/{os.getpid()}/comm", "wb", buffering=0) as comm:
                comm.write(b"iotr-wanted")

        write_calls(tmp_path / "before")
        in_thread(rename)
        write_calls(tmp_path / "after")

    assert paths(by_name(form, work), tmp_path) == ["after"]


@both_ways
def test_a_name_that_comes_and_goes_with_exec(form: Form, tmp_path: Path) -> None:
    tool = needs.program("dd")
    for name in ("iotr-wanted", "iotr-other"):
        (tmp_path / name).symlink_to(tool)

    def work() -> None:
        def run(name: str) -> None:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            words = [name, "if=/dev/zero", f"of={tmp_path}/by {name}", "bs=512", f"count={CALLS}"]
            os.execv(str(tmp_path / name), words)

        in_child(lambda: run("iotr-wanted"))
        name_thread(b"iotr-wanted")
        in_child(lambda: run("iotr-other"))

    profile = by_name(form, work)
    assert nothing_lost(profile)
    assert data(profile, tmp_path / "by iotr-wanted") == {"write": made([512] * CALLS)}
    assert "by iotr-other" not in paths(profile, tmp_path)


@both_ways
@pytest.mark.parametrize("follow", [False, True], ids=["no-follow", "follow"])
def test_children_of_a_named_process(form: Form, follow: bool, tmp_path: Path) -> None:
    """A child inherits the name, and so is wanted itself; what it is after a change of name depends on `follow`."""

    def work() -> None:
        def child() -> None:
            write_calls(tmp_path / "child")
            name_thread(b"iotr-other")
            write_calls(tmp_path / "renamed child")
            in_child(lambda: write_calls(tmp_path / "grandchild"))

        name_thread(b"iotr-wanted")
        in_child(child)
        name_thread(b"iotr-other")
        in_child(lambda: write_calls(tmp_path / "child of left"))

    more = ["grandchild", "renamed child"] if follow else []
    profile = by_name(form, work, follow=follow)
    assert nothing_lost(profile)
    assert paths(profile, tmp_path) == ["child", *more]


@both_ways
def test_globs_choose_names(form: Form, tmp_path: Path) -> None:
    def work(_pause: Pause) -> None:
        for name in (b"iotr-a1", b"iotr-b1", b"iotr-c22", b"iotr-d1", b"\xffx", b"iotr-15-letters"):
            name_thread(name)
            write_calls(tmp_path / os.fsdecode(name))

    comms = [b"iotr-[ab]?", b"iotr-c*2", b"\xff*", b"iotr-15-letters"]
    with Child(work) as child, form.session(comms=comms) as session:
        session.trace_running()
        child.end()
        profile = finished(session)
    wanted = [b"iotr-15-letters", b"iotr-a1", b"iotr-b1", b"iotr-c22", b"\xffx"]
    assert [os.fsencode(name) for name in paths(profile, tmp_path)] == sorted(wanted)


@both_ways
@pytest.mark.parametrize("follow", [False, True], ids=["no-follow", "follow"])
def test_a_process_that_runs_already_with_its_children(form: Form, follow: bool, tmp_path: Path) -> None:
    def work(pause: Pause) -> None:
        def grandchild(pause: Pause) -> None:
            write_calls(tmp_path / "grandchild")
            in_child(lambda: write_calls(tmp_path / "later one"))

        with Child(grandchild) as below:
            pause()
            write_calls(tmp_path / "itself")
            in_thread(lambda: write_calls(tmp_path / "thread"))
            below.end()
        in_child(lambda: write_calls(tmp_path / "child"))

    with Child(work) as child:
        child.step()
        with form.session(pids=[child.pid], follow=follow) as session:
            session.trace_process(child.pid, follow=follow)
            session.trace_running()
            child.end()
            profile = finished(session)
    assert nothing_lost(profile)
    descent = ["child", "grandchild", "later one"] if follow else []
    assert paths(profile, tmp_path) == sorted(["itself", "thread", *descent])


@both_ways
def test_everything_but_the_tracer(form: Form, tmp_path: Path) -> None:
    with Child(lambda _pause: write_calls(tmp_path / "theirs")) as child:
        with form.session(everything=True, max_files=16384) as session:
            child.end()
            write_calls(tmp_path / "ours")
            profile = finished(session)
    assert paths(profile, tmp_path) == ["theirs"]
    assert data(profile, tmp_path / "theirs") == {"pwrite64": made([BLOCK] * CALLS)}


@both_ways
def test_a_process_number_is_not_inherited(form: Form, tmp_path: Path) -> None:
    """Once a target has died, its place among the targets is free."""
    with form.session() as session:
        with Child(lambda _pause: in_thread(lambda: write_calls(tmp_path / "data"))) as child:
            session.trace_process(child.pid, follow=True)
            child.end()
        assert list(session.loaded.maps["targets"].items()) == []
        assert data(finished(session), tmp_path / "data") == {"pwrite64": made([BLOCK] * CALLS)}


@every_form
def test_who_was_found_to_be_no_target_is_looked_at_again(form: Form, tmp_path: Path) -> None:
    """A process and its threads make calls before it becomes a target, after, and once it is none any more."""

    def work(pause: Pause) -> None:
        own, fd = (os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in ("data", "other"))
        for stage in range(5):
            name_thread(b"iotr-wanted" if stage in (2, 3) else b"iotr-unwanted")
            for number in range(CALLS):
                os.pwrite(own, bytes(BLOCK), number)
            in_thread(lambda: [os.pwrite(fd, bytes(BLOCK), number) for number in range(CALLS)])
            in_child(functools.partial(write_calls, tmp_path / f"child {stage}"))
            pause()

    with Child(work) as child, form.session(comms=[b"iotr-wanted"], follow=True) as session:
        session.trace_running()
        for _ in range(5):
            child.step()
        profile = finished(session)
        child.end()
    assert nothing_lost(profile)
    for name in ("data", "other"):
        assert data(profile, tmp_path / name) == {"pwrite64": made([BLOCK] * CALLS * 2)}
    assert paths(profile, tmp_path) == ["child 2", "child 3", "data", "other"]


# -- names -------------------------------------------------------------------------------------------------------------


@both_ways
def test_a_rename_that_failed_is_none(form: Form, tmp_path: Path) -> None:
    """Nor is it taken for one when a call that nobody traces succeeds afterwards."""
    path = tmp_path / "data"

    def work() -> None:
        write_calls(path)
        old, absent = (ctypes.create_string_buffer(os.fsencode(name)) for name in (path, tmp_path / "no" / "where"))
        not_a_directory = ctypes.create_string_buffer(os.fsencode(path) + b"/")
        rename, unlink, harmless = LIBC.rename, LIBC.unlink, LIBC.sched_yield
        results = [rename(old, absent), harmless(), unlink(not_a_directory), harmless()]
        assert results == [-1, 0, -1, 0]

    file = file_of(form.trace(work), path)
    assert (file.renamed_to, file.deleted) == (None, False)
