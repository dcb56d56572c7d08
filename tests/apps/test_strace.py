"""The yardstick itself: strace's totals against arithmetic, and every comparison proved able to fail."""

from __future__ import annotations

import copy
import os
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List

import pytest

from tests import needs

from . import observe
from .compare import disagreements
from .strace import Call, FileCalls, Totals, bucket
from .strace_line import Descriptor, StraceError, parse_line


def script(place: Path, text: str) -> List[str]:
    (place / "workload.py").write_text(textwrap.dedent(text))
    return [sys.executable, "-I", "-S", str(place / "workload.py")]


def counted(calls: int, size: int, *counters: Dict[Any, int], unreadable: int = 0) -> Call:
    """A data call's totals: errors, requested and completed sizes."""
    errors, requested, completed = (Counter(counter) for counter in counters)
    return Call(calls, size, errors, requested, completed, unreadable)


def traced(place: Path, text: str) -> Totals:
    return observe.strace_alone(observe.Command(script(place, text), place))


@pytest.mark.parametrize(
    ("value", "lower"), [(0, 0), (1, 1), (2, 2), (3, 2), (4095, 2048), (4096, 4096), (2**64 - 1, 2**63)]
)
def test_buckets_are_powers_of_two(value: int, lower: int) -> None:
    assert bucket(value) == lower


def test_a_path_is_read_from_its_bytes_alone() -> None:
    escaped = "".join(f"\\x{byte:02x}" for byte in b'/a/b>, "(deleted)\n\xff')
    line = parse_line(f'pread64(7<{escaped}>(deleted), ""..., 4096, 0) = 12')
    assert line is not None and line.name == "pread64" and line.result == 12
    assert line.descriptor() == Descriptor(True, b'/a/b>, "(deleted)\n\xff', True)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("close(3<\\x70\\x69\\x70\\x65\\x3a\\x5b\\x31\\x5d>) = 0", Descriptor(True, None)),
        ("close(3<\\x2f\\x64<char 1:3>>) = 0", Descriptor(True, None)),
        ("close(3<\\x2f\\x6d\\x65\\x6d\\x66\\x64\\x3a\\x78>(deleted)) = 0", Descriptor(True, None)),
        ("close(99) = -1 EBADF (Bad file descriptor)", Descriptor(False, None)),
        ("close(3<\\x2f\\x78>) = 0", Descriptor(True, b"/x")),
    ],
)
def test_descriptors(text: str, where: Descriptor) -> None:
    line = parse_line(text)
    assert line is not None
    assert line.descriptor() == where


def test_a_killed_call_has_no_result() -> None:
    for text in ("fsync(3<\\x2f\\x78>) = ?", "fsync(3<\\x2f\\x78> <unfinished ...>"):
        line = parse_line(text)
        assert line is not None and line.result is None and line.descriptor().path == b"/x"


def test_an_unknown_line_is_an_error() -> None:
    with pytest.raises(StraceError):
        parse_line("what(is this")


@needs.root
@needs.programs("strace")
def test_twenty_three_reads(place: Path) -> None:
    totals = traced(
        place,
        """
        import os
        fd = os.open("data", os.O_RDWR | os.O_CREAT, 0o644)
        os.write(fd, bytes(23 * 4096))
        for block in range(23):
            assert len(os.pread(fd, 4096, block * 4096)) == 4096
        assert os.pread(fd, 4096, 23 * 4096) == b""
        os.fsync(fd)
        os.fdatasync(fd)
        os.close(fd)
        """,
    )
    assert totals.files[bytes(place / "data")].calls == {
        "open": Call(calls=1),
        "write": counted(1, 94208, {}, {65536: 1}, {65536: 1}),
        "pread64": counted(24, 94208, {}, {4096: 24}, {4096: 23, 0: 1}),
        "fsync": Call(calls=1),
        "fdatasync": Call(calls=1),
        "close": Call(calls=1),
    }


