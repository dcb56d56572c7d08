"""Records for tests: made at random from the table of metrics, so that a new metric is tried like all others."""

from __future__ import annotations

import contextlib
import errno
import resource
from typing import Any, Dict, Iterator

from hypothesis import strategies as st

from iotrace.profile import runs, values
from iotrace.profile.failed_opens import FAILED_OPENS, FailedOpen
from iotrace.profile.metrics import FILE, HEADER, SYSCALL, FileStats, Header, SyscallStats
from iotrace.profile.whose import WHO, Who

TOP = (1 << 63) - 1
counters = st.integers(0, TOP)
maybe = st.none() | counters
buckets = st.just(0) | st.integers(0, 63).map(lambda k: 1 << k)
fine_buckets = st.integers(0, 3).map(lambda k: 16 * k) | st.builds(
    lambda k, part: (4 + part) << k, st.integers(4, 60), st.integers(0, 3)
)
histograms = st.dictionaries(buckets, st.integers(1, TOP), max_size=4)
errors = st.dictionaries(st.sampled_from(sorted(errno.errorcode.values())), st.integers(1, TOP), max_size=3)
paths = st.binary(min_size=1, max_size=60).map(lambda path: path.replace(b"\0", b"0"))
texts = st.text()
failed_opens = st.lists(
    st.builds(FailedOpen, st.none() | paths, st.sampled_from(("ENOENT", "EACCES")), st.booleans(), counters),
    max_size=4,
    unique_by=lambda failed: failed[:3],
)
OF_KIND: Dict[values.Kind, st.SearchStrategy[Any]] = {
    values.COUNT: counters,
    values.MAYBE: maybe,
    values.FLAG: st.booleans(),
    values.TEXT: texts.map(lambda text: text.replace("\0", "0")),
    values.PATH: paths,
    values.MAYBE_PATH: st.none() | paths,
    values.STATE: st.sampled_from([None, values.PRESENT, values.REPLACED, values.DELETED]),
    WHO: st.none()
    | st.builds(Who, st.sampled_from(("process", "cgroup")), paths)
    | st.builds(Who, st.just("user"), st.integers(0, TOP)),
    values.UNSIGNED: st.integers(0, (1 << 64) - 1),
    values.HISTOGRAM: histograms,
    values.FINE: st.dictionaries(fine_buckets, st.integers(1, TOP), max_size=4),
    values.SIZES: st.dictionaries(st.integers(0, 1 << 31), st.integers(1, TOP), max_size=values.COMMON_SIZES),
    values.COUNTS: errors,
    values.MAYBE_TEXT: st.none() | texts.map(lambda text: text.replace("\0", "0")),
    runs.RUNS: st.lists(
        st.builds(
            runs.Run,
            st.integers(0, (1 << 128) - 1).map("{:032x}".format),
            st.text(max_size=60).map(runs.host_name),
            *[st.integers(0, 10**18)] * 2,
            counters,
        ),
        max_size=3,
        unique_by=lambda run: run.id,
    ).map(sorted),
    values.WORDS: st.lists(paths, max_size=3),
    values.OBJECT: st.dictionaries(
        texts, st.integers() | texts | st.lists(texts) | st.floats(allow_nan=False, allow_infinity=False)
    ),
    values.TEXTS: st.dictionaries(texts, texts),
    FAILED_OPENS: failed_opens,
    values.NESTED_COUNTS: st.dictionaries(
        st.sampled_from(("read", "close")),
        st.dictionaries(st.sampled_from(("EBADF", "EINTR")), counters, min_size=1),
    ),
}


calls = st.builds(SyscallStats, **{metric.name: OF_KIND[metric.kind] for metric in SYSCALL})
files = st.builds(
    FileStats,
    **{metric.name: OF_KIND[metric.kind] for metric in FILE},
    syscalls=st.dictionaries(st.sampled_from(("read", "pwrite64", "fsync", "uring_readv")), calls, max_size=3),
)
headers = st.builds(
    Header,
    **{
        **{metric.name: OF_KIND[metric.kind] for metric in HEADER},
        "lost": st.fixed_dictionaries({"events": counters, "files": counters, "calls": counters}),
    },
)


def sample(count: int = 3) -> Iterator[FileStats]:
    """Files that can be told apart by their inode, which is their number."""
    for i in range(count):
        yield FileStats(
            4026531841,
            b"/srv/%03d/%06d.dat" % (i % 100, i),
            device="8:1",
            inode=i,
            fstype="ext4",
            opens=1,
            bytes_read=4096 * i,
            bytes_written=count - i,
            sequential_read={4096: 1},
            syscalls={
                "open": SyscallStats(1),
                "close": SyscallStats(1),
                "pread64": SyscallStats(
                    i % 7 + 1,
                    4096 * i,
                    errors={"EIO": 1},
                    requested={4096: i % 7 + 1},
                    completed={4096: i % 7},
                    latency_ns={512: i % 7},
                ),
            },
        )


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """Within the block no file grows beyond so many bytes, as if the disk were full then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
