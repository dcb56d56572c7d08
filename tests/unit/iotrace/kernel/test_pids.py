"""Where processes have their numbers, by what kernels call the members: as their structs were declared."""

from __future__ import annotations

import pytest

from iotrace.kernel.pids import from_members
from programs.facts.kernel import Pids

# struct proc_inode, struct pid and struct upid of 4.14 and 4.19 on x86_64 (fs/proc/internal.h, include/linux/pid.h).
COMMON = {"proc_inode.pid": 0, "proc_inode.vfs_inode": 72, "pid.level": 4, "upid.nr": 0, "upid.ns": 8}
OF_4_14 = {**COMMON, "pid.numbers": 48, "upid.pid_chain": 16, "task_struct.pids": 1800}
OF_4_19 = {**COMMON, "pid.numbers": 56, "task_struct.thread_pid": 1300}


def test_a_number_a_namespace_and_a_link() -> None:
    """struct pid_link has the pointer behind a struct hlist_node: two pointers."""
    assert from_members(OF_4_14) == Pids(
        proc_pid=-72, level=4, number=48, namespace=56, stride=32, thread_pid=1800 + 16
    )


def test_a_number_and_a_namespace() -> None:
    assert from_members(OF_4_19) == Pids(proc_pid=-72, level=4, number=56, namespace=64, stride=16, thread_pid=1300)


@pytest.mark.parametrize("lacking", sorted(OF_4_19))
def test_nothing_is_known_by_halves(lacking: str) -> None:
    assert from_members({name: at for name, at in OF_4_19.items() if name != lacking}) is None
