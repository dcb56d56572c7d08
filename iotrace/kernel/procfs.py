"""The proc that shows the processes of iotrace's own PID namespace, and which namespace that is.

/proc need not be that one: it may have been mounted for another PID namespace, or not at all. A number in it then means
nothing here, or another process. So a proc of our own is mounted then, which nobody else sees.
"""

from __future__ import annotations

import functools
import os
from typing import List, Optional

from iotrace.errors import Failure, words
from pybpf.mounts import mount_privately

INITIAL = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h: the first namespace's inode number since 3.8


def open_path(path: str, flags: int = os.O_RDONLY) -> int:
    """Open a path in proc, such as "17/comm"; the descriptor is the caller's. Raises OSError."""
    root = _own_root()
    if root is None:
        return os.open(f"/proc/{path}", flags | os.O_CLOEXEC)
    return os.open(path, flags | os.O_CLOEXEC, dir_fd=root)


def read(path: str) -> bytes:
    """What a file in proc has. Raises OSError."""
    with open(open_path(path), "rb") as source:
        return source.read()


def entries(path: str = ".") -> List[str]:
    """The names in a directory of proc. Raises OSError."""
    descriptor = open_path(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return os.listdir(descriptor)
    finally:
        os.close(descriptor)


def namespace(pid: int, kind: str) -> Optional[int]:
    """The inode number of a process's namespace of a kind ("pid", "mnt"); None if it has gone or does not tell."""
    try:
        descriptor = open_path(f"{pid}/ns/{kind}", os.O_PATH)
    except OSError:
        return None
    try:
        return os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)


def is_initial() -> bool:
    """Whether this process is in the initial PID namespace, whose numbers the kernel itself uses. Raises Failure."""
    return namespace(os.getpid(), "pid") in (INITIAL, None)  # None: no namespaces (CONFIG_PID_NS)


@functools.lru_cache(maxsize=None)
def _own_root() -> Optional[int]:
    """None if /proc is the proc of this process's PID namespace, else a descriptor of one that is. Raises Failure."""
    if _shows_us():
        return None
    try:
        return mount_privately("proc")
    except OSError as error:
        raise Failure(
            "/proc does not show the PID namespace that iotrace is in, and iotrace cannot mount one that does "
            f"({words(error)}): mount -t proc proc /proc"
        ) from error


def _shows_us() -> bool:
    """Whether /proc shows this process by the number that it has for itself, and by no other one further down."""
    try:
        with open("/proc/self/status", "rb") as source:
            lines = dict(line.split(b":", 1) for line in source if line.startswith((b"Tgid:", b"NSpid:")))
    except OSError:
        return False
    own = str(os.getpid()).encode()
    # NSpid, of 4.1, has a number for each namespace from that of the proc on down.
    return lines[b"Tgid"].split() == [own] and lines.get(b"NSpid", own).split() == [own]