@needs.root
@needs.programs("strace")
def test_iovecs_of_1024_entries(place: Path) -> None:
    totals = traced(
        place,
        """
        import ctypes, errno, os
        fd = os.open("data", os.O_RDWR | os.O_CREAT, 0o644)
        vector = [bytearray(7) for _ in range(1024)]
        assert os.pwritev(fd, vector, 100) == 7168
        assert os.preadv(fd, vector, 100 + 7168 - 13) == 13
        assert os.readv(fd, vector) == 7168
        for call, at in ((os.preadv, -5), (os.pwritev, -5)):
            try:
                call(fd, vector, at)
            except OSError as error:
                assert error.errno == errno.EINVAL
        libc = ctypes.CDLL(None)
        assert libc.readv(fd, ctypes.c_void_p(8), 3) == -1
        """,
    )
    calls = totals.files[bytes(place / "data")].calls
    read, write = (call for key, call in sorted(calls.items()) if key.startswith(("pread", "pwrite")))
    assert read == counted(2, 13, {"EINVAL": 1}, {4096: 2}, {8: 1})
    assert write == counted(2, 7168, {"EINVAL": 1}, {4096: 2}, {4096: 1})
    assert calls["readv"] == counted(2, 7168, {"EFAULT": 1}, {4096: 1}, {4096: 1}, unreadable=1)


@needs.root
@needs.programs("strace")
def test_what_is_no_regular_file_is_left_out(place: Path) -> None:
    totals = traced(
        place,
        """
        import os, socket
        reader, writer = os.pipe()
        os.mkdir("sub")
        os.mkfifo("fifo")
        pair = socket.socketpair()
        fds = [os.open(".", os.O_TMPFILE | os.O_RDWR), os.memfd_create("memory"), os.open("/dev/null", os.O_RDWR),
               os.open("fifo", os.O_RDWR),
               writer, *[end.fileno() for end in pair]]
        for fd in fds:
            os.write(fd, b"x" * 10)
        os.read(os.open("/proc/self/stat", os.O_RDONLY), 10)
        for name in ("sub", "."):
            try:
                os.read(os.open(name, os.O_RDONLY), 10)
            except IsADirectoryError:
                pass
        os.rmdir("sub")
        for call in (lambda: os.read(99, 1), lambda: os.write(99, b""), lambda: os.close(99),
                     lambda: os.open("absent", 0)):
            try:
                call()
            except OSError:
                pass
        """,
    )
    inside = {
        path
        for path in totals.files
        if not path.startswith((b"/usr/", b"/lib", b"/etc/", os.fsencode(sys.base_prefix), os.fsencode(sys.prefix)))
    }
    assert inside == {bytes(place / "workload.py")}
    for key in ("read", "write", "close"):
        assert totals.unattributed[key] == {"EBADF": 1}
    assert totals.unattributed["open"]["ENOENT"] >= 1


@needs.root
@needs.programs("strace")
def test_copies_count_on_both_sides(place: Path) -> None:
    totals = traced(
        place,
        """
        import os
        source = os.open("source", os.O_RDWR | os.O_CREAT, 0o644)
        target = os.open("target", os.O_RDWR | os.O_CREAT, 0o644)
        os.write(source, bytes(1000))
        assert os.sendfile(target, source, 0, 700) == 700
        assert os.copy_file_range(source, target, 5000, 900, 0) == 100
        reader, out = os.pipe()
        assert os.splice(source, out, 300, 0) == 300
        os.write(out, b"not a file")
        """,
    )
    source, target = totals.files[bytes(place / "source")].calls, totals.files[bytes(place / "target")].calls
    assert source["sendfile_read"] == target["sendfile_write"] == counted(1, 700, {}, {512: 1}, {512: 1})
    assert source["copy_file_range_read"] == counted(1, 100, {}, {4096: 1}, {64: 1})
    assert target["copy_file_range_write"] == source["copy_file_range_read"]
    assert source["splice_read"] == counted(1, 300, {}, {256: 1}, {256: 1})
    assert "splice_write" not in source and "write" not in target


