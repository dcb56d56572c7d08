"""Programs that other processes assemble: the same ones, and nothing is left of those processes."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import List

import pytest

from iotrace.kernel import assembly, plan
from iotrace.kernel.apart import Assemblers
from iotrace.kernel.plan import Order
from programs.facts.kernel import Options
from tests.unit.programs.forms import NEWEST, PIDS, URING, URING_TYPES

ORDER = Order(
    replace(NEWEST, types=URING_TYPES, uring=URING, pids=PIDS, tid_slots=16384, tid_direct=False),
    Options(by="process", comm=True, roots=(1, 2)),
    preallocate=False,
    raw=True,
)


def left() -> List[List[str]]:
    """The children of this process, and what it has open."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [children, os.listdir("/proc/self/fd")]


def test_they_assemble_what_one_process_does() -> None:
    before = left()
    with Assemblers() as assemblers:
        made = assemblers.assemble(ORDER)
    assert made == {**assembly.assemble(ORDER, plan.CALLS), **assembly.assemble(ORDER, plan.RINGS)}
    assert left() == before


@pytest.mark.parametrize("which", [0, 1])
def test_one_that_dies_leaves_the_work_to_others(which: int) -> None:
    before = left()
    with Assemblers() as assemblers:
        os.kill(assemblers._workers[which]._pid, signal.SIGKILL)
        assert assemblers.assemble(ORDER) is None
    assert left() == before


def test_nobody_need_ask_them() -> None:
    before = left()
    with Assemblers():
        pass
    assert left() == before
