"""Numbers of threads: a `struct pid` has one for each PID namespace that a thread is in, from the initial one on down.

They can be told apart only where the threads of this process have more than one, that is in a PID namespace below the
initial one.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Dict, Iterable, List, NamedTuple, Tuple

from pybpf.calibration.files import INODE_BYTES, OpenFiles
from pybpf.calibration.search import Block, CalibrationError, Search, is_pointer, places, pointers

__all__ = ["Numbers", "Thread"]

_BEFORE = 256  # bytes before an inode that may be the file system's own
_PID_BYTES = 256  # as much of a struct pid as is looked at
_POINTER = 8
_STRIDES = (16, 32)  # of a number and a namespace, with a link (until 4.15) or without
_MORE = ("stat", "status", "comm", "wchan")  # each refers to the thread, once it is open


class Thread(NamedTuple):
    """A thread of this process: its task_struct, its number in the initial namespace and that in its own."""

    task: Block
    initial: int
    own: int


class Numbers:
    """Finds where the numbers of threads are, and the ways to them."""

    def __init__(self, search: Search, files: OpenFiles, threads: List[Thread]) -> None:
        self.search, self.files, self.threads = search, files, threads

    def find(self) -> Dict[str, int]:
        """Distances in bytes, as `programs.facts.kernel.Pids` has them. Raises CalibrationError, OSError."""
        with ExitStack() as opened:
            inodes = []
            for count, thread in enumerate(self.threads):
                directory = f"/proc/self/task/{thread.own}"
                inodes.append(self.files.pointer(_open(opened, directory, os.O_DIRECTORY), "file.f_inode"))
                for name in _MORE[:count]:  # so that no two have the same number of references
                    _open(opened, f"{directory}/{name}")
            proc_pid, number, pids = self._struct_pid(inodes)
            own = _only("upid.nr", [at for at in places(self._with(pids, "own"), 4) if at > number])
            namespace = self._namespaces(pids, number, own)
            stride, level = self._level(pids, number, own)
        tasks = [(thread.task, pid.address) for thread, pid in zip(self.threads, pids)]
        return {
            "proc_pid": proc_pid,
            "level": level,
            "number": number,
            "namespace": namespace,
            "stride": stride,
            "thread_pid": _only("task_struct.thread_pid", places(tasks, 8)),
        }

    def _with(self, pids: List[Block], which: str) -> List[Tuple[Block, int]]:
        return [(pid, getattr(thread, which)) for pid, thread in zip(pids, self.threads)]

    def _struct_pid(self, inodes: List[int]) -> Tuple[int, int, List[Block]]:
        """Where an inode of proc leads to a struct pid, counted from the inode; where that has the initial number; and
        the structs."""
        around = [self.search.read(inode - _BEFORE, _BEFORE + INODE_BYTES) for inode in inodes]
        found = []
        for at in pointers(around):
            words = [block.word(at) for block in around]
            if len(set(words)) == len(words):
                pids = self.search.objects(words, _PID_BYTES)
                found += [(at - _BEFORE, number, pids) for number in places(self._with(pids, "initial"), 4)]
        if len(found) != 1:
            raise CalibrationError("proc_inode.pid", f"{len(found)} ways lead to a thread's number, not one")
        return found[0]

    def _namespaces(self, pids: List[Block], number: int, own: int) -> int:
        """Behind each number is its namespace, which these threads have in common."""
        spaces = [{pid.word(at + _POINTER) for pid in pids} for at in (number, own)]
        if any(len(space) != 1 or not is_pointer(min(space)) for space in spaces) or spaces[0] == spaces[1]:
            raise CalibrationError("upid.ns", "it is not behind the number")
        return number + _POINTER

    def _level(self, pids: List[Block], number: int, own: int) -> Tuple[int, int]:
        """How far numbers are apart, and where it says how many there are before the last one."""
        found = [
            (stride, level)
            for stride in _STRIDES
            if (own - number) % stride == 0
            for level in places([(pid, (own - number) // stride) for pid in pids], 4)
            if level < number
        ]
        if len(found) != 1:
            raise CalibrationError("pid.level", f"found in {len(found)} places, not one")
        return found[0]


def _only(member: str, offsets: Iterable[int]) -> int:
    every = sorted(offsets)
    if len(every) != 1:
        raise CalibrationError(member, f"found in {len(every)} places, not one")
    return every[0]


def _open(opened: ExitStack, path: str, flags: int = 0) -> int:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC | flags)
    opened.callback(os.close, descriptor)
    return descriptor
