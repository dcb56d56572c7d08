"""What came from storage, and what from the page cache, by the kernel's own account of a process: /proc/self/io."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping

import pytest

from tests import needs

from .traced import Traced, trace

pytestmark = needs.root

PAGE = 4096  # of the sizes below: what a machine with larger pages brings is told by /proc/self/io alone

SCRIPT = """
taken = []

def account():
    io = os.open("/proc/self/io", os.O_RDONLY)
    text = os.read(io, 4096)
    os.close(io)
    taken.append(len(text))
    return {name: int(value) for name, value in (line.split(b": ") for line in text.splitlines())
            if not name.startswith(b"canc")}

import itertools
told = {}
start = account()

@contextlib.contextmanager
def cold(name, size=1 << 20, advice=os.POSIX_FADV_RANDOM, flags=0):
    fd = create(name)
    for at in range(0, size, 1 << 18):
        os.pwrite(fd, os.urandom(min(1 << 18, size - at)), at)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    fd = os.open(name, os.O_RDONLY | flags)
    os.posix_fadvise(fd, 0, 0, advice)
    before = account()[b"read_bytes"]
    yield fd
    told[name] = account()[b"read_bytes"] - before
    os.close(fd)

with cold("ahead", 2 << 20, os.POSIX_FADV_SEQUENTIAL) as fd:
    while os.read(fd, 16384):
        pass
with cold("alone") as fd:
    for _ in range(32):
        os.read(fd, 4096)
with cold("scattered") as fd:
    for at in list(range(0, 1 << 20, 8 * 4096)) * 2:
        os.pread(fd, 4096, at)
with cold("half") as fd:
    for at in range(0, 256, 2):
        os.pread(fd, 4096, at * 4096)
    for at in range(256):
        os.pread(fd, 4096, at * 4096)
with cold("warm", flags=os.O_DIRECT) as fd:
    page = mmap.mmap(-1, 1 << 16)
    for at in range(4):
        os.preadv(fd, [page], at << 16)
    refused(errno.EINVAL, os.preadv, fd, [page], 100)
again = os.open("warm", os.O_RDONLY)
with cold("vectors") as fd:
    os.preadv(fd, [bytearray(5000), bytearray(3192)], 0)
with cold("tail", 5000) as fd:
    os.read(fd, 100)
with cold("refused") as fd:
    refused(errno.EFAULT, libc.pread, fd, P(8), L(4096), L(0))
with cold("sent") as fd:
    one, other = os.pipe()
    os.splice(fd, other, 8192)
    os.close(one)
with cold("copied") as fd:
    os.copy_file_range(fd, create("copy"), 65536)
SIZE = 1 << 18

def in_order(fd, size):
    os.lseek(fd, 0, 0)
    while os.read(fd, size):
        pass

def at_random(fd, size):
    for block in range(0, 40):
        os.pread(fd, size, block * 37 % 64 * 4096)

def every_other_block(fd):
    for at in range(0, SIZE, 8192):
        os.pread(fd, 4096, at)

cached = {"cold": lambda fd: None, "half": every_other_block, "warm": lambda fd: in_order(fd, 65536)}
advice = {"normal": os.POSIX_FADV_NORMAL, "random": os.POSIX_FADV_RANDOM, "sequential": os.POSIX_FADV_SEQUENTIAL}
for (state, before), (ahead, flag), (how, read, size) in itertools.product(cached.items(), advice.items(), [
    ("in order by 4096", in_order, 4096), ("in order by 100000", in_order, 100000), ("at random", at_random, 4096),
]):
    with cold(f"{state}, {ahead}, {how}", SIZE, flag) as fd:
        before(fd)
        brought = account()[b"read_bytes"]
        read(fd, size)
        assert state != "warm" or account()[b"read_bytes"] == brought
with cold("dropped", SIZE) as fd:
    in_order(fd, 65536)
    os.fsync(fd)
    with open("/proc/sys/vm/drop_caches", "wb") as drop:
        drop.write(b"1")
    in_order(fd, 4096)
written = create("written")
os.write(written, bytes(100000))
os.writev(written, [bytes(1000), bytes(5)])
end = account()
say([told, {name.decode(): end[name] - start[name] for name in end}, taken])
"""


@pytest.fixture(params=["raw", "perf", "4.14"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """The options of a way in; 4.14: with what that kernel has alone."""
    if request.param == "4.14":
        monkeypatch.setenv("PRETEND_KERNEL", "4.14")
        return []
    return ["--attach", str(request.param)]


BESIDE = """
with cold("a part of a page") as fd:
    os.pwrite(os.open("a part of a page", os.O_WRONLY), bytes(10), 5000)
with cold("advice") as fd:
    os.posix_fadvise(fd, 0, 1 << 20, os.POSIX_FADV_WILLNEED)
    while os.read(fd, 65536):
        pass
