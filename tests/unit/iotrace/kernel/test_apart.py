"""Programs that other processes assemble: the same ones, and nothing is left of those processes."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import List

import pytest

from iotrace.kernel import assembly, plan, planning
from iotrace.kernel.apart import Assemblers
from iotrace.kernel.facts import Facts
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
        assemblers.ask(ORDER)
        made = [assemblers.answer(half) for half in plan.HALVES]
    assert made == [assembly.assemble(ORDER, half) for half in plan.HALVES]
    assert left() == before


@pytest.mark.parametrize("half", plan.HALVES)
def test_one_that_dies_leaves_the_work_to_others(half: str) -> None:
    before = left()
    with Assemblers() as assemblers:
        os.kill(assemblers._workers[half].pid, signal.SIGKILL)
        assemblers.ask(ORDER)
        answered = [other for other in plan.HALVES if assemblers.answer(other) is not None]
    assert answered == [other for other in plan.HALVES if other != half]
    assert left() == before


def test_a_plan_is_the_same_whoever_assembles_it() -> None:
    found = Facts(ORDER.kernel, ORDER.preallocate, "")
    made = []
    with Assemblers() as helpers, Assemblers() as gone:
        for worker in gone._workers.values():
            os.kill(worker.pid, signal.SIGKILL)
        for assemblers in (helpers, gone, None):
            planned = planning.make(ORDER.options, None, "", None, found, assemblers=assemblers)
            made.append((planned.form, planned.others()))
    assert made[0] == made[1] == made[2]


def test_nobody_need_ask_them() -> None:
    before = left()
    with Assemblers():
        pass
    assert left() == before