@needs.root
@needs.programs("strace")
def test_processes_threads_and_renames(place: Path) -> None:
    totals = traced(
        place,
        """
        import os, threading
        os.makedirs("one/two")
        def work(name):
            fd = os.open(name, os.O_RDWR | os.O_CREAT, 0o644)
            for _ in range(100):
                os.write(fd, bytes(10))
            os.close(fd)
        threads = [threading.Thread(target=work, args=("shared",)) for _ in range(3)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        for _ in range(4):
            if os.fork() == 0:
                os.chdir("one")
                work("two/file")
                os.rename("two/file", "two/moved")
                os._exit(0)
            os.wait()
        os.rename("one", "uno")
        """,
    )
    assert totals.files[bytes(place / "shared")].of("write") == counted(300, 3000, {}, {8: 300}, {8: 300})
    assert totals.files[bytes(place / "one/two/file")].of("write").calls == 400
    one = bytes(place / "one")
    assert totals.renames == {(one + b"/two/file", one + b"/two/moved"), (one, bytes(place / "uno"))}


@needs.root
@needs.programs("strace")
def test_a_descriptor_is_what_it_was_opened_as(place: Path) -> None:
    totals = traced(
        place,
        """
        import os
        def make(name):
            return os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.mkdir("d")
        log, inner = make("log"), make("d/inner")
        os.write(log, bytes(1))
        os.rename("log", "log.1"); os.rename("log.1", "log.2"); os.rename("d", "e")
        os.write(log, bytes(2)); os.write(inner, bytes(100))
        copy = os.dup(log); os.close(log); os.write(copy, bytes(4))
        new = make("log"); os.write(new, bytes(10))
        if os.fork() == 0:
            os.write(copy, bytes(8))
            os.dup2(new, copy); os.write(copy, bytes(20))
            os._exit(0)
        os.wait()
        os.dup2(new, 50); os.close(new); os.write(50, bytes(40))
        again = make("log.2"); os.write(again, bytes(16)); os.close(again)
        """,
    )
    written = {path[len(bytes(place)) + 1 :]: file.of("write").bytes for path, file in totals.files.items()}
    del written[b"workload.py"]
    assert {name: size for name, size in written.items() if size} == {
        b"log": 15 + 70,
        b"log.2": 16,
        b"d/inner": 100,
    }
    assert totals.files[bytes(place / "log")].of("close").calls == 2


@needs.root
@needs.programs("strace")
def test_an_iovec_of_which_half_cannot_be_read(place: Path) -> None:
    totals = traced(
        place,
        """
        import ctypes, mmap, os, struct
        fd = os.open("data", os.O_RDWR | os.O_CREAT, 0o644)
        os.write(fd, bytes(100))
        libc = ctypes.CDLL(None)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
        libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        page = libc.mmap(None, 8192, 3, 0x22, -1, 0)
        libc.munmap(page + 4096, 4096)
        ctypes.memmove(page + 4096 - 16, struct.pack("QQ", page, 10), 16)
        assert libc.writev(fd, ctypes.c_void_p(page + 4096 - 16), 2) == -1
        """,
    )
    assert totals.files[bytes(place / "data")].calls["writev"] == counted(1, 0, {"EFAULT": 1}, {}, {}, unreadable=1)


# --- the comparison must be able to fail ------------------------------------------------------------------------------


def example() -> Totals:
    totals = Totals()
    data = totals.of(b"/data/\xff")
    data.calls["read"] = counted(3, 10, {"EIO": 1}, {4096: 3}, {8: 1, 0: 1})
    data.calls["open"] = Call(calls=1)
    data.calls["readv"] = counted(1, 0, {"EFAULT": 1}, {}, {}, unreadable=1)
    data.mapped = True
    totals.of(b"/data/old").calls["write"] = counted(2, 20, {}, {8: 2}, {8: 2})
    totals.of(b"/data/new").calls["write"] = counted(1, 10, {}, {8: 1}, {8: 1})
    totals.renames.add((b"/data/old", b"/data/new"))
    totals.nobody("close", "EBADF")
    return totals


