"""A profile to export, and the way there."""

from __future__ import annotations

import contextlib
import io
from typing import Dict, Sequence

from hypothesis import strategies as st

from iotrace.profile.failed_opens import FailedOpen
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.views import formats
from iotrace.views.formats._runs import run_id

HEADER = Header(
    version="0.1.0",
    host="db1",
    kernel="6.1.0",
    machine="x86_64",
    command=[b"cp", b"\xff"],
    started_ns=10,
    ended_ns=20,
    filters={"comm": ["cp"]},
    attach="raw_tracepoint",
    coverage={"io_uring": "full"},
    lost={"events": 0, "files": 0, "calls": 0},
    unattributed={"read": {"EBADF": 3}},
    overhead={"ns": 5},
    interval_ns=10**9,
    failed_opens=[FailedOpen(b"/etc/\xff", "ENOENT", False, 3), FailedOpen(None, "EACCES", False, 1)],
)
FILE = FileStats(
    4026531841,
    b"/var/lib/x",
    device="8:1",
    inode=131,
    fstype="ext4",
    size=8192,
    opens=2,
    closes=2,
    bytes_read=8192,
    syscalls={
        "pread64": SyscallStats(
            3, 8192, 11, 12, {"EIO": 1}, {4096: 3}, {4096: 2}, {512: 2}, 1100, 600, {4096: 3}, 0, 4096, 1
        ),
        "fsync": SyscallStats(1, latency_ns={65536: 1}, latency_sum_ns=65537, latency_max_ns=65537),
    },
    sequential_read={8192: 1},
    bytes_between_syncs={0: 1},
    threads=2,
    queue_depth_max=3,
    queue_depth={1: 1, 2: 2},
    series=[(0, 3, 8192, 0, 0, 1, 1, 1100)],
)

paths = st.binary(min_size=1, max_size=40).map(lambda path: path.replace(b"\0", b"="))
several = st.lists(paths, max_size=5)


def run(files: Sequence[FileStats], header: Header = HEADER) -> formats.Run:
    """A run to be exported, whose files are numbered from 1 on."""
    return formats.Run(run_id(header), header, list(enumerate(files, 1)))


def exported(form: str, files: Sequence[FileStats], **options: object) -> str:
    """Everything in one stream."""
    stream = io.BytesIO()
    formats.stream_writer(form)([run(files)], stream, **options)
    return stream.getvalue().decode()


def tables(form: str, *runs: formats.Run) -> Dict[str, bytes]:
    """Each table by itself."""
    streams = {name: io.BytesIO() for name in formats.TABLES}
    with contextlib.ExitStack() as stack:
        add = {
            name: stack.enter_context(formats.table_writer(form, table, streams[name]))
            for name, table in formats.TABLES.items()
        }
        for name, row in formats.rows(runs):
            add[name](row)
    return {name: stream.getvalue() for name, stream in streams.items()}
