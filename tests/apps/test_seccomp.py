"""Calls that do not come to the kernel's function: a filter of seccomp or a tracer answers them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests import needs

from . import observe
from .traced import Traced, data_calls, histogram, made, trace

pytestmark = needs.root

# Filters: answer(call=value) for the system calls that are named, everything else is allowed. Their numbers by machine.
FILTERS = """
    import platform, struct
    X86 = platform.machine() == "x86_64"
    NUMBERS = {name: numbers[not X86] for name, numbers in dict(
        read=(0, 63), write=(1, 64), close=(3, 57), pread64=(17, 67), readv=(19, 65), sendfile=(40, 71), fsync=(74, 82),
        openat=(257, 56), copy_file_range=(326, 285), unlinkat=(263, 35),
    ).items()}
    ERRNO, TRAP, NOTIFY = 0x50000, 0x30000, 0x7FC00000

    class Program(ctypes.Structure):
        _fields_ = [("count", ctypes.c_ushort), ("code", ctypes.c_char_p)]

    def answer(**calls):
        code = [(0x20, 0, 0, 0)]
        for name, value in calls.items():
            code += [(0x15, 0, 1, NUMBERS[name]), (0x06, 0, 0, value)]
        code.append((0x06, 0, 0, 0x7FFF0000))
        program = Program(len(code), b"".join(struct.pack("<HBBI", *line) for line in code))
        assert libc.prctl(38, 1, 0, 0, 0) == 0
        notified = any(value == NOTIFY for value in calls.values())
        handle = libc.syscall(317 if X86 else 277, L(1), L(8 if notified else 0), ctypes.byref(program))
        if handle < 0:
            lacks("filters of seccomp that notify" if notified else "filters of seccomp")
        return handle

    libc.write.argtypes = libc.read.argtypes = [ctypes.c_int, P, L]
    libc.pread.argtypes = [ctypes.c_int, P, L, L]
    buffer = ctypes.create_string_buffer(4096)
    at = ctypes.addressof(buffer)
"""


@pytest.fixture(params=["raw", "perf", "4.14"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A way in, or the kernel that is pretended."""
    form = str(request.param)
    if form == "4.14":
        monkeypatch.setenv("PRETEND_KERNEL", form)
    return form


def traced(place: Path, form: str, text: str, *options: str) -> Traced:
    found = trace(place, FILTERS + text, [*([] if form == "4.14" else ["--attach", form]), *options])
    if found.lacks:
        needs.impossible(f"this kernel lacks {found.lacks}")
    return found


def answered(found: Traced) -> int:
    """How many calls the profile says a filter has answered."""
    told = re.search(r"a filter answered: (\d+)", found.document["coverage"]["seccomp"])
    return int(told.group(1)) if told else 0


def test_errors(place: Path, form: str) -> None:
    found = traced(
        place,
        form,
        """
    fd, other = create("data", 1000), create("other", 100)
    vector = ctypes.create_string_buffer(struct.pack("QQQQ", at, 100, at, 200))
    assert libc.write(fd, at, 100) == 100
    os.fsync(fd)
    answer(fsync=ERRNO | 1, write=ERRNO | 28, pread64=ERRNO | 5, readv=ERRNO | 4, close=ERRNO | 1,
           copy_file_range=ERRNO | 18, sendfile=ERRNO | 11)
    for _ in range(5):
        refused(errno.EPERM, libc.fsync, fd)
    for _ in range(3):
        refused(errno.ENOSPC, libc.write, fd, at, 3000)
    refused(errno.EIO, libc.pread, fd, at, 64, 128)
    refused(errno.EINTR, libc.readv, fd, vector, 2)
    refused(errno.EXDEV, libc.syscall, L(326 if X86 else 285), fd, None, other, None, L(50), 0)
    refused(errno.EAGAIN, libc.sendfile, other, fd, None, L(70))
    refused(errno.EPERM, libc.close, fd)
    os.fdatasync(fd)
    """,
    )
    data, other = found["data"], found["other"]
    calls = data_calls(data)
    assert calls == {
        "write": made(4, 100, {64: 1, 2048: 3}, {64: 1}, {"ENOSPC": 3}),
        "pread64": made(1, 0, {64: 1}, {}, {"EIO": 1}),
        "readv": made(1, 0, {256: 1}, {}, {"EINTR": 1}),
        "copy_file_range_read": made(1, 0, {32: 1}, {}, {"EXDEV": 1}),
        "sendfile_read": made(1, 0, {64: 1}, {}, {"EAGAIN": 1}),
    }
    assert data_calls(other) == {
        "copy_file_range_write": made(1, 0, {32: 1}, {}, {"EXDEV": 1}),
        "sendfile_write": made(1, 0, {64: 1}, {}, {"EAGAIN": 1}),
    }
    syncs = data["syscalls"]["fsync"]
    assert (syncs["calls"], syncs["errors"], sum(syncs["latency_ns"].values())) == (6, {"EPERM": 5}, 1)
    assert data["syscalls"]["close"]["errors"] == {"EPERM": 1}
    assert (data["opens"], data["closes"], data["bytes_synced"], data["bytes_unsynced"]) == (1, 0, 100, 0)
    assert histogram(data, "sequential_write") == {64: 1}
    assert answered(found) == 13