def document() -> Dict[str, Any]:
    empty = {"bytes_read": 0, "bytes_written": 0, "opens": 0, "closes": 0, "mapped": False}
    read = {"calls": 3, "bytes": 10, "errors": {"EIO": 1}, "requested": {"4096": 3}, "completed": {"8": 1, "0": 1}}

    def write(calls: int) -> Dict[str, Any]:
        sizes = {"8": calls}
        return {"calls": calls, "bytes": 10 * calls, "errors": {}, "requested": dict(sizes), "completed": dict(sizes)}

    opened = {"calls": 1, "errors": {}}
    vector = {"calls": 1, "bytes": 0, "errors": {"EFAULT": 1}, "requested": {}, "completed": {}}
    return {
        "lost": {"events": 0, "files": 0, "calls": 0, "iovecs": 1},
        "unattributed": {"close": {"EBADF": 1}},
        "failed_opens": [],
        "files": [
            {
                **empty,
                "path": "/data/\udcff",
                "bytes_read": 10,
                "opens": 1,
                "mapped": True,
                "syscalls": {"read": read, "readv": vector, "open": opened},
            },
            {**empty, "path": "/data/new", "bytes_written": 10, "syscalls": {"write": write(1)}},
            {**empty, "path": "/data/old", "bytes_written": 20, "syscalls": {"write": write(2)}},
        ],
    }


def test_agreement_is_silence() -> None:
    assert disagreements(example(), document()) == []


@pytest.mark.parametrize(
    ("where", "value", "line"),
    [
        (("files", 0, "syscalls", "read", "calls"), 4, "/data/\\udcff: read calls: strace 3, iotrace 4"),
        (("files", 0, "syscalls", "read", "bytes"), 9, "/data/\\udcff: read bytes: strace 10, iotrace 9"),
        (("files", 0, "syscalls", "read", "errors"), {}, "/data/\\udcff: read error EIO: strace 1, iotrace 0"),
        (("files", 0, "syscalls", "read", "completed", "0"), 2, "/data/\\udcff: read completed 0: strace 1, iotrace 2"),
        (("files", 0, "syscalls", "read", "requested", "1"), 2, "/data/\\udcff: read requested 1: strace 0, iotrace 2"),
        (("files", 0, "bytes_read"), 11, "/data/\\udcff: read bytes in all: strace 10, iotrace 11"),
        (("files", 0, "opens"), 0, "/data/\\udcff: opens in all: strace 1, iotrace 0"),
        (("files", 0, "mapped"), False, "/data/\\udcff: mapped: strace True, iotrace False"),
        (("files", 1, "syscalls", "write", "calls"), 2, "/data/new: write calls: strace 1, iotrace 2"),
        (("files", 1, "path"), "/data/other", "/data/other: write calls: strace 0, iotrace 1"),
        (("files", 2, "path"), "/data/new", "/data/old: write calls: strace 2, iotrace 0"),
        (("unattributed", "close"), {}, "(no file): close error EBADF: strace 1, iotrace 0"),
        (("lost", "iovecs"), 0, "lost iovecs: strace 1, iotrace 0"),
        (("lost", "events"), 5, "lost events: strace 0, iotrace 5"),
    ],
)
def test_every_difference_is_reported(where: List[Any], value: Any, line: str) -> None:
    changed = copy.deepcopy(document())
    inner: Any = changed
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    assert line in disagreements(example(), changed)


def test_a_file_that_only_one_of_them_saw() -> None:
    totals, seen = example(), document()
    totals.files[b"/only/strace"] = FileCalls({"fsync": Call(calls=2)})
    seen["files"].append({**seen["files"][1], "path": "/only/iotrace"})
    lines = disagreements(totals, seen)
    assert "/only/strace: fsync calls: strace 2, iotrace 0" in lines
    assert "/only/iotrace: write calls: strace 0, iotrace 1" in lines
