"""Rows apart by who did the I/O, with amounts that are known by arithmetic; and cgroups that choose what is traced."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence

import pytest

import iotrace
from iotrace.kernel import cgroups
from tests import needs

from .observe import path_of
from .ring import trace_ring
from .traced import Traced, script, trace

pytestmark = needs.root

SUMS = ("opens", "closes", "bytes_read", "bytes_written", "bytes_synced", "bytes_unsynced", "rewrites")
MORE_SUMS = ("unaligned_calls", "durable_writes")
TABLES = ("sequential_read", "sequential_write", "bytes_between_syncs")
OF_CALLS = ("requested", "completed", "errors")


def rows(found: Traced, name: str = "data") -> Dict[Any, Dict[str, Any]]:
    """The rows of a file, by whose they are."""
    files = [file for file in found.document["files"] if path_of(file) == bytes(found.place / name)]
    return {next(iter(file["who"].values())): file for file in files}


def totals(files: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    """What rows add up to: everything that is a sum, and the extremes."""
    sums: Counter[Any] = Counter()
    for file in files:
        sums.update({name: file[name] for name in (*SUMS, *MORE_SUMS)})
        for name in TABLES:
            sums.update({(name, bucket): count for bucket, count in file[name].items()})
        for name, call in file["syscalls"].items():
            sums.update({(name, what): call.get(what, 0) for what in ("calls", "bytes")})
            for table in OF_CALLS:
                sums.update({(name, table, key): count for key, count in call.get(table, {}).items()})
    highest = max((file["highest_offset"] for file in files if file["highest_offset"] is not None), default=None)
    return {**{key: count for key, count in sums.items() if count}, "highest": highest, "size": files[0]["size"]}


# Everything of it is done one after the other, so that it comes out the same each time. Names are of processes.
SHARED = """
def called(name):
    libc.prctl(15, name, 0, 0, 0)

fd = create("data", 1 << 20)
os.unlink("data"); fd = create("data", 1 << 20)  # another incarnation
called(b"parent")
for block in range(10):
    os.pwrite(fd, bytes(4096), 4096 * block)
os.pwrite(fd, bytes(100), 4096 * 9)              # a rewrite

def other():
    called(b"child")
    os.pwrite(fd, bytes(50), 4096 * 9)           # a rewrite too, of what the parent wrote last
    os.fsync(fd)                                 # covers what both wrote
    os.write(fd, bytes(1000))                    # at the position that both share
    os.pread(fd, 8192, 512)
    refused(errno.EINVAL, os.pwrite, fd, bytes(7), -1)
    own = os.open("data", os.O_RDWR | os.O_DSYNC)
    os.pwritev(own, [bytes(10), bytes(20)], 0)   # a rewrite: the position was 0
    mmap.mmap(own, 4096)
    os.close(own)

child(other)
os.write(fd, bytes(1000))                        # goes on where the child's write ended
thread = threading.Thread(target=os.pread, args=(fd, 300, 0))
thread.start(); thread.join()                    # a thread's reads are its process's

def another():
    os.dup2(fd, 0)
    thread = threading.Thread(target=os.execv, args=("/bin/cat", ["cat"]))
    thread.start(); thread.join()                # the exec ends the other threads, and this one has its name

