"""Profiles to make pages of, and what a page holds."""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
from pathlib import Path
from typing import Any, Dict, Iterator

from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.values import bucket
from iotrace.profile.writer import write

SECOND = 10**9
HEADER = Header(
    version="0.1.0",
    host="db1",
    kernel="6.1.0",
    machine="x86_64",
    command=[b"postgres", b"-D", b"/srv/db"],
    started_ns=10**18,
    ended_ns=10**18 + 60 * SECOND,
    attach="fentry",
    coverage={"aio": "full", "io_uring": "none: no tracepoint", "mmap": "marked"},
    lost={"events": 0, "files": 0, "calls": 7},
    unattributed={"read": {"EBADF": 3}},
    interval_ns=SECOND,
)
MARKUP = (
    b"<script>window.owned = 1</script>",
    b"</script><script>window.owned = 1</script>",
    b'"><img src=x onerror="window.owned = 1">',
    b"<b>bold</b><a href='javascript:window.owned=1'>here</a>",
    b"<!--<script>",
    b"-->]]>&lt;&amp;&#60;",
    b"${window.owned = 1}{{constructor.constructor('window.owned = 1')()}}",
    b"__proto__",
    b"constructor",
    "\u202egnp.exe\u2066\u200b".encode(),
    "\u2028window.owned = 1\u2029".encode(),
    b"\x1b[31m\x07\r\n\t",
    b"\xff\xfe\x80",
    b"'; window.owned = 1; //\\",
)
LONG = b"A" * 60_000


def file(path: bytes, read: int, written: int, *, syncs: int = 0, each: int = 4096, **more: Any) -> FileStats:
    """A file of which so many calls of one size read and wrote, with syncs between the writes."""
    calls: Dict[str, SyscallStats] = {}
    for name, count, latency in (("pread64", read, 4096), ("pwrite64", written, 16384)):
        if count:
            calls[name] = SyscallStats(
                count,
                count * each,
                requested={bucket(each): count},
                completed={bucket(each): count},
                common_sizes={each: count},
                latency_ns={latency: count},
                latency_sum_ns=count * latency * 9 // 8,
                latency_max_ns=latency * 5 // 4,
            )
    if read:
        calls["pread64"].storage_bytes = read * each // 4
        calls["pread64"].storage_calls = read // 4
        calls["pread64"].storage_latency_ns = {4096: read // 4} if read // 4 else {}
    if syncs:
        latency = 1 << 20
        calls["fsync"] = SyscallStats(
            syncs, latency_ns={latency: syncs}, latency_sum_ns=syncs * latency, latency_max_ns=latency * 5 // 4
        )
    return FileStats(
        1,
        path,
        opens=1,
        closes=1,
        bytes_read=read * each,
        bytes_written=written * each,
        bytes_synced=written * each if syncs else 0,
        bytes_unsynced=0 if syncs else written * each,
        sequential_read={bucket(each): read} if read else {},
        sequential_write={bucket(each * written): 1} if written else {},
        bytes_between_syncs={bucket(each): syncs} if syncs else {},
        syscalls=calls,
        **more,
    )


def sample() -> Iterator[FileStats]:
    """Files of a database, of which each has other figures, with a series; and one that was written under a temporary
    name."""
    chance = random.Random(1)
    for i in range(120):
        read, written = 1 + (i * 7919) % 1009, (i * 104729) % 97
        path = b"/srv/db/%s/%04d.%s" % ((b"base", b"wal", b"log/old")[i % 3], i, (b"tbl", b"seg", b"txt")[i % 3])
        at = chance.randrange(59)
        series = [
            (at, read, read * 4096, 0, 0, 0, 0, read * 4608),
            (at + 1, 0, 0, written, written * 4096, i % 5, 0, written * 18432),
        ]
        yield file(path, read, written, syncs=i % 5 if written else 0, series=series)
    yield file(b"/srv/db/state.tmp", 0, 5, renamed_to=b"/srv/db/state", ended_as=b"/srv/db/state")
    yield file(b"/srv/db/state", 2, 0)
    yield file(b"/etc/services", 3, 0, each=100)


def hostile() -> Iterator[FileStats]:
    """Names that mean something to whoever is careless with them."""
    for number, name in enumerate(MARKUP):
        yield file(b"/tmp/" + name, 10 + number, 3)
        yield file(b"/srv/" + name + b"/data", 5, 1)
    yield file(b"/tmp/" + LONG, 1, 1)
    yield FileStats(1, b"/calls", syscalls={name.decode("latin-1"): SyscallStats(2) for name in MARKUP[:9]})


def hostile_header() -> Header:
    """The same in everything else that a profile says."""
    name = MARKUP[1].decode()
    return Header(
        version=name,
        host=name,
        kernel=name,
        machine=name,
        command=list(MARKUP),
        filters={name: [name]},
        started_ns=10**18,
        ended_ns=10**18 + SECOND,
        attach=name,
        coverage={name: name, "__proto__": "full"},
        lost={name: 3},
        unattributed={name: {name: 3}},
        overhead={name: name},
    )


def profile(place: Path, name: str, header: Header, files: Iterator[FileStats]) -> Path:
    """A profile of that name."""
    write(place / name, header, files, force=True)
    return place / name


def unpacked(text: str) -> Any:
    """What `packed` has packed."""
    return json.loads(gzip.decompress(base64.b64decode(text)))


def data_of(page: str) -> Dict[str, Any]:
    """The data in a page, as a browser's parser finds it: up to the first end of a script."""
    found = re.findall(
        r'<script type="application/json" id="data-(\w+)">(.*?)</script', page, re.DOTALL | re.IGNORECASE
    )
    return {name: json.loads(text) for name, text in found}
