"""How long a run takes beside its command: the whole of one of `true`, the first on a host, and the end of one."""

from __future__ import annotations

import contextlib
import shutil
import statistics
import subprocess
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List

from iotrace.kernel import cache
from iotrace.tracing.session import Session, Settings
from programs.facts.catalogue import SYSTEM_CALLS
from pybpf.types.tracefs import Tracefs
from tools.benchmark.machine import Skipped, iotrace
from tools.benchmark.rows import Row
from tools.benchmark.variants import BPFTRACE, running_bpftrace

START_S, OF_BPFTRACE = 0.25, 0.5
FIRST_S = 0.35
END_S = 1.0


def measure(directory: Path, rounds: int, progress: Callable[[str], None], *, peers: bool) -> Iterator[Row]:
    """Medians of interleaved rounds; bpftrace with as many probes is started as well if `peers`."""
    took: Dict[str, List[float]] = {}
    probes = {attach: _probes(attach) for attach in ("raw", "perf")}
    for attach in probes:  # the first start of a version keeps what the others find
        _whole(directory, attach)
    for number in range(rounds):
        progress(f"start: {number + 1} of {rounds}")
        took.setdefault("first", []).append(_first(directory, number))
        for attach, count in probes.items():
            took.setdefault(attach, []).append(_whole(directory, attach))
            took.setdefault(f"end {attach}", []).append(_end(directory, attach))
            with contextlib.suppress(Skipped):
                if peers:
                    took.setdefault(f"attached {count}", []).append(_bpftrace_attached(count))
                    took.setdefault(f"bpftrace {count}", []).append(_bpftrace_whole(count))
    medians = {what: statistics.median(seconds) for what, seconds in took.items()}
    for attach, count in probes.items():
        yield _start(attach, count, medians)
    yield Row(
        "start",
        "first run on a host: iotrace run -- true, no plan kept",
        f"{medians['first']:.2f} s",
        f"{FIRST_S} s",
        medians["first"] <= FIRST_S,
        {"seconds": medians["first"]},
    )
    for attach in probes:
        seconds = medians[f"end {attach}"]
        yield Row(
            "start",
            f"from the end of the command to that of iotrace, --attach {attach}",
            f"{seconds:.2f} s",
            f"{END_S:.0f} s",
            seconds <= END_S,
            {"seconds": seconds},
        )


def _start(attach: str, count: int, medians: Dict[str, float]) -> Row:
    ours, theirs, ready = medians[attach], medians.get(f"bpftrace {count}"), medians.get(f"attached {count}")
    peer = f"bpftrace {theirs:.2f} s, attached after {ready:.2f}" if theirs and ready else "no bpftrace"
    return Row(
        "start",
        f"iotrace run --attach {attach} -- true, {count} probes",
        f"{ours:.2f} s, {peer}",
        f"{START_S} s and {OF_BPFTRACE} of bpftrace",
        ours <= START_S and (not theirs or ours <= OF_BPFTRACE * theirs),
        {"seconds": ours, **{name: n for name, n in (("bpftrace", theirs), ("attached", ready)) if n}},
    )


def _run(directory: Path, attach: str) -> List[object]:
    return ["run", "-q", "--force", "-o", directory / "start", "--attach", attach, "--"]


def _whole(directory: Path, attach: str) -> float:
    return iotrace(directory, *_run(directory, attach), "true").seconds


def _first(directory: Path, number: int) -> float:
    """The same where nothing is kept but the interpreter's byte code."""
    empty = directory / f"cache-{number}"
    empty.mkdir(mode=0o700)
    done = iotrace(
        directory,
        "run",
        "-q",
        "--force",
        "-o",
        directory / "start",
        "--",
        "true",
        variables={cache.VARIABLE: str(empty)},
    )
    shutil.rmtree(empty)
    return done.seconds


def _end(directory: Path, attach: str) -> float:
    """From when a command that has written one file says that it is done."""
    place = directory / "ended"
    place.mkdir(exist_ok=True)
    done = iotrace(directory, *_run(directory, attach), directory / "files", "make", place, 1, 100, "unlink", 0)
    return (done.ended_ns - int(done.stdout.split()[2])) / 1e9


def _probes(attach: str) -> int:
    with Session(Settings(attach=attach)) as session:
        return session.loaded.hooks()


def _bpftrace_attached(count: int) -> float:
    """Seconds until bpftrace has attached so many tracepoints. Raises Skipped."""
    begun = time.monotonic()
    with running_bpftrace("-e", _counting(count)) as (_, ready):
        return ready - begun


def _bpftrace_whole(count: int) -> float:
    """Seconds that bpftrace takes to trace `true` with so many tracepoints. Raises Skipped."""
    begun = time.monotonic()
    subprocess.run(
        [*BPFTRACE, "-e", _counting(count), "-c", shutil.which("true") or "/bin/true"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.monotonic() - begun


def _counting(count: int) -> str:
    """A script that counts by so many tracepoints. Raises Skipped."""
    if shutil.which("bpftrace") is None:
        raise Skipped("bpftrace is not installed")
    events = [f"tracepoint:syscalls:sys_{side}_{call.event}" for call in SYSTEM_CALLS for side in ("enter", "exit")]
    with Tracefs.open() as tracefs:
        known = [event for event in events if tracefs.exists("syscalls", event.rpartition(":")[2])]
    return ",".join(known[:count]) + " { @[probe] = count(); }"
