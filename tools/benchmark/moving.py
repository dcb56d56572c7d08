"""How fast files move to the profile while tracing, so that there is room for new ones.

Files are made, written, closed and removed at a steady rate, many more than the tables have room for. What is measured
is the CPU time, from the first file to the last, of this process, which traces as `iotrace run` does, and of those that
it starts for that: all that a file takes until nothing of it is left in the tables, which is its events, its name, the
searches for who has it, its records and its part of the profile. The end of the run is not in it, nor are the files
that are in the tables then.
"""

from __future__ import annotations

import resource
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Tuple

from iotrace.profile import reader
from iotrace.profile.target import Target
from iotrace.profile.writer import Writer
from iotrace.tracing.session import Session, Settings
from tools.benchmark.machine import BenchError
from tools.benchmark.rows import Row

RATE = 30_000  # files for each second of a CPU
MADE, ROOM = 8_000, 32_768  # files a second, slow enough that a busy machine loses none; and in the tables
BYTES = 100
POLL = 0.2  # seconds, as `iotrace run` has it


def measure(directory: Path, files: int) -> Row:
    """So many files, which should be many times ROOM. Raises BenchError."""
    place, output = directory / "moved", directory / "moved.iotrace"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    make = [directory / "files", "make", place, files, BYTES, "unlink", MADE]
    command = ["sh", "-c", 'read go && exec "$@"', "sh", *map(str, make)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        with Session(Settings(pids=[process.pid], max_files=ROOM, paths=[b"%s/*" % bytes(place)])) as session:
            session.write_to(Writer(Target(output, force=True)))
            session.attach()
            session.trace_process(process.pid, follow=True)
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.close()
            spent, taken = _trace(session, process)
            moved = files - session.files()
            session.finish()
    if process.returncode:
        raise BenchError(f"the measured process ended with status {process.returncode}")
    with reader.open(output) as profile:
        lost = sum(profile.header.lost.values())
    each = spent / max(moved, 1)
    return Row(
        "moved",
        "files moved to the profile while tracing",
        f"{1 / each:,.0f} for each second of a CPU: {each * 1e6:.1f} us a file; {moved:,} of {files:,} moved in "
        f"{taken:.0f} s, {lost:,} lost",
        f"{RATE:,}, nothing lost",
        1 / each >= RATE and not lost,
        {"rate": 1 / each, "files": moved, "lost": lost},
    )


def _trace(session: Session, process: subprocess.Popen[str]) -> Tuple[float, float]:
    """Until the process says that it is done: seconds of CPU time, and seconds."""
    begun, before = time.monotonic(), _spent()
    assert process.stdout is not None
    more = False
    while not select.select([process.stdout], [], [], 0)[0]:
        more = session.step(0 if more else POLL)
    session.step(0)  # takes the last names
    return _spent() - before, time.monotonic() - begun


def _spent() -> float:
    """The CPU time of this process and of children that have ended, which the one that makes files has not."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)
