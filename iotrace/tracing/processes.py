"""Processes as proc shows them: names, descent, threads, and system calls under way."""

from __future__ import annotations

import contextlib
import os
from typing import Dict, Iterable, Iterator, List, Optional, Tuple

from iotrace.errors import UserError
from iotrace.kernel import procfs


def names() -> Iterator[int]:
    """Every process of this PID namespace."""
    for entry in procfs.entries():
        if entry.isdigit():
            yield int(entry)


def comm(pid: int) -> Optional[bytes]:
    """The name of a process, None if it has gone."""
    try:
        return procfs.read(f"{pid}/comm").rstrip(b"\n")
    except OSError:
        return None


def alive(pid: int) -> bool:
    """Whether a process exists and has not become a zombie."""
    try:
        return procfs.read(f"{pid}/stat").rpartition(b") ")[2][:1] not in (b"Z", b"X")
    except OSError:
        return False


def thread_group(pid: int) -> Optional[int]:
    """The process that a thread id belongs to, None if there is none."""
    with contextlib.suppress(OSError):
        for line in procfs.read(f"{pid}/status").splitlines():
            if line.startswith(b"Tgid:"):
                return int(line.split()[1])
    return None


def check(pids: Iterable[int]) -> None:
    """Raise UserError unless the number is that of a process: nothing has it, or a thread has."""
    for pid in pids:
        if not os.path.exists("/proc/self"):
            raise UserError(f"process {pid}: /proc is not mounted, so it cannot be found: mount -t proc proc /proc")
        group = thread_group(pid)
        if group is None:
            raise UserError(f"process {pid}: there is no such process")
        if group != pid:
            raise UserError(f"process {pid}: that is a thread of process {group}; give {group}")


def under_way(pid: int) -> Iterator[Tuple[int, int, List[int]]]:
    """The threads of a process that wait within a system call: thread id, number of the call, and its arguments.

    There are none where the kernel does not let us look: that takes what ptrace takes.
    """
    with contextlib.suppress(OSError):
        for entry in procfs.entries(f"{pid}/task"):
            with contextlib.suppress(OSError):
                words = procfs.read(
                    f"{pid}/task/{entry}/syscall"
                ).split()  # number, six arguments, stack pointer, program counter
                if len(words) == 9:
                    yield int(entry), int(words[0]), [int(word, 16) for word in words[1:7]]


def in_cgroups(directories: Iterable[str]) -> Iterator[int]:
    """The processes in these cgroups, and below them, by their numbers here."""
    for top in directories:
        for directory, _, _ in os.walk(top):
            with contextlib.suppress(OSError), open(os.path.join(directory, "cgroup.procs"), encoding="ascii") as file:
                yield from (int(line) for line in file if line.strip() != "0")  # 0: not in our PID namespace


def descendants(roots: List[int]) -> List[int]:
    """The children of `roots`, their children and so on, without `roots`."""
    children: Dict[int, List[int]] = {}
    for pid in names():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(procfs.read(f"{pid}/stat").rpartition(b") ")[2].split()[1])
            children.setdefault(parent, []).append(pid)
    found: List[int] = []
    todo = list(roots)
    while todo:
        for pid in children.get(todo.pop(), ()):
            if pid not in found:
                found.append(pid)
                todo.append(pid)
    return found
