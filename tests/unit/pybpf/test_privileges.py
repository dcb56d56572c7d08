"""The limit of locked memory, and what is done about it. Nothing here needs a privilege."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import resource
import subprocess
import sys
import threading
from typing import Callable, Tuple

import pytest

from pybpf import privileges, syscalls
from pybpf.attributes import MapCreateAttr, MapElementAttr
from pybpf.descriptor import Descriptor
from pybpf.parallel import make_all
from pybpf.syscalls import BpfError, Command, bpf


class MemoryLimit:
    """RLIMIT_MEMLOCK of a process before 5.11: what allocates is EPERM until the limit is `enough`.

    `hard` is as far as the process may raise it.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, enough: int) -> None:
        self.now, self.hard, self.enough = (soft, hard), hard, enough
        self.attempts = 0
        self.raised = threading.Event()
        self.before_refusal: Callable[[], object] = lambda: None
        held = frozenset(privileges.Capability) - {privileges.Capability.SYS_RESOURCE}
        monkeypatch.setattr(privileges, "capabilities", lambda: held)
        monkeypatch.setattr(resource, "getrlimit", lambda _which: self.now)
        monkeypatch.setattr(resource, "setrlimit", self.setrlimit)
        monkeypatch.setattr(syscalls._libc, "syscall", self.syscall)

    def setrlimit(self, _which: int, limits: Tuple[int, int]) -> None:
        if self.hard != resource.RLIM_INFINITY and limits[1] == resource.RLIM_INFINITY:
            raise ValueError("not allowed to raise maximum limit")
        self.now = limits
        self.raised.set()

    def syscall(self, *_arguments: int) -> int:
        self.attempts += 1
        if self.now[0] == resource.RLIM_INFINITY or self.now[0] >= self.enough:
            return os.open(os.devnull, os.O_RDONLY)
        self.before_refusal()
        ctypes.set_errno(errno.EPERM)
        return -1


def create_map() -> Descriptor:
    return Descriptor(bpf(Command.MAP_CREATE, MapCreateAttr(map_type=1), subject="map x"))


def test_eperm_lifts_the_memory_limit_once(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = MemoryLimit(monkeypatch, 65536, resource.RLIM_INFINITY, enough=1 << 40)
    create_map().close()
    assert limit.attempts == 2
    assert limit.now[0] == resource.RLIM_INFINITY
    limit = MemoryLimit(monkeypatch, 65536, 1 << 20, enough=1 << 20)
    create_map().close()
    assert limit.now == (1 << 20, 1 << 20)


def test_eperm_that_no_limit_cures_says_what_may_be_the_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = MemoryLimit(monkeypatch, 65536, 65536, enough=1 << 20)
    with pytest.raises(
        BpfError, match=r"map x: BPF_MAP_CREATE: .*EPERM.*RLIMIT_MEMLOCK \(64 KiB\).*ulimit -l"
    ) as refused:
        create_map()
    assert limit.attempts == 1
    assert "\n" not in str(refused.value)
    assert refused.value.errno == errno.EPERM
    limit = MemoryLimit(monkeypatch, 4096, 65536, enough=1 << 20)
    with pytest.raises(BpfError, match="EPERM"):
        create_map()
    assert limit.attempts == 2  # as far as it goes, and once more
    limit = MemoryLimit(monkeypatch, 65536, resource.RLIM_INFINITY, enough=1 << 20)
    with pytest.raises(BpfError, match="EPERM"):
        bpf(Command.MAP_UPDATE_ELEM, MapElementAttr())
    assert limit.attempts == 1  # an update allocates nothing that the limit bounds


def test_a_limit_that_could_be_raised_is_not_to_blame(monkeypatch: pytest.MonkeyPatch) -> None:
    MemoryLimit(monkeypatch, 65536, 65536, enough=1 << 20)
    monkeypatch.setattr(privileges, "capabilities", lambda: frozenset(privileges.Capability))
    with pytest.raises(BpfError, match=r"EPERM.*; kernel lockdown, .*forbids it$"):
        create_map()


def test_threads_that_are_refused_at_once_all_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses two threads; by the time the second hears of it, the first has raised the limit."""
    limit = MemoryLimit(monkeypatch, 65536, resource.RLIM_INFINITY, enough=1 << 20)
    both, order = threading.Barrier(2, timeout=10), itertools.count()

    def before_refusal() -> None:
        both.wait()
        if next(order):
            assert limit.raised.wait(10)

    limit.before_refusal = before_refusal
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    made = make_all({"first": create_map, "second": create_map})
    assert sorted(made) == ["first", "second"]
    assert limit.attempts == 4
    for owner in made.values():
        owner.close()


def test_raising_the_memory_limit() -> None:
    """In a child: the soft limit follows the hard one, and once it has there is nothing left to raise."""
    program = (
        "import resource, pybpf.privileges as p\n"
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096, p.memlock()[1]))\n"
        "raised = p.raise_memlock(p.memlock())\n"
        "print(raised, p.memlock()[0] >= p.memlock()[1] or p.memlock()[0] == -1, p.raise_memlock(p.memlock()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert done.stdout.split() == [b"True", b"True", b"False"]
