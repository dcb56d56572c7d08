"""Sessions for tests: processes that wait, the forms that a session can take, and what a profile says of a file."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Type

import pytest

from iotrace.kernel import facts
from iotrace.profile import reader
from iotrace.profile.metrics import FileStats, Header
from iotrace.profile.values import bucket
from iotrace.profile.writer import Writer
from iotrace.tracing.session import Session, Settings
from programs.facts.kernel import Kernel
from pybpf import features
from pybpf.types.tracefs import Tracefs

BLOCK = 4096
CALLS = 23

Pause = Callable[[], None]


@dataclass
class Profile(Header):
    """A whole profile in memory."""

    files: List[FileStats] = field(default_factory=list)


class Child:
    """A process that waits at each `pause()` of its work until `step` lets it go on."""

    def __init__(self, work: Callable[[Pause], None]) -> None:
        child_reads, self._go = os.pipe()
        self._reached, child_writes = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._go)
            os.close(self._reached)
            self._run(work, child_reads, child_writes)
        os.close(child_reads)
        os.close(child_writes)

    @staticmethod
    def _run(work: Callable[[Pause], None], go: int, reached: int) -> None:
        def pause() -> None:
            os.write(reached, b".")
            if not os.read(go, 1):
                os._exit(3)

        status = 1
        try:
            pause()
            work(pause)
            status = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def wait(self) -> None:
        """Until it has come to a `pause()`; the first is before its work."""
        assert os.read(self._reached, 1) == b".", "the child has failed"

    def step(self) -> None:
        """Let it go on, to its next `pause()`."""
        os.write(self._go, b"!")
        self.wait()

    def end(self) -> None:
        """Let it go on, to its end."""
        os.write(self._go, b"!")
        pid, self.pid = self.pid, 0
        assert os.waitpid(pid, 0)[1] == 0

    def __enter__(self) -> Child:
        self.wait()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        os.close(self._go)
        os.close(self._reached)
        if self.pid:
            os.waitpid(self.pid, 0)


@dataclass(frozen=True)
class Form:
    """A way in, the kernel whose abilities are acted out (None: this one's), where calls under way are kept, and copies
    of programs (`Kernel.spares`).

    "light" is raw tracepoints without a program at the entry of data calls.
    """

    attach: str
    kernel: Optional[Tuple[int, int]] = None
    tid_slots: Optional[int] = None
    spares: int = 0

    def facts(self) -> facts.Facts:
        """This kernel's, less what the one acted out does not have."""
        with contextlib.ExitStack() as stack:
            found = facts.gather(stack.enter_context(Tracefs.open()) if self.attach in ("perf", "light") else None)
        if self.tid_slots is not None:
            found = replace(found, kernel=replace(found.kernel, tid_slots=self.tid_slots, tid_direct=False))
        if self.kernel is None:
            return replace(found, kernel=replace(found.kernel, spares=self.spares)) if self.spares else found
        kernel = found.kernel
        older = Kernel(
            kernel.machine,
            kernel.offsets,
            kernel.fields,
            kernel.one_reference,
            fetch_atomics=False,
            big_values=self.kernel >= (4, 18),
            ring_buffer=self.kernel >= (5, 8),
            tid_slots=kernel.tid_slots,
            tid_direct=kernel.tid_direct,
            back_jumps=self.kernel >= (5, 3),
        )
        return replace(found, kernel=older, preallocate=True)

    @property
    def way(self) -> Dict[str, Any]:
        """The settings that ask for it."""
        return {"light": True} if self.attach == "light" else {"attach": self.attach}

    @contextlib.contextmanager
    def session(self, **wanted: Any) -> Iterator[Session]:
        """A session that has been started."""
        found = self.facts()
        features.pretend(self.kernel)
        try:
            with Session(Settings(**{**self.way, "max_files": 1024, **wanted}), found) as session:
                session.attach()
                yield session
        finally:
            features.pretend(None)

    def trace(self, work: Callable[[], None], **wanted: Any) -> Profile:
        """The profile of a child that does the work."""
        with Child(lambda _pause: work()) as child, self.session(**wanted) as session:
            session.trace_process(child.pid, follow=True)
            child.end()
            return finished(session)


RAW, PERF, LIGHT = Form("raw"), Form("perf"), Form("light")
FORMS = {
    "raw": RAW,
    "raw as on 4.17": Form("raw", (4, 17)),
    "raw as on 5.10": Form("raw", (5, 10)),
    "raw, one record for all threads": Form("raw", None, 1),
    "raw, no records by thread number": Form("raw", None, 0),
    "perf": PERF,
    "perf as on 4.14": Form("perf", (4, 14)),
    "perf as on 4.14, no records by thread number": Form("perf", (4, 14), 0),
    "light": LIGHT,
    "light as on 4.18": Form("light", (4, 18)),
    "light, one record for all threads": Form("light", None, 1),
}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
both_ways = pytest.mark.parametrize("form", [RAW, PERF, LIGHT], ids=["raw", "perf", "light"])

Made = Tuple[int, int, Dict[int, int], Dict[int, int], Dict[str, int]]


def made(call_sizes: List[int], completed: Optional[List[int]] = None, errors: Optional[Dict[str, int]] = None) -> Made:
    """What must be counted for calls that asked for these sizes: calls, bytes, requested, completed, errors."""
    done = call_sizes if completed is None else completed
    return len(call_sizes), sum(done), histogram(call_sizes), histogram(done), errors or {}


def histogram(sizes: List[int]) -> Dict[int, int]:
    counts: Dict[int, int] = {}
    for size in sizes:
        counts[bucket(size)] = counts.get(bucket(size), 0) + 1
    return counts


def finished(session: Session) -> Profile:
    """The session's profile, as it is read from its file."""
    session.stop()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "profile")
        session.write_to(Writer(path))
        session.finish()
        with reader.open(path) as profile:
            return Profile(**vars(profile.header), files=list(profile.files()))


def file_of(profile: Profile, path: Path) -> FileStats:
    (found,) = [file for file in profile.files if file.path == os.fsencode(path)]
    return found


def data(profile: Profile, path: Path) -> Dict[str, Made]:
    """What was counted for the file's calls but open and close."""
    return {
        name: (call.calls, call.bytes, call.requested, call.completed, call.errors)
        for name, call in file_of(profile, path).syscalls.items()
        if name not in ("open", "close")
    }


def paths(profile: Profile, below: Path) -> List[str]:
    start = os.fsencode(below) + b"/"
    return sorted(os.fsdecode(file.path[len(start) :]) for file in profile.files if file.path.startswith(start))


def nothing_lost(profile: Profile) -> bool:
    return not any(profile.lost.values())


def write_calls(path: Path, calls: int = CALLS) -> None:
    """`calls` times pwrite64 of a block."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for number in range(calls):
        os.pwrite(fd, bytes(BLOCK), number * BLOCK)
    os.close(fd)
