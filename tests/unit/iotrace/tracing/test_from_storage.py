"""Reads that waited for storage: what their sparse counters come to, and what is known of requests."""

from __future__ import annotations

import errno
from typing import Tuple

from programs.facts.records import TALLY_ERROR, TALLY_READAHEAD_BYTES, TALLY_STORAGE_BYTES, TALLY_STORAGE_LATENCY
from tests.unit.iotrace.tracing.test_collector import Records, written


def test_reads_that_waited_for_storage() -> None:
    """Of two ids of one path; of requests it is known where all were on O_DIRECT descriptors."""
    records = Records(big_values=True)
    for file_id in (1, 2):
        records.file(file_id, b"/a", inode=file_id)
        records.operation(file_id, "pread64", sizes={13: 3}, latency={10: 1, 30: 2}, calls=3, bytes=12288)
        for kind, item, count in (
            (TALLY_STORAGE_BYTES, 0, 8192 * file_id),
            (TALLY_READAHEAD_BYTES, 0, 100),
            (TALLY_STORAGE_LATENCY, 30, file_id),
            (TALLY_STORAGE_LATENCY, 31, 1),
        ):
            records.tally(file_id, "pread64", kind, item, count)
    records.file(3, b"/b")
    records.operation(3, "aio_pread", sizes={13: 2}, latency={20: 2}, calls=3, direct=3, bytes=8192)
    records.tally(3, "aio_pread", TALLY_ERROR, errno.EIO, 1)
    records.operation(3, "aio_pwrite", sizes={13: 2}, latency={20: 2}, calls=2, direct=2, bytes=8192)
    collector = records.collector()
    files = {file.path: file.syscalls for file in written(collector)}
    assert not collector.buffered

    def storage(path: bytes, name: str) -> Tuple[int, int, int, int]:
        call = files[path][name]
        assert sum(call.storage_latency_ns.values()) == call.storage_calls
        return call.storage_bytes, call.storage_calls, call.readahead_bytes, len(call.storage_latency_ns)

    assert storage(b"/a", "pread64") == (3 * 8192, 5, 200, 2)
    assert storage(b"/b", "aio_pread") == (8192, 2, 0, 1)
    assert storage(b"/b", "aio_pwrite") == (0, 0, 0, 0)


def test_requests_that_may_have_been_served_by_the_cache() -> None:
    records = Records(big_values=True)
    records.file(1, b"/a")
    records.operation(1, "uring_read", sizes={13: 3}, latency={20: 3}, calls=3, direct=2, bytes=8192)
    collector = records.collector()
    (file,) = written(collector)
    assert (file.syscalls["uring_read"].storage_bytes, collector.buffered) == (0, True)