os.lseek(fd, 0, 0)
child(another)
os.lseek(fd, 5000, 0)
os.read(fd, 10)
os.fdatasync(fd)
os.pwrite(fd, bytes(33), 0)
os.close(fd)
"""


def test_rows_add_up_to_the_run_without(way: List[str], place: Path) -> None:
    place.mkdir(exist_ok=True)
    apart, together = place / "apart", place / "together"
    for directory in (apart, together):
        directory.mkdir()
    whose = rows(trace(apart, SHARED, [*way, "--by", "process"]))
    whole = trace(together, SHARED, way)["data"]
    assert whole["who"] is None
    assert totals([*whose.values()]) == totals([whole])
    parent, child = whose["parent"], whose["child"]
    assert set(whose) >= {"parent", "child", "cat"}
    assert (whose["cat"]["bytes_read"], whose["cat"]["opens"]) == (1 << 20, 0)
    assert (child["bytes_written"], child["bytes_read"], child["rewrites"]) == (50 + 1000 + 30, 8192, 2)
    assert (child["opens"], child["closes"], child["durable_writes"]) == (1, 2, 1), "a mapping has a descriptor"
    assert parent["bytes_written"] == 40960 + 100 + 1000 + 33 and parent["rewrites"] == 1
    assert (child["mapped"], parent["mapped"]) == (True, False)
    assert child["bytes_between_syncs"] == {"32768": 1}, "41,110 bytes, most of them the parent's"
    assert (parent["bytes_synced"], parent["bytes_unsynced"]) == (42060, 33)
    assert (child["bytes_synced"], child["bytes_unsynced"]) == (1080, 0)
    assert child["syscalls"]["pwrite64"]["errors"] == {"EINVAL": 1}
    assert parent["syscalls"]["pread64"]["calls"] == 1
    assert all(row["incarnations"] == whole["incarnations"] for row in whose.values())


def test_users(way: List[str], place: Path) -> None:
    place.chmod(0o777)
    found = rows(
        trace(
            place,
            """
            os.umask(0)
            fd = os.open("data", RW, 0o666)
            os.write(fd, bytes(11))
            for user, size in ((12345, 100), (54321, 20)):
                def other():
                    os.setuid(user)
                    os.write(fd, bytes(size))
                    os.write(fd, bytes(size))
                child(other)
            """,
            [*way, "--by", "user"],
        )
    )
    assert {user: row["bytes_written"] for user, row in found.items()} == {0: 11, 12345: 200, 54321: 40}


def test_requests_belong_to_whoever_submits_them(way: List[str], place: Path) -> None:
    """Linux AIO: submitted by one name, reaped by another."""
    found = rows(
        trace(
            place,
            """
            import struct
            def called(name):
                libc.prctl(15, name, 0, 0, 0)

            fd = create("data", 1 << 16)
            context = ctypes.c_ulong()
            assert libc.syscall(L(206), L(8), ctypes.byref(context)) == 0
            for name, count in ((b"first", 3), (b"second", 2)):
                called(name)
                buffers = [ctypes.create_string_buffer(512) for _ in range(count)]
                blocks = [
                    ctypes.create_string_buffer(
                        struct.pack("QIIHHIQQqQII", 0, 0, 0, 1, 0, fd, ctypes.addressof(buffer), 512, 512 * n, 0, 0, 0)
                    )
                    for n, buffer in enumerate(buffers)
                ]
                pointers = (P * count)(*map(ctypes.addressof, blocks))
                assert libc.syscall(L(209), context, L(count), pointers) == count
                called(b"reaper")
                events = ctypes.create_string_buffer(32 * count)
                assert libc.syscall(L(208), context, L(count), L(count), events, P()) == count
            """
            if os.uname().machine == "x86_64"
            else needs.impossible("the numbers of the calls are x86_64's"),
            [*way, "--by", "process"],
        )
    )
    written = {name: row["syscalls"].get("aio_pwrite", {}).get("calls", 0) for name, row in found.items()}
    assert {name: calls for name, calls in written.items() if calls} == {"first": 3, "second": 2}


def test_requests_of_a_ring_belong_to_whoever_submits_them(place: Path) -> None:
    """Workers do them, and another name sees their ends."""
    found = rows(
        trace_ring(
            place,
            """
            fd = create("data", 1 << 16)
            ring, at = Ring(), memory(4096)
            for name, count in ((b"first", 3), (b"second", 2)):
                libc.prctl(15, name, 0, 0, 0)
                for n in range(count):
                    ring.add(WRITE, fd, at, 512, 512 * n, flags=ASYNC)
                ring.add_open("data", os.O_RDONLY)
                ring.submit()
                libc.prctl(15, b"reaper", 0, 0, 0)
                ring.list(count + 1)
            for _ in range(40):                      # at addresses of files that nobody was seen to close
                child(lambda: os.read(os.open("left", RW), 1))
                libc.prctl(15, b"opener", 0, 0, 0)
                ring.add_open("data", os.O_RDONLY)
                ring.submit()
                libc.prctl(15, b"reaper", 0, 0, 0)
                (_, opened), = ring.list(1)
                os.close(opened)
            """,
            ["--by", "process"],
        )
    )
    written = {name: row["syscalls"].get("uring_write", {}).get("calls", 0) for name, row in found.items()}
    assert {name: calls for name, calls in written.items() if calls} == {"first": 3, "second": 2}
    opens = {name: row["opens"] for name, row in found.items()}
    assert (opens["first"], opens["second"], opens["opener"]) == (1, 1, 40)
    assert sum(opens.values()) == 43, "with the first of all, by the name that the script begins with"


@contextlib.contextmanager
def made(*names: str, version: int) -> Iterator[List[Path]]:
    """Cgroups of these names below one of the test's own, which is what comes first."""
    kind = [found for found in cgroups.hierarchies() if found.unified == (version == 2)]
    usable = [found for found in kind if version == 2 or {"memory", "pids"} & {*found.controllers}]
    if not usable:
        needs.impossible(f"no cgroups of version {version}")
    top = Path(usable[0].directory) / f"iotrace-test-{os.getpid()}"
    paths = [top, *(top / name for name in names)]
    try:
        for path in paths:
            path.mkdir()
    except OSError as error:
        needs.impossible(f"no cgroup can be made: {error}")
    try:
        yield paths
    finally:
        for path in reversed(paths):
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                with contextlib.suppress(OSError):
                    path.rmdir()
                    break
                time.sleep(0.05)


IN_CGROUPS = """
cgroups = {paths!r}
fd = create("data")
for number, path in enumerate(cgroups):
    def other():
        os.write(fd, bytes(1))                    # before it is in there
        with open(path + "/cgroup.procs", "w") as procs:
            procs.write(str(os.getpid()))
        os.write(fd, bytes(10 ** (number + 1)))
        child(lambda: os.write(fd, bytes(10 ** (number + 1))))
    child(other)
"""


@pytest.mark.parametrize("version", [1, 2])
def test_cgroups_are_told_apart(version: int, place: Path) -> None:
    with made("a", "a/deep", "b", version=version) as paths:
        text = IN_CGROUPS.format(paths=[str(path) for path in paths[1:]])
        found = rows(trace(place, text, ["--by", "cgroup", *(["--cgroup", str(paths[0])] if version == 2 else [])]))
    below = f"/{paths[0].name}/"
    written = {name.partition(below)[2]: row["bytes_written"] for name, row in found.items() if below in name}
    assert written == {"a": 20, "a/deep": 200, "b": 2000}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("attach", ["raw", "perf"])
def test_what_is_in_a_cgroup_or_below_is_traced(version: int, attach: str, place: Path) -> None:
    """From when a process is in it until it is not, and its children; and nobody else."""
    with made("a", "a/deep", "b", version=version) as paths:
        text = IN_CGROUPS.format(paths=[str(path) for path in (*paths[1:], paths[0])])
        profile = place / "run.iotrace"
        with iotrace.trace(cgroups=[paths[1]], paths=[f"{place}/*"], attach=attach, output=profile):
            subprocess.run(script(place, text), cwd=place, check=True)
    with iotrace.open(profile) as opened:
        assert {file.path: file.bytes_written for file in opened.files()} == {bytes(place / "data"): 20 + 200}