with cold("a mapping") as fd:
    sum(mmap.mmap(fd, 0, prot=mmap.PROT_READ)[::4096])
with cold("a hole", 0) as fd:
    os.truncate("a hole", 1 << 20)
    while os.read(fd, 65536):
        pass
say(told)
"""


def test_what_the_account_of_the_process_has_beside_reads(place: Path) -> None:
    """The differences that the description of the columns names."""
    found = trace(place, SCRIPT.split("with cold", maxsplit=1)[0] + BESIDE)
    if not found.said["advice"]:
        needs.impossible("a file system that keeps its files in memory")
    assert found.said == {"a part of a page": PAGE, "advice": 1 << 20, "a mapping": 1 << 20, "a hole": 0}
    ours = {name: total(found[name], "storage_bytes") for name in found.said}
    assert ours == {"a part of a page": 0, "advice": 0, "a mapping": 0, "a hole": 1 << 20}


def total(file: Mapping[str, Any], what: str) -> int:
    return sum(call.get(what, 0) for call in file["syscalls"].values())


def test_against_the_account_of_the_process(way: List[str], place: Path) -> None:
    """Where the kernel does not count splice at all, but the pages that it brings."""
    found = trace(place, SCRIPT, way)
    told, account, taken = found.said
    if not told["scattered"]:
        needs.impossible("a file system that keeps its files in memory")
    from_storage = {name: total(found[name], "storage_bytes") for name in told}
    if "copies" in found.document["coverage"]["storage"]:
        for name in ("sent", "copied"):
            assert from_storage.pop(name) == 0 < told.pop(name)
    assert from_storage == told
    check_calls(found)
    files = map(found.__getitem__, found.names)
    calls = [(name, call) for file in files for name, call in file["syscalls"].items() if "splice" not in name]
    reads = [call for name, call in calls if name.rstrip("v246").endswith("read")]
    writes = [call for name, call in calls if name.rstrip("v246").endswith("write")]
    assert account["rchar"] == sum(call["bytes"] for call in reads) + sum(taken[:-1])
    assert account["syscr"] == sum(call["calls"] for call in reads) + len(taken) - 1
    assert account["wchar"] == sum(call["bytes"] for call in writes) + 1, "with what drops the cache"
    assert account["syscw"] == sum(call["calls"] for call in writes) + 1


def check_calls(found: Traced) -> None:
    """By arithmetic: without reading ahead each page is brought by the call that asks for it."""
    calls: Dict[str, Any] = {name: found[name]["syscalls"] for name in found.names}

    def waited(name: str, call: str) -> List[int]:
        entry = calls[name][call]
        assert sum(entry["storage_latency_ns"].values()) == entry["storage_calls"]
        assert all(count <= entry["latency_ns"][bucket] for bucket, count in entry["storage_latency_ns"].items())
        return [entry["calls"], entry["storage_calls"], entry["storage_bytes"], entry["readahead_bytes"]]

    assert waited("alone", "read") == [32, 32, 32 * PAGE, 0]
    assert waited("scattered", "pread64") == [64, 32, 32 * PAGE, 0]
    assert waited("half", "pread64") == [384, 256, 256 * PAGE, 0]
    assert waited("warm", "preadv2") == [5, 4, 4 << 16, 0]
    assert waited("vectors", "preadv2") == [1, 1, 2 * PAGE, 0]
    assert waited("refused", "pread64") == [1, 0, PAGE, PAGE]
    assert waited("tail", "read")[:2] == [1, 1]
    all_calls, few, brought, ahead = waited("ahead", "read")
    assert (all_calls, brought) == (129, 2 << 20) and few < 65 and ahead == brought - few * 16384


def test_through_overlayfs(place: Path) -> None:
    """Whose files keep their pages with the file below; also where they are sent to a socket."""
    found = trace(
        place,
        """
        import socket
        for name in ("below", "above", "work", "over"):
            os.mkdir(name)
        """
        + SCRIPT.split("with cold", maxsplit=1)[0].replace("\n", "\n        ")
        + """
        if libc.mount(b"overlay", b"over", b"overlay", 0, b"lowerdir=below,upperdir=above,workdir=work"):
            lacks("overlayfs")
        with cold("over/read") as fd:
            os.read(fd, 8192)
        with cold("over/sent") as fd:
            one, other = socket.socketpair()
            os.sendfile(one.fileno(), fd, 0, 12288)
        libc.umount(b"over")
        say(told)
        """,
    )
    if found.lacks:
        needs.impossible(found.lacks)
    assert found.said == {"over/read": 8192, "over/sent": 12288}
    copies = 0 if "copies" in found.document["coverage"]["storage"] else 12288
    ours = {name: total(found[name], "storage_bytes") for name in found.said}
    assert ours == {"over/read": 8192, "over/sent": copies}
