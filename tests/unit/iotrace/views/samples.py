"""A terminal, or what stands in for one, and a profile to show on it."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Iterator, List

from iotrace.profile import reader
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.views import one_file, tables

TOP = (1 << 63) - 1
HEADER = Header(
    version="0.1.0",
    host="db1",
    kernel="6.1.0",
    machine="x86_64",
    command=[b"cp", b"a b"],
    started_ns=10**18,
    ended_ns=10**18 + 5 * 10**9,
    attach="fentry",
    coverage={"aio": "full"},
)
HOSTILE = b"/tmp/\x1b[31m\x1b]0;owned\x07\r\n\xe2\x80\xae\xff"


def sample() -> Iterator[FileStats]:
    for i in range(23):
        yield FileStats(
            1 + i // 20,
            b"/srv/%s/sub%d/%06d.%s" % (b"ab"[i % 2 : i % 2 + 1], i % 3, i, (b"log", b"db")[i % 2]),
            device=f"8:{i % 2}",
            fstype="ext4",
            bytes_read=1024 * i,
            bytes_written=i,
            deleted=i == 3,
            mapped=i == 22,
            syscalls={
                "read": SyscallStats(i, 1024 * i, latency_ns={1024: i}),
                "fsync": SyscallStats(2, errors={"EIO": 1}, latency_ns={1 << 20: 1}),
            },
        )


def shown(path: Path, **options: object) -> str:
    out = io.StringIO()
    with reader.open(path) as profile:
        tables.show(out, [profile], columns=80, **options)  # type: ignore[arg-type]
    return out.getvalue()


def one(path: Path, name: str) -> str:
    """What is shown of a single file."""
    out = io.StringIO()
    with reader.open(path) as profile:
        one_file.show(out, [profile], name, columns=80)
    return out.getvalue()


def table(output: str) -> List[List[str]]:
    """The cells below the blank line after the header; units rejoined with their numbers."""
    body = output.split("\n\n", 1)[1].splitlines()
    return [re.sub(r"(\d) (B|KiB|MiB|GiB|TiB|PiB|EiB|ns|us|ms|s)\b", r"\1\2", line).split() for line in body]
