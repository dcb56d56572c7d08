"""Latencies held against fio's own and bpftrace's, on the same requests.

The intervals are not quite the same. A pread64 is timed by fio around its call, by iotrace between the tracepoints at
its entry and its exit: what is missing is the way in and out. A request of Linux AIO is timed from the entry of
io_submit until io_getevents has brought it, which is fio's total latency. One of io_uring is timed from when the
kernel takes it from the ring until it completes: that begins before fio's completion latency does, which is when the
submission has returned, and ends before either of fio's latencies, which is when fio has seen the completion.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import pytest

from iotrace.profile import latencies, reader
from iotrace.profile.latencies import Latencies
from tests import needs

from . import observe

pytestmark = [needs.root, needs.programs("fio")]

MEAN, MOST, PERCENTILE = 0.03, 0.05, 0.10
ROUNDS = 5  # another process may have the CPU between the two clocks: one round without is enough
SHARES = {"50.000000": 0.5, "90.000000": 0.9, "99.000000": 0.99}


class Engine(NamedTuple):
    """One of fio's, the operation that its requests are, and which of fio's latencies has the same interval."""

    name: str
    operation: str
    interval: str
    options: Tuple[str, ...] = ()


ENGINES = [
    Engine("psync", "pread64", "clat_ns"),
    Engine("libaio", "aio_pread", "lat_ns", ("--iodepth=4", "--lat_percentiles=1")),
    Engine("io_uring", "uring_read", "", ("--iodepth=4", "--lat_percentiles=1")),
]
JOB = "--name=job --filename=data --size=16m --io_size=8m --bs=4k --rw=randread --norandommap --direct=1"


@pytest.fixture
def data(place: Path) -> Path:
    (place / "data").write_bytes(os.urandom(16 << 20))
    subprocess.run(["sync", str(place / "data")], check=True)
    return place


def traced(place: Path, engine: Engine) -> Tuple[Latencies, Dict[str, Dict[str, object]]]:
    """What iotrace has of the requests of a job, and what fio has."""
    for name in ("p.iotrace", "report"):
        (place / name).unlink(missing_ok=True)  # type: ignore[call-arg,unused-ignore]
    job = ["fio", *JOB.split(), f"--ioengine={engine.name}", *engine.options, "--output-format=json", "--output=report"]
    subprocess.run(observe.iotrace("run", "-q", "-o", "p.iotrace", "--", *job), cwd=place, check=True)
    with reader.open(place / "p.iotrace") as profile:
        (file,) = (file for file in profile.files() if file.path == bytes(place / "data"))
    if engine.operation not in file.syscalls:
        needs.impossible(f"this fio, or this kernel, has no {engine.name}")
    told = json.loads((place / "report").read_text())["jobs"][0]["read"]
    return latencies.of(file.syscalls[engine.operation]), told


def off(ours: float, theirs: float) -> float:
    return abs(ours / theirs - 1)


def differences(found: Latencies, theirs: Dict[str, object]) -> Iterator[str]:
    """What is further from one of fio's latencies than it may be."""
    assert found.count == theirs["N"]
    mean, most = float(str(theirs["mean"])), float(str(theirs["max"]))
    if off(found.mean or 0, mean) > MEAN:
        yield f"mean {found.mean} for {mean}"
    if off(found.most, most) > MOST:
        yield f"max {found.most} for {most}"
    percentiles: Dict[str, float] = theirs["percentile"]  # type: ignore[assignment]
    for name, share in SHARES.items():
        if off(found.quantile(share) or 0, percentiles[name]) > PERCENTILE:
            yield f"{name} {found.quantile(share)} for {percentiles[name]}"


def between(found: Latencies, told: Dict[str, Dict[str, object]]) -> Iterator[str]:
    """What does not lie between the two latencies of fio's, which sees a completion later than the kernel shows it."""
    completion, total = (float(str(told[name]["mean"])) for name in ("clat_ns", "lat_ns"))
    if not completion * (1 - MEAN) <= (found.mean or 0) <= total:
        yield f"mean {found.mean} for {completion} to {total}"
    if off(found.most, float(str(told["lat_ns"]["max"]))) > MOST:
        yield f"max {found.most} for {told['lat_ns']['max']}"
    percentiles: Dict[str, float] = told["lat_ns"]["percentile"]  # type: ignore[assignment]
    for name, share in SHARES.items():
        if off(found.quantile(share) or 0, percentiles[name]) > PERCENTILE:
            yield f"{name} {found.quantile(share)} for {percentiles[name]}"


@pytest.mark.parametrize("engine", ENGINES, ids=[engine.name for engine in ENGINES])
def test_fio_has_the_same(engine: Engine, data: Path) -> None:
    tried = []
    for _ in range(ROUNDS):
        found, told = traced(data, engine)
        wrong = list(differences(found, told[engine.interval]) if engine.interval else between(found, told))
        if not wrong:
            return
        tried.append(", ".join(wrong))
    pytest.fail("\n".join(tried))


SCRIPT = """
tracepoint:syscalls:sys_enter_pread64 /comm == "fio" && args->count == 4096/ { @begun[tid] = nsecs; }
tracepoint:syscalls:sys_exit_pread64 /@begun[tid]/ {
    @h = lhist((nsecs - @begun[tid]) / 1000, 0, 1000, 1);
    delete(@begun[tid]);
}
END { clear(@begun); }
"""
_MOUNTED = 'mount -t tracefs tracefs /sys/kernel/tracing && exec bpftrace "$@"'


def quantile(histogram: List[Tuple[int, int, int]], share: float) -> float:
    """Of a linear histogram: lower and upper bound of each bucket, and its count."""
    rank, before = share * sum(count for *_, count in histogram), 0
    for lower, upper, count in histogram:
        if before + count >= rank:
            return lower + (upper - lower) * (rank - before) / count
        before += count
    raise AssertionError("an empty histogram")


def watched(place: Path) -> Tuple[Latencies, Optional[List[Tuple[int, int, int]]]]:
    """What iotrace and bpftrace have of the same calls; bpftrace's buckets are of a microsecond."""
    command = ["unshare", "--mount", "sh", "-c", _MOUNTED, "bpftrace", "-e", 'BEGIN { printf("begun\\n"); }' + SCRIPT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as tracer:
        assert tracer.stdout is not None
        for line in tracer.stdout:
            if "begun" in line:
                break
        else:
            return Latencies(), None
        found, _ = traced(place, ENGINES[0])
        tracer.send_signal(2)
        lines = tracer.stdout.read()
    buckets = re.findall(r"^\[(\d+), (\d+|\.\.\.)\)\s+(\d+) \|", lines, re.MULTILINE)
    return found, [
        (1000 * int(a), 1000 * (int(b) if b != "..." else 2 * int(a)), int(count)) for a, b, count in buckets
    ]


@needs.programs("bpftrace", "unshare", "mount")
def test_bpftrace_has_the_same(data: Path) -> None:
    tried = []
    for _ in range(ROUNDS):
        found, histogram = watched(data)
        if not histogram:
            needs.impossible("bpftrace does not trace here")
        assert sum(count for *_, count in histogram) == found.count
        pairs = [(found.quantile(share) or 0, quantile(histogram, share)) for share in SHARES.values()]
        if all(off(ours, theirs) <= PERCENTILE for ours, theirs in pairs):
            return
        tried.append(str(pairs))
    pytest.fail("\n".join(tried))
