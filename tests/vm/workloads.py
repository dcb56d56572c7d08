"""The guest's workloads, and what iotrace must say of each: arithmetic, what /proc says, or what strace saw.

A workload does its I/O in the current directory; its check looks at the exported document and yields a line for each
thing that is not as it was done.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import re
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from tests.children import in_child

HERE = Path(__file__).resolve().parent
Document = Dict[str, Any]

libc = ctypes.CDLL(None, use_errno=True)
FD, POINTER, LONG = ctypes.c_int, ctypes.c_void_p, ctypes.c_long
libc.splice.argtypes = [FD, POINTER, FD, POINTER, ctypes.c_size_t, ctypes.c_uint]
libc.sync_file_range.argtypes = [FD, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
libc.preadv.argtypes = libc.pwritev.argtypes = [FD, POINTER, ctypes.c_int, LONG]
for _function in (libc.splice, libc.preadv, libc.pwritev):
    _function.restype = LONG

RW = os.O_RDWR | os.O_CREAT
VECTOR = [3 + number % 5 for number in range(17)]
VECTOR_SIZE = 82  # their sum


def refused(expected: int, function: Callable[..., object], *arguments: object) -> None:
    """The call must fail with this errno."""
    try:
        function(*arguments)
    except OSError as error:
        assert error.errno == expected, f"{function}: {error}"
    else:
        raise AssertionError(f"{function} succeeded")


def blocks() -> None:
    fd = os.open("blocks", RW, 0o644)
    for number in range(23):
        assert os.pwrite(fd, bytes(4096), number * 4096) == 4096
    for number in reversed(range(23)):
        assert len(os.pread(fd, 4096, number * 4096)) == 4096
    os.fsync(fd)
    os.fdatasync(fd)
    assert libc.sync_file_range(fd, 0, 0, 7) == 0
    os.pwrite(fd, bytes(10), 50)
    os.pwrite(fd, bytes(10), 50)
    os.close(fd)


def stream() -> None:
    fd = os.open("stream", RW, 0o644)
    for _ in range(10):
        os.write(fd, bytes(100))
    os.lseek(fd, 0, os.SEEK_SET)
    assert [len(os.read(fd, 400)) for _ in range(4)] == [400, 400, 200, 0]
    os.close(fd)


def vectors() -> None:
    fd = os.open("vectors", RW, 0o644)
    data = [bytes(size) for size in VECTOR]
    room = [bytearray(size) for size in VECTOR]
    # By their names in libc: without flags, os.preadv makes preadv or preadv2, as Python was built.
    memory = ctypes.create_string_buffer(max(VECTOR))
    words = [word for size in VECTOR for word in (ctypes.addressof(memory), size)]
    entries = (ctypes.c_size_t * len(words))(*words)
    assert os.writev(fd, data) == libc.pwritev(fd, entries, len(VECTOR), 1000) == VECTOR_SIZE
    assert os.pwritev(fd, data, 2000, os.RWF_DSYNC) == VECTOR_SIZE
    os.lseek(fd, 0, os.SEEK_SET)
    assert os.readv(fd, room) == libc.preadv(fd, entries, len(VECTOR), 1000) == VECTOR_SIZE
    assert os.preadv(fd, room, 2000, os.RWF_HIPRI) == VECTOR_SIZE
    os.close(fd)


def errors() -> None:
    fd = os.open("errors", os.O_WRONLY | os.O_CREAT, 0o644)
    for _ in range(3):
        refused(errno.EBADF, os.read, fd, 16)
    refused(errno.EINVAL, os.pwrite, fd, b"five!", -1)
    assert libc.preadv(999, None, 0, 0) == -1
    refused(errno.EBADF, os.fdatasync, 999)
    refused(errno.EEXIST, os.open, "errors", os.O_CREAT | os.O_EXCL)
    os.close(fd)


def copies() -> None:
    source, target = os.open("source", RW, 0o644), os.open("target", RW, 0o644)
    os.pwrite(source, bytes(10000), 0)
    assert os.sendfile(target, source, 0, 5000) == 5000
    assert os.copy_file_range(source, target, 3000, 0, 6000) == 3000
    reader, writer = os.pipe()
    assert libc.splice(source, None, writer, None, 2000, 0) == 2000
    assert libc.splice(reader, None, target, None, 2000, 0) == 2000
    for fd in (source, target, reader, writer):
        os.close(fd)


def opens() -> None:
    fds = [os.open("opens", RW, 0o644) for _ in range(5)]
    for fd in [*fds, os.dup(fds[0])]:
        if fd == fds[0]:
            os.write(fd, bytes(1))
        os.close(fd)


def appends() -> None:
    one, other = (os.open("appends", RW | os.O_APPEND, 0o644) for _ in range(2))
    for fd in (one, one, one, other, one):
        os.write(fd, bytes(100))
    os.close(one)
    os.close(other)


def maps() -> None:
    fd = os.open("mapped", RW, 0o644)
    os.write(fd, bytes(4096))
    mmap.mmap(fd, 4096).close()
    os.close(fd)


def names() -> None:
    kept, gone = os.open("before", RW, 0o644), os.open("gone", RW, 0o644)
    os.write(kept, bytes(7))
    os.write(gone, bytes(7))
    os.rename("before", "after")
    os.unlink("gone")
    os.write(kept, bytes(7))
    os.write(gone, bytes(7))
    os.close(kept)
    os.close(gone)


CALLS = (blocks, stream, vectors, errors, copies, opens, appends, maps)

Data = Tuple[int, int, Dict[str, int], Dict[str, int], Dict[str, int]]


def data(
    calls: int,
    size: int,
    requested: Mapping[int, int],
    completed: Optional[Mapping[int, int]] = None,
    failed: Optional[Mapping[str, int]] = None,
) -> Data:
    """A data call: calls, bytes, errors, and sizes requested and completed, the latter as the former unless given."""
    done = requested if completed is None else completed
    return calls, size, dict(failed or {}), _texts(requested), _texts(done)


def _texts(histogram: Mapping[int, int]) -> Dict[str, int]:
    return {str(bucket): count for bucket, count in histogram.items()}


EXPECTED_CALLS: Dict[str, Dict[str, Data]] = {
    "blocks": {
        "pwrite64": data(25, 94228, {4096: 23, 8: 2}),
        "pread64": data(23, 94208, {4096: 23}),
    },
    "stream": {
        "write": data(10, 1000, {64: 10}),
        "read": data(4, 1000, {256: 4}, {256: 2, 128: 1, 0: 1}),
    },
    "vectors": {
        name: data(1, VECTOR_SIZE, {64: 1}) for name in ("readv", "writev", "preadv", "pwritev", "preadv2", "pwritev2")
    },
    "errors": {
        "read": data(3, 0, {16: 3}, {}, {"EBADF": 3}),
        "pwrite64": data(1, 0, {4: 1}, {}, {"EINVAL": 1}),
    },
    "source": {
        "pwrite64": data(1, 10000, {8192: 1}),
        "sendfile_read": data(1, 5000, {4096: 1}),
        "copy_file_range_read": data(1, 3000, {2048: 1}),
        "splice_read": data(1, 2000, {1024: 1}),
    },
    "target": {
        "sendfile_write": data(1, 5000, {4096: 1}),
        "copy_file_range_write": data(1, 3000, {2048: 1}),
        "splice_write": data(1, 2000, {1024: 1}),
    },
    "opens": {"write": data(1, 1, {1: 1})},
    "appends": {"write": data(5, 500, {64: 5})},
    "mapped": {"write": data(1, 4096, {4096: 1})},
    "before": {"write": data(2, 14, {4: 2})},
    "gone": {"write": data(2, 14, {4: 2})},
}
EXPECTED: Dict[str, Dict[str, object]] = {
    "blocks": {
        "bytes_read": 94208,
        "bytes_written": 94228,
        "bytes_synced": 94208,
        "bytes_unsynced": 20,
        "rewrites": 1,
        "lowest_offset": 0,
        "highest_offset": 94207,
        "bytes_between_syncs": {"65536": 1, "0": 1},
        "sequential_write": {"65536": 1, "8": 2},
        "sequential_read": {"4096": 23},
        "fstype": "tmpfs",
        "unaligned_calls": 2,
        "size": 94208,
        "threads": 1,
        "who": None,
    },
    "stream": {"sequential_write": {"512": 1}, "sequential_read": {"512": 1}, "mapped": False, "renamed_to": None},
    "vectors": {"durable_writes": 1, "lowest_offset": 0, "highest_offset": 2081},
    "errors": {"bytes_read": 0, "lowest_offset": None, "opens": 1, "closes": 1},
    "target": {"highest_offset": 8999, "bytes_written": 10000},
    "opens": {"opens": 5, "closes": 6},
    "appends": {"sequential_write": {"256": 1, "64": 2}, "highest_offset": 499},
    "mapped": {"mapped": True},
    "before": {"deleted": False},
    "gone": {"deleted": True},
}
COMMON_SIZES = {
    ("blocks", "pwrite64"): {"4096": 23, "10": 2},
    ("stream", "read"): {"400": 4},
    ("vectors", "readv"): {str(VECTOR_SIZE): 1},
}
SYNCS = ("fsync", "fdatasync", "sync_file_range")
EXPECTED_UNATTRIBUTED = {"preadv": {"EBADF": 1}, "fdatasync": {"EBADF": 1}}


def check_calls(place: Path, document: Document) -> Iterator[str]:
    files = below(place, document)
    for name, calls in EXPECTED_CALLS.items():
        if name not in files:
            yield f"{name} is missing"
            continue
        file = files[name]
        found = {
            key: (call["calls"], call["bytes"], call["errors"], call["requested"], call["completed"])
            for key, call in file["syscalls"].items()
            if "bytes" in call
        }
        yield from differences(name, calls, found)
        yield from differences(name, EXPECTED.get(name, {}), file)
    if "before" in files and files["before"]["renamed_to"] != str(place / "after"):
        yield f"before was renamed to {files['before']['renamed_to']}"
    if "blocks" in files:
        counts = {name: files["blocks"]["syscalls"].get(name, {}).get("calls") for name in SYNCS}
        yield from differences("blocks", dict.fromkeys(SYNCS, 1), counts)
    yield from _latencies(files, document["ended_ns"] - document["started_ns"])
    for (name, call), sizes in COMMON_SIZES.items():
        entry = files.get(name, {}).get("syscalls", {}).get(call, {})
        yield from differences(f"{name} {call}", {"common_sizes": sizes, "common_sizes_error": 0}, entry)
    for what in ("storage", "failed opens"):  # files of tmpfs are never in storage: what is not known is told
        if not document["coverage"][what].startswith(("full", "partial: ")):
            yield f"coverage of {what}: {document['coverage'][what]}"
    failed = [one["count"] for one in document["failed_opens"] if one["path"] == str(place / "errors")]
    yield from differences("failed opens", {"errors": [1]}, {"errors": failed})
    unattributed = document["unattributed"]
    yield from differences("unattributed", EXPECTED_UNATTRIBUTED, unattributed)
    if unattributed.get("open", {}).get("EEXIST") != 1:
        yield f"unattributed open: {unattributed.get('open')}, not one EEXIST"


def _latencies(files: Mapping[str, Mapping[str, Any]], run: int) -> Iterator[str]:
    """Every call that succeeded has one, opens and closes too; none came from storage."""
    for name, file in files.items():
        for key, call in file["syscalls"].items():
            succeeded = call["calls"] - sum(call["errors"].values())
            most, total = call["latency_max_ns"], call["latency_sum_ns"]
            timed = succeeded - call.get("untimed_calls", 0)
            if sum(call["latency_ns"].values()) != timed or not bool(timed) <= most <= total <= run:
                yield f"{name} {key}: {succeeded} calls, latencies {call['latency_ns']}, at most {most}, in sum {total}"
            if call.get("storage_bytes", 0):
                yield f"{name} {key}: {call['storage_bytes']} bytes from storage"


def differences(what: str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """A line for each value that is not as expected; what is not expected at all may be anything."""
    for key, value in expected.items():
        if found.get(key) != value:
            yield f"{what} {key}: {found.get(key)}, not {value}"


def below(place: Path, document: Document) -> Dict[str, Dict[str, Any]]:
    """The files of a directory by their names in it."""
    start = f"{place}/"
    return {file["path"][len(start) :]: file for file in document["files"] if file["path"].startswith(start)}


def work_calls() -> None:
    for part in CALLS:
        part()
    names()


# Paths: what /proc/self/fd and the link of the mount namespace said is what must be reported.


def work_paths() -> None:
    os.makedirs("deep/" + "/".join(["d" * 200] * 10))
    seen: List[Tuple[str, int]] = []

    def touch(name: str) -> None:
        fd = os.open(name, RW, 0o644)
        os.write(fd, bytes(10))
        namespace = re.sub(r"\D", "", os.readlink("/proc/self/ns/mnt"))
        seen.append((os.readlink(f"/proc/self/fd/{fd}"), int(namespace)))
        os.close(fd)

    def apart() -> None:
        seen.clear()
        assert libc.unshare(0x00020000) == 0  # CLONE_NEWNS
        mount("none", "/", None, 1 << 14 | 1 << 18)  # MS_REC | MS_PRIVATE
        mount("here", "bound", None, 4096)  # MS_BIND
        touch("bound/through the mount")
        mount("tmpfs", "inner", "tmpfs")
        touch("inner/of a mount")
        os.mkdir("inner/directory")
        mount("inner/directory", "bound/again", None, 4096)
        touch("bound/again/in both")
        touch("here/twice")
        Path("apart.json").write_text(json.dumps(seen))

    for name in ("here/again", "bound", "inner"):
        os.makedirs(name)
    touch("deep/" + "/".join(["d" * 200] * 10) + "/file")
    touch("here/twice")
    touch("/root/on the root file system")
    touch("new\nline \x1b[31m")
    touch(os.fsdecode(b"not UTF-8 \xff\x80"))
    in_child(apart)
    seen.extend(map(tuple, json.loads(Path("apart.json").read_text())))
    Path("seen.json").write_text(json.dumps(seen))


def mount(source: str, target: str, kind: Optional[str], flags: int = 0) -> None:
    encoded = (os.fsencode(source), os.fsencode(target), kind and kind.encode())
    if libc.mount(*encoded, ctypes.c_ulong(flags), None) != 0:
        raise OSError(ctypes.get_errno(), f"mount {kind} on {target}")


def check_paths(place: Path, document: Document) -> Iterator[str]:
    reported = {(file["path"], file["mnt_ns"]): file["bytes_written"] for file in document["files"]}
    for path, namespace in json.loads((place / "seen.json").read_text()):
        if reported.get((path, namespace)) != 10:
            yield f"{path!a} in {namespace}: {reported.get((path, namespace))} bytes, not 10"


# By name: processes that are called traced-*, for as long as they are; a 32-bit program is among them.


def work_whom() -> None:
    def put(name: str) -> None:
        fd = os.open(name, RW, 0o644)
        os.write(fd, bytes(10))
        os.close(fd)

    def renamed() -> None:
        put("before its time")
        libc.prctl(15, b"traced-1")  # PR_SET_NAME
        put("its own")
        in_child(lambda: put("child's"))
        libc.prctl(15, b"another")
        put("after its time")

    in_child(renamed)
    in_child(lambda: put("nobody's"))
    os.symlink(HERE / "compat", "traced-32")
    in_child(lambda: os.execv("traced-32", ["traced-32"]) if os.fork() == 0 else check_status(os.wait()[1]))


def check_status(status: int) -> None:
    """Of the 32-bit program, which cannot be told from one that the kernel refuses otherwise."""
    assert os.WEXITSTATUS(status) == 7, f"the 32-bit program ended with {status:#x}"
    assert os.stat("compat").st_size == 128


def check_whom(place: Path, document: Document) -> Iterator[str]:
    files = below(place, document)
    compat = files.pop("compat", None)
    found = {name: file["bytes_written"] for name, file in files.items()}
    if found != {"its own": 10, "child's": 10}:
        yield f"files: {found}"
    for name, file in files.items():
        yield from differences(name, {"who": {"process": "traced-1"}}, file)
        intervals = [sum(column) for column in zip(*file["series"])][1:6]
        if intervals != [0, 0, 1, 10, 0]:
            yield f"{name}: intervals with {intervals} reads, bytes, writes, bytes, syncs"
    lost = document["lost"].get("calls_of_32_bit_tasks", 0)
    if document["attach"] == "raw_tracepoint" and lost < 8:
        yield f"lost.calls_of_32_bit_tasks is {lost}"
    if compat is not None:  # left out, or decoded rightly: aarch64 has functions in common for both kinds of tasks
        calls = {key: (call["calls"], call.get("bytes")) for key, call in compat["syscalls"].items()}
        expected = {"write": (8, 128), "read": (8, 127), "open": (1, None), "close": (1, None)}
        if any(expected.get(key) != value for key, value in calls.items()):
            yield f"calls of the 32-bit program: {calls}"


# Beside strace: the same calls, counted by another.  Old straces do not say enough of files that change their names.


def work_strace() -> None:
    for part in CALLS:
        part()


def check_strace(place: Path, document: Document) -> Iterator[str]:
    from tests.apps import compare, strace  # noqa: PLC0415

    totals = strace.parse(place.with_name("trace"), place.parent)
    start = bytes(place) + b"/"
    totals.files = {path: file for path, file in totals.files.items() if path.startswith(start)}
    totals.unattributed = {}
    totals.refused.clear()
    ours = [file for file in document["files"] if os.fsencode(file["path"]).startswith(start)]
    if not totals.files.keys() > {start + name.encode() for name in ("blocks", "source", "target", "vectors")}:
        yield f"strace saw only {sorted(totals.files)}"
    nothing: Document = {"unattributed": {}, "failed_opens": []}  # those of the interpreter are not looked at
    yield from compare.disagreements(totals, {"files": ours, "lost": document["lost"], **nothing})


class Case(NamedTuple):
    """A workload, how iotrace is to look at it, and what must come out."""

    work: Callable[[], None]
    check: Callable[[Path, Document], Iterator[str]]
    options: Sequence[str] = ()
    strace: bool = False
    group: str = ""  # those of one group are done under one iotrace, if they also have the same options
    judge: Optional[Callable[[Path, Document], Tuple[str, List[str]]]] = None  # where there is more than right or wrong
    shorter: Optional[Callable[[], None]] = None  # the part of the work that is of interest in every way to attach


CASES: Dict[str, Case] = {
    "calls": Case(work_calls, check_calls),
    "paths": Case(work_paths, check_paths),
    "whom": Case(work_whom, check_whom, ("--comm", "traced-*", "--no-follow", "--by", "process", "--interval", "10ms")),
    "strace": Case(work_strace, check_strace, ("--by", "user"), strace=True),
}
