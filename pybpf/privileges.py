"""What this process may do: its capabilities, its limits, and the words for what is missing."""

from __future__ import annotations

import os
import resource
import threading
from enum import IntEnum
from typing import FrozenSet, List, Tuple

__all__ = ["Capability", "capabilities", "explain_eperm", "lacking", "make_room", "memlock", "raise_memlock"]

_INITIAL_USER_NAMESPACE = 0xEFFFFFFD  # PROC_USER_INIT_INO, include/linux/proc_ns.h
_RAISING = threading.Lock()  # several threads may be refused at once, and the limit is the process's


class Capability(IntEnum):
    """The capabilities that tracing may need (linux/capability.h)."""

    DAC_READ_SEARCH = 2
    SYS_PTRACE = 19
    SYS_ADMIN = 21
    SYS_RESOURCE = 24
    PERFMON = 38  # 5.8: perf_event_open, tracing programs, reading kernel memory from them
    BPF = 39  # 5.8: bpf(2) itself

    def __str__(self) -> str:
        return f"CAP_{self.name}"


def capabilities() -> FrozenSet[Capability]:
    """Those of `Capability` that this thread has in effect."""
    with open("/proc/thread-self/status", "rb") as status:
        for line in status:
            if line.startswith(b"CapEff:"):
                mask = int(line.split()[1], 16)
                return frozenset(capability for capability in Capability if mask >> capability & 1)
    return frozenset()


def memlock() -> Tuple[int, int]:
    """RLIMIT_MEMLOCK, soft and hard, in bytes; `resource.RLIM_INFINITY` stands for no limit."""
    return resource.getrlimit(resource.RLIMIT_MEMLOCK)


def raise_memlock(seen: Tuple[int, int]) -> bool:
    """Lift RLIMIT_MEMLOCK as far as this process may; whether the limit now differs from `seen`.

    `seen` is what `memlock` gave before the attempt that was refused. If the limit differs by now, by this thread's
    doing or by another's, the attempt is worth repeating. Before 5.11 maps and programs are charged to this limit, and
    exceeding it is EPERM; since then memory is charged to the cgroup (97306be45fbe "switch to memcg-based memory
    accounting", in v5.11) and the limit plays no part.
    """
    with _RAISING:
        if memlock() == seen and seen[0] != resource.RLIM_INFINITY:
            hard = seen[1]
            for limit in ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), (hard, hard)):
                try:
                    resource.setrlimit(resource.RLIMIT_MEMLOCK, limit)
                    break
                except (OSError, ValueError):
                    continue  # going beyond the hard limit takes CAP_SYS_RESOURCE
        return memlock() != seen


def make_room(files: int) -> bool:
    """Whether so many more files can be opened. RLIMIT_NOFILE is raised if it takes that, and the hard limit allows it.

    They are counted (proc(5), /proc/PID/fd) and not tried out, which would leave none to another thread meanwhile.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = len(os.listdir("/proc/self/fd")) - 1 + files  # less the one that lists them
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            return False
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return True


def lacking() -> str:
    """What keeps this process from tracing whatever the kernel has, and what to do about it, as one clause; or "".

    bpf(2) looks at the initial user namespace alone: to be root of another one is not enough.
    """
    try:
        held = capabilities()
        initial = os.stat("/proc/self/ns/user").st_ino == _INITIAL_USER_NAMESPACE
    except FileNotFoundError:
        return "/proc is not mounted, and cannot be done without: mount -t proc proc /proc"
    needed = _needed()
    missing = [] if Capability.SYS_ADMIN in held else [capability for capability in needed if capability not in held]
    if not missing:
        return "" if initial else "root of a user namespace (a rootless container) may not trace: use root of the host"
    words = " and ".join(map(str, missing))
    if os.geteuid() == 0:
        return f"this root lacks {words}, as in a container: grant that (--cap-add), or trace from the host"
    some = f"{words} is missing: " if len(missing) < len(needed) else ""
    return f"{some}tracing needs root, or {' and '.join(map(str, needed))}: try sudo"


def _needed() -> List[Capability]:
    """What stands in for root: CAP_SYS_ADMIN where the kernel does not know the other two (5.8)."""
    try:
        with open("/proc/sys/kernel/cap_last_cap", "rb") as last:
            known = int(last.read())
    except (OSError, ValueError):
        known = Capability.BPF
    return [Capability.BPF, Capability.PERFMON] if known >= Capability.BPF else [Capability.SYS_ADMIN]


def explain_eperm() -> str:
    """Why the kernel may have said EPERM, and what to do about it, as one clause."""
    reason = lacking()
    if reason:
        return reason
    forbidden = "kernel lockdown, a security module or a container's filter forbids it"
    soft, _hard = memlock()
    if soft == resource.RLIM_INFINITY or Capability.SYS_RESOURCE in capabilities():
        return forbidden
    return (
        f"before Linux 5.11, RLIMIT_MEMLOCK ({soft // 1024} KiB) is too low, and only CAP_SYS_RESOURCE may raise it: "
        "keep that, or start with more (`ulimit -l unlimited` as root, LimitMEMLOCK= of systemd, docker --ulimit "
        f"memlock=-1); else {forbidden}"
    )