def test_on_no_file(place: Path, form: str) -> None:
    """An open that is refused, a descriptor that does not exist, and one of something that is no regular file."""
    found = traced(
        place,
        form,
        """
    into, out = os.pipe()
    answer(openat=ERRNO | 13, fsync=ERRNO | 1, write=ERRNO | 5)
    refused(errno.EACCES, os.open, "data", RW)
    refused(errno.EPERM, libc.fsync, 999)
    refused(errno.EIO, libc.write, out, at, 10)
    """,
    )
    assert found.names == []
    unattributed = found.document["unattributed"]
    assert (unattributed["open"]["EACCES"], unattributed["fsync"]) == (1, {"EPERM": 1})
    assert "write" not in unattributed


def test_success(place: Path, form: str) -> None:
    """Some filters suppress syncs in this way."""
    found = traced(
        place,
        form,
        """
    fd = create("data")
    os.write(fd, bytes(100))
    answer(fsync=ERRNO)
    for _ in range(3):
        os.fsync(fd)
    """,
    )
    assert found["data"]["syscalls"]["fsync"]["calls"] == 3
    assert found["data"]["syscalls"]["fsync"]["errors"] == {}
    assert histogram(found["data"], "bytes_between_syncs") == {64: 1, 0: 2}


@pytest.mark.parametrize("options", [(), ("--all",)])
def test_the_first_calls_of_a_thread_and_of_a_process(place: Path, form: str, options: tuple[str, ...]) -> None:
    """The thread's function is fsync itself, and the process calls nothing else before."""
    found = traced(
        place,
        form,
        """
    fd = create("data")
    answer(fsync=ERRNO | 1)
    thread = ctypes.c_ulong()
    libc.pthread_create.argtypes = [P, P, P, P]
    libc.pthread_join.argtypes = [ctypes.c_ulong, P]
    for _ in range(20):
        assert libc.pthread_create(ctypes.byref(thread), None, ctypes.cast(libc.fsync, P), fd) == 0
        assert libc.pthread_join(thread, None) == 0
    for _ in range(10):
        if libc.fork() == 0:
            libc.fsync(fd)
            libc._exit(0)
        os.wait()
    """,
        *options,
    )
    syncs = found["data"]["syscalls"]["fsync"]
    assert (syncs["calls"], syncs["errors"]) == (30, {"EPERM": 30})


def test_after_an_exec(place: Path, form: str) -> None:
    found = traced(
        place,
        form,
        """
    if len(sys.argv) == 1:
        answer(fsync=ERRNO | 1)
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-B", "workload.py", "again"])
    refused(errno.EPERM, libc.fsync, create("data"))
    """,
    )
    assert found["data"]["syscalls"]["fsync"]["errors"] == {"EPERM": 1}


def test_a_supervisor_answers(place: Path, form: str) -> None:
    """5.0: it says what the call returns, or has the kernel go on with it (5.5)."""
    found = traced(
        place,
        form,
        """
    fd = create("data")
    os.set_inheritable(fd, True)
    def supervise(handle):
        for error, value, go_on in ((0, 7, 0), (-5, 0, 0), (0, 0, 1)):
            received = ctypes.create_string_buffer(80)
            assert libc.ioctl(handle, ctypes.c_ulong(0xC0502100), received) == 0
            identity = struct.unpack_from("Q", received)[0]
            reply = ctypes.create_string_buffer(struct.pack("QqiI", identity, value, error, go_on))
            if libc.ioctl(handle, ctypes.c_ulong(0xC0182101), reply) != 0:
                os._exit(3)
    handle = answer(pread64=NOTIFY)
    thread = threading.Thread(target=supervise, args=(handle,))
    thread.start()
    assert libc.pread(fd, at, 64, 0) == 7
    refused(errno.EIO, libc.pread, fd, at, 64, 0)
    assert libc.pread(fd, at, 64, 0) == 0
    thread.join()
    """,
    )
    assert data_calls(found["data"])["pread64"] == made(3, 7, {64: 3}, {4: 1, 0: 1}, {"EIO": 1})
    assert answered(found) == 2


