"""What a transfer adds, whichever of the two ways it goes: the quick one must not lack a metric."""

from __future__ import annotations

import re
from typing import Callable, Set

import pytest

from asm import r0, r1, r2, r3, r4, r5, r6, r7, r8, r9
from programs.counting import results
from programs.counting.counters import Counters
from programs.facts import maps
from programs.facts.kernel import Kernel, Options
from programs.facts.records import Call, FileState, OpHead
from programs.way.body import Body, begin
from tests.unit.programs.forms import NEWEST, OLDEST

PLACE = re.compile(r"[\[.](?:OpStats\.head|OpHead|FileState|Activity)\.(\w+)")


def written(kernel: Kernel, emit: Callable[[Body], None]) -> Set[str]:
    """The fields of counters, of a file's state, and of the status line, that the instructions write."""
    b = begin("result", kernel, Options(attach="raw"), maps.declare(kernel), context=False)
    for register in (r0, r2, r3, r4, r5, r6, r7, r8, r9, r1):
        b.a.ldx(register, r1[0])
    emit(b)
    b.a.label("full")
    b.a.ret(0)
    stores = [line.partition(";")[0] for line in b.program().listing().splitlines()]
    changed = [line for line in stores if re.match(r"\s*(lock )?r\d\[|.*atomic", line)]
    return {name for line in changed for name in PLACE.findall(line)}


def any_transfer(b: Body) -> None:
    results.transfer_result(b, "full", submitted=True)


def whole(b: Body) -> None:
    counters = Counters(b, r9[Call.id])
    counters.find_made("full")
    results.whole_transfer(b, counters)


@pytest.mark.parametrize("kernel", [NEWEST, OLDEST], ids=["newest", "4.14"])
def test_a_whole_transfer_adds_to_all_that_any_transfer_adds_to(kernel: Kernel) -> None:
    """But for FileState.operations, which whoever makes the record adds to."""
    made_once = {FileState.operations.name}
    assert written(kernel, whole) == written(kernel, any_transfer) - made_once


@pytest.mark.parametrize("kernel", [NEWEST, OLDEST], ids=["newest", "4.14"])
def test_a_transfer_adds_to_every_total_of_its_operation(kernel: Kernel) -> None:
    """Histograms are reached by an index, so that their cells have no names."""
    totals = {place.name for place in OpHead.fields.values() if place.is_scalar}
    assert totals <= written(kernel, any_transfer)
