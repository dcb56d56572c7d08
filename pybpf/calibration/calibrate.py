"""Where the members of kernel structs lie, found on the running kernel without BTF, headers or debug information.

A thread of ours looks at kernel objects of its own through `peek` and searches them for what it knows anyway: its
number, the position of an open file, an inode's number, the name of a directory. Each member is looked for in several
objects, and in different states of them, at once: the member is only where all of them hold what they should, and if
that is nowhere, or in two places, CalibrationError names it. Nothing is guessed, so randomised layouts and kernels
that nobody has seen do not matter.

What is taken for granted is C: alignment, little-endian integers, and that a name's length lies behind its hash
(struct qstr).

`specimens` are the objects, `search` compares their bytes. `tasks`, `files`, `links`, `mounts` and `compat` look at
one kind of object each; here stands the order in which one leads to the next.
"""

from __future__ import annotations

import os
import threading
from typing import Dict, List, NamedTuple, Optional

from pybpf.calibration import specimens
from pybpf.calibration.compat import find_compat
from pybpf.calibration.files import CONFUSED, OpenFiles
from pybpf.calibration.links import Links
from pybpf.calibration.mounts import Mounts
from pybpf.calibration.numbers import Numbers, Thread
from pybpf.calibration.peek import Peek, PeekError
from pybpf.calibration.search import CalibrationError, Search
from pybpf.calibration.specimens import Laboratory, Orphan, Sleepers, SpecimenError
from pybpf.calibration.tasks import Tasks
from pybpf.types.tracefs import Tracefs

__all__ = ["Calibration", "CalibrationError", "calibrate", "calibrate_numbers"]

_ATTEMPTS = 3


class Calibration(NamedTuple):
    """What was found. `members` has offsets in bytes by dotted members, such as "file.f_path.dentry".

    Of `file.f_ref` (6.13) and `file.f_count` it has the one that this kernel has. `missing` are members that nothing
    depends on here, with the reason.
    """

    members: Dict[str, int]
    missing: Dict[str, str]


def calibrate(tracefs: Optional[Tracefs] = None) -> Calibration:
    """Find all members; through the raw tracepoint (4.17), or the perf one of `tracefs` (4.7).

    Takes a fraction of a second, CAP_SYS_ADMIN, and file systems that nobody else sees (tmpfs, ramfs); nothing is left
    of it. Raises CalibrationError, BpfError, TracefsError.
    """
    return _repeated(tracefs).found


def calibrate_numbers(tracefs: Optional[Tracefs] = None) -> Dict[str, int]:
    """Find the numbers of threads and what leads to them: see `numbers`. As `calibrate`, in other than the initial PID
    namespace."""
    return _repeated(tracefs, numbers=True).numbers


class _Found(NamedTuple):
    found: Calibration
    numbers: Dict[str, int]


def _repeated(tracefs: Optional[Tracefs], *, numbers: bool = False) -> _Found:
    for attempt in range(_ATTEMPTS):
        try:
            everything = _calibrate(tracefs, numbers)
            found = everything.found
            if CONFUSED not in found.missing.values() or attempt + 1 == _ATTEMPTS:
                return everything
        except (CalibrationError, SpecimenError, PeekError) as error:
            # Something else of this process may have changed meanwhile, such as how many threads it has.
            if attempt + 1 == _ATTEMPTS:
                if isinstance(error, CalibrationError):
                    raise
                raise CalibrationError("kernel memory", str(error)) from error
    raise AssertionError("unreachable")


def _calibrate(tracefs: Optional[Tracefs], numbers: bool) -> _Found:
    anchors = [os.open("/", os.O_RDONLY | os.O_DIRECTORY), *os.pipe2(os.O_CLOEXEC)]
    try:
        with Peek(tracefs) as peek, Orphan(peek) as orphan:
            worker = _Worker(peek, orphan, anchors, numbers)
            worker.start()
            worker.end()
    finally:
        for fd in anchors:
            os.close(fd)
    if worker.error is not None:
        raise worker.error
    return _Found(Calibration(worker.search.members, worker.missing), worker.numbers)


class _Worker(threading.Thread):
    """The thread that does it all, since it has to leave what it shares with its process.

    `anchors` are descriptors that were open before anything began: of the root directory and of both ends of a pipe.
    `count` says whether to look for the numbers of threads as well.
    """

    def __init__(self, peek: Peek, orphan: Orphan, anchors: List[int], count: bool) -> None:
        super().__init__(daemon=True)
        self._peek, self._orphan, self._anchors = peek, orphan, anchors
        self._tid, self._count = 0, count
        self.numbers: Dict[str, int] = {}
        self.search = Search(peek)
        self.missing: Dict[str, str] = {}
        self.error: Optional[BaseException] = None

    def run(self) -> None:
        try:
            self._tid = threading.get_native_id()
            self._peek.adopt()
            self._examine()
        except BaseException as error:  # raised where it is waited for
            self.error = error

    def _examine(self) -> None:
        """Find everything. All that is mounted and opened here ends with the thread."""
        with Sleepers(self._peek, [b"sleeper-1", b"the-second", b"3"]) as sleepers:
            tasks = Tasks(self.search, self._orphan, sleepers)
            tasks.leave()
            laboratory = Laboratory()
            files = OpenFiles(self.search, laboratory, self._anchors)
            files.find_table(tasks, sleepers.tid)
            tasks.find_namespaces()
            self.missing.update(files.find_members())
            if self._count:
                known = [
                    Thread(self.search.read(task.address, tasks.bytes), task.tid, own)
                    for task, own in sleepers.numbered
                ]
                self.numbers = Numbers(self.search, files, known).find()
            mounts = Mounts(self.search, laboratory, files, self._anchors)
            mounts.find_file_systems()
            mounts.find_names()
            self.missing.update(Links(self.search, laboratory, files).find())
            mounts.find_mounts(tasks.spaces)
            mounts.find_directories(tasks)
            tasks.find_counts()
            self.missing.update(tasks.find_leader())
            tasks.find_number()
            self.missing.update(find_compat(self.search, laboratory.base, tasks))

    def end(self) -> None:
        """Wait until the thread is gone from the kernel, and with it all that it has opened and mounted."""
        try:
            self.join()
        finally:  # Ctrl-C waits too: it is a fraction of a second
            self.join()
            specimens.wait_for("the thread does not end", lambda: self._tid not in specimens.threads())
