"""Sessions on the running kernel: the same counts by every way in and with the abilities of every kernel."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

import pytest

from tests import needs
from tests.kernel.sessions import (
    BLOCK,
    CALLS,
    FORMS,
    RAW,
    Child,
    Form,
    Pause,
    Profile,
    both_ways,
    data,
    every_form,
    file_of,
    finished,
    histogram,
    made,
    nothing_lost,
    paths,
    write_calls,
)

BPF_NUMBERS = {"x86_64": 321, "aarch64": 280}  # of bpf(2), asm/unistd.h
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.pread64.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64]

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
        assert sum(call.latency_ns.values()) + call.untimed_calls == call.calls, name
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
        (program,) = [program for program in session.loaded.programs if program.name == "exit_close"]
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
