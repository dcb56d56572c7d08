"""Waiting for programs: what a program has looked up may be taken away only when the program has ended.

Programs that cannot sleep run within rcu_read_lock, so one has to wait for a grace period of RCU, which takes some
hundredths of a second. membarrier(2) waits for one (4.3, kernel/sched/membarrier.c), unless there is only one CPU: then
no program can be running, as long as programs are not preempted. Where they are (7.2) a map of maps is updated, after
which the kernel waits in any case (1ae80cf31938 "bpf: wait for running BPF programs when updating map-in-map", 4.19).
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from types import TracebackType
from typing import Callable, Optional, Type

import asm
from asm import U32, U64, MapType
from pybpf.maps import MapInMap, create
from pybpf.syscalls import can_wait_for_programs, wait_for_programs

__all__ = ["GracePeriods"]


class GracePeriods:
    """How to wait on this kernel; a context manager.

    `possible` says whether one can wait at all: membarrier(2) is refused with nohz_full, and by filters.
    """

    def __init__(self, preemptible: bool, cpus: Optional[int] = None) -> None:
        """`preemptible`: programs can be preempted (7.2); `cpus`: how many CPUs there are. Raises BpfError."""
        self._stack = ExitStack()
        self._wait: Callable[[], object] = wait_for_programs
        self.possible = can_wait_for_programs()
        if preemptible and (not self.possible or (cpus or os.cpu_count() or 1) == 1):
            self._wait = self._by_update()
            self.possible = True

    def _by_update(self) -> Callable[[], object]:
        pattern = asm.MapSpec("grace_inner", MapType.ARRAY, U32, U64, 1)
        inner = self._stack.enter_context(create(pattern))
        around = asm.MapSpec("grace", MapType.ARRAY_OF_MAPS, U32, U32, 1, inner=pattern)
        outer = self._stack.enter_context(create(around, MapInMap))
        return lambda: outer.set(0, inner)

    def wait(self) -> None:
        """Return once every program that is running now has ended. Raises BpfError where that is not `possible`."""
        self._wait()

    def close(self) -> None:
        """Release everything. Closing again does nothing."""
        self._stack.close()

    def __enter__(self) -> GracePeriods:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()