def test_what_becomes_a_signal_is_told_but_not_counted(place: Path, form: str) -> None:
    """The number of write is 1, that of read 0: what the registers are put back to looks like a result."""
    found = traced(
        place,
        form,
        """
    fd = create("data", 100)
    signals = []
    HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)
    handler = HANDLER(lambda number: signals.append(number))
    libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, HANDLER], P
    libc.signal(signal.SIGSYS, handler)
    answer(write=TRAP, read=TRAP, fsync=TRAP)
    libc.write(fd, at, 100)
    libc.read(fd, at, 100)
    libc.fsync(fd)
    assert signals == [signal.SIGSYS] * 3
    os.pread(fd, 10, 0)
    """,
    )
    assert data_calls(found["data"]) == {"pread64": made(1, 10, {8: 1})}
    assert "fsync" not in found["data"]["syscalls"]
    assert found.document["coverage"]["seccomp"] == "partial: calls that a filter made a SIGSYS of are not counted: 3"


@needs.programs("strace")
@pytest.mark.parametrize("way", [[], ["--seccomp-bpf"]])
def test_what_a_tracer_takes_away_is_told(place: Path, way: list[str]) -> None:
    """strace gives such a call the number -1, and its result once the kernel has shown it."""
    if os.environ.get("PRETEND_KERNEL") == "4.14":
        needs.impossible("4.14 has no raw tracepoints")
    listed = subprocess.run(["strace", "--help"], capture_output=True, text=True).stdout
    if way and way[0] not in listed:
        needs.impossible(f"this strace has no {way[0]}")
    script = """
import os
fd = os.open("data", os.O_CREAT | os.O_RDWR)
for _ in range(4):
    try:
        os.fsync(fd)
    except OSError as error:
        assert error.errno == 5
"""
    inject = ["-qq", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO", "-o", "/dev/null"]
    command = observe.Command(["strace", "-f", *way, *inject, "python3", "-I", "-S", "-c", script], place)
    found = observe.alone(command, ["--attach", "raw"])
    assert found.status == 0, found.stderr
    assert found.document["coverage"]["ptrace"] == "partial: calls that a tracer took away are not counted: 4"
    (data,) = [file for file in found.document["files"] if observe.path_of(file) == bytes(place / "data")]
    assert "fsync" not in data["syscalls"]


def test_a_call_under_way_when_its_process_becomes_a_target_is_not_taken_for_one(place: Path, form: str) -> None:
    """A write waits for a page that has yet to be provided, while its process takes a name that is traced, again."""
    found = traced(
        place,
        form,
        """
    def process():
        libc.syscall.argtypes = [L, P, L, L, L, L]
        handle = libc.syscall(323 if X86 else 282, None, 0, 0, 0, 0)
        libc.syscall.argtypes = None
        if handle < 0:
            lacks("userfaultfd")
        def control(request, *values):
            packed = ctypes.create_string_buffer(struct.pack("Q" * len(values), *values))
            assert libc.ioctl(handle, ctypes.c_ulong(request), packed) == 0
        control(0xC018AA3F, 0xAA, 0, 0)
        page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        missing = ctypes.addressof(ctypes.c_char.from_buffer(page))
        control(0xC020AA00, missing, 4096, 1, 0)
        fd = create("data")
        answer(fsync=ERRNO | 1)
        def work():
            done.append(libc.pread(fd, at, 10, 0))
            traced.set()
            left.wait()
            done.append(libc.write(fd, missing, 100))
            done.append(libc.fsync(fd))
        done, traced, left = [], threading.Event(), threading.Event()
        thread = threading.Thread(target=work)
        assert libc.prctl(15, b"iotr-wanted") == 0
        thread.start()
        traced.wait()
        assert libc.prctl(15, b"iotr-other") == 0
        left.set()
        assert len(os.read(handle, 32)) == 32
        assert libc.prctl(15, b"iotr-wanted") == 0
        control(0xC028AA03, missing, at, 4096, 0, 0)
        thread.join()
        assert done == [0, 100, -1]
    child(process)
    """,
        "--comm",
        "iotr-wanted",
        "--no-follow",
    )
    syscalls = found["data"]["syscalls"]
    assert syscalls["pread64"]["calls"] == 1
    assert "write" not in syscalls
    assert syscalls["fsync"]["errors"] == {"EPERM": 1}
