"""What is sent to the kernel, and how its refusals read. Nothing here needs a privilege."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import itertools
import os
import resource
import subprocess
import sys
import threading
from typing import Any, Callable, List, Tuple

import pytest

from pybpf import attributes, privileges, syscalls
from pybpf.attributes import MapCreateAttr, ProgramLoadAttr, kernel_name
from pybpf.cpus import parse_cpu_list
from pybpf.descriptor import Descriptor
from pybpf.parallel import make_all
from pybpf.syscalls import BpfError, Command, bpf

# offsetofend of the last field that Linux 4.14 knows, include/uapi/linux/bpf.h of that release
END_OF_4_14 = {MapCreateAttr: 28, ProgramLoadAttr: 48}


def test_attributes_lie_where_the_kernel_has_them() -> None:
    """Offsets of `union bpf_attr` and `struct perf_event_attr`, from the header."""
    expected = {
        (MapCreateAttr, "map_name"): 28,
        (MapCreateAttr, "btf_fd"): 48,
        (MapCreateAttr, "btf_value_type_id"): 56,
        (ProgramLoadAttr, "log_buf"): 32,
        (ProgramLoadAttr, "prog_name"): 48,
        (ProgramLoadAttr, "expected_attach_type"): 68,
        (ProgramLoadAttr, "func_info"): 80,
        (ProgramLoadAttr, "line_info_cnt"): 104,
        (ProgramLoadAttr, "attach_btf_id"): 108,
        (attributes.MapBatchAttr, "count"): 32,
        (attributes.MapBatchAttr, "flags"): 48,
        (attributes.BtfLoadAttr, "btf_log_level"): 24,
        (attributes.PerfEventAttr, "wakeup_events"): 48,
    }
    for (attr, name), offset in expected.items():
        assert getattr(attr, name).offset == offset, (attr, name)
    assert ctypes.sizeof(attributes.PerfEventAttr) == 64


def test_no_more_is_sent_than_an_old_kernel_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: List[Any] = []

    def syscall(*arguments: int) -> int:
        sent.append(arguments)
        return 5

    monkeypatch.setattr(syscalls._libc, "syscall", syscall)
    bpf(Command.MAP_CREATE, MapCreateAttr(map_type=1, key_size=4, value_size=8, max_entries=1))
    bpf(Command.PROG_LOAD, ProgramLoadAttr(prog_type=5, insn_cnt=2, insns=1, license=1, kern_version=0x40E00))
    bpf(Command.MAP_CREATE, MapCreateAttr(map_type=1, key_size=4, value_size=8, max_entries=1, map_name=b"abc"))
    sizes = [arguments[3] for arguments in sent]
    assert sizes[0] <= END_OF_4_14[MapCreateAttr]
    assert sizes[1] <= END_OF_4_14[ProgramLoadAttr]
    assert sizes[2] >= 28 + 3


def answering(monkeypatch: pytest.MonkeyPatch, *codes: int) -> List[int]:
    """Have the kernel answer with these errors, then with descriptor 5; the list grows with every call."""
    answers, calls = list(codes), []

    def syscall(*arguments: int) -> int:
        calls.append(arguments[1])
        if not answers:
            return 5
        ctypes.set_errno(answers.pop(0))
        return -1

    monkeypatch.setattr(syscalls._libc, "syscall", syscall)
    return calls


def test_interruptions_are_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = answering(monkeypatch, errno.EINTR, errno.EAGAIN, errno.EAGAIN)
    assert bpf(Command.PROG_LOAD, ProgramLoadAttr()) == 5
    assert len(calls) == 4
    calls = answering(monkeypatch, *[errno.EAGAIN] * 100)
    with pytest.raises(BpfError, match="EAGAIN"):
        bpf(Command.PROG_LOAD, ProgramLoadAttr())
    assert len(calls) < 20
    calls = answering(monkeypatch, errno.EINTR)
    with pytest.raises(BpfError, match="EINTR"):
        bpf(Command.MAP_LOOKUP_BATCH, attributes.MapBatchAttr(), retry=False)


class MemoryLimit:
    """RLIMIT_MEMLOCK of a process before 5.11: what allocates is EPERM until the limit is `enough`.

    `hard` is as far as the process may raise it.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, enough: int) -> None:
        self.now, self.hard, self.enough = (soft, hard), hard, enough
        self.attempts = 0
        self.raised = threading.Event()
        self.before_refusal: Callable[[], object] = lambda: None
        monkeypatch.setattr(privileges, "capabilities", lambda: frozenset(privileges.Capability))
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
        bpf(Command.MAP_UPDATE_ELEM, attributes.MapElementAttr())
    assert limit.attempts == 1  # an update allocates nothing that the limit bounds


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


def test_unknown_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "", "", "", "vax")))
    with pytest.raises(BpfError, match=r"machine vax.*supported are aarch64, x86_64"):
        bpf(Command.MAP_CREATE, MapCreateAttr())


def test_errors_have_names() -> None:
    assert str(BpfError(524, "BPF_MAP_CREATE", "map x")) == (
        "map x: BPF_MAP_CREATE: Operation not supported by this kernel (ENOTSUPP)"
    )
    assert str(BpfError(errno.EINVAL, "mount", hint="try again")) == "mount: Invalid argument (EINVAL); try again"


def test_names_for_the_kernel() -> None:
    assert kernel_name("totals") == b"totals"
    assert kernel_name("a-rather.long name") == b"a_rather_long_n"
    assert kernel_name("gr\u00f6\u00dfe") == b"gr__e"


def test_descriptor_closes_once() -> None:
    read, write = os.pipe()
    owner = Descriptor(read)
    assert owner in Descriptor.opened()
    count = Descriptor.open_count()
    with owner as same:
        assert same.fileno() == read
    assert Descriptor.open_count() == count - 1
    other = os.dup(write)  # takes the number that was freed
    owner.close()
    os.fstat(other)
    with pytest.raises(ValueError, match="is closed"):
        owner.fileno()
    os.close(other)
    os.close(write)
    with pytest.raises(ValueError, match="not a file descriptor: -1"):
        Descriptor(-1)


def test_collected_descriptor_is_closed() -> None:
    read, write = os.pipe()
    owner = Descriptor(read)
    del owner
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(read)
    os.close(write)


def test_descriptor_zero_is_moved_away() -> None:
    program = (
        "import os, fcntl; from pybpf.descriptor import Descriptor\n"
        "os.close(0); owner = Descriptor(os.open('/dev/null', os.O_RDONLY))\n"
        "print(owner.fileno() > 2, fcntl.fcntl(owner, fcntl.F_GETFD), os.path.exists('/proc/self/fd/0'))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert done.stdout.split() == [b"True", str(fcntl.FD_CLOEXEC).encode(), b"False"]


@pytest.mark.parametrize(("text", "cpus"), [("0\n", [0]), ("0-3\n", [0, 1, 2, 3]), ("0-1,4,8-9", [0, 1, 4, 8, 9])])
def test_cpu_lists(text: str, cpus: List[int]) -> None:
    assert parse_cpu_list(text) == cpus


@pytest.mark.parametrize("text", ["", "x", "3-1", "0-999999999", "1,,2"])
def test_what_is_no_cpu_list(text: str) -> None:
    with pytest.raises(ValueError):
        parse_cpu_list(text)
