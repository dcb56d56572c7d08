"""By which route a call goes on: the comparisons, run for every kind."""

from __future__ import annotations

import operator
from itertools import groupby
from typing import Dict, List, Tuple

import pytest

from asm import Assembler, Instruction, ProgramType, isa, r1, r8
from programs.facts.catalogue import Kind, Route
from programs.way import enter

MEANINGS = {isa.JGE: operator.ge, isa.JEQ: operator.eq}
LABELS = {Route.NOTE: "noted", Route.AIO: "aio", Route.HAND_ON: None}


class Number(int):
    """A kind of another catalogue."""

    route: Route


def comparisons() -> List[Instruction]:
    a = Assembler("routes", ProgramType.RAW_TRACEPOINT)
    a.ldx(r8, r1[0])
    enter.by_route(a, r8)
    for label in LABELS.values():
        if label:
            a.label(label)
    a.ret(0)
    return [i for i in a.program().instructions if i.goto]


def gone_to(kind: int, code: List[Instruction]) -> object:
    """The label that the comparisons jump to; None if none of them does."""
    return next((i.goto for i in code if MEANINGS[i.op & 0xF0](kind, i.imm)), None)


def test_every_kind_goes_its_declared_way() -> None:
    code = comparisons()
    ways = {kind: gone_to(kind, code) for kind in Kind if kind.route is not Route.RESOLVE}
    assert ways == {kind: LABELS[kind.route] for kind in ways}


@pytest.mark.parametrize(
    "order",
    ["NHAN", "HNHA", "ANAH", "AANNHHAAN", "HH"],
)
def test_the_comparisons_are_right_for_any_order_of_kinds(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """N is noted, H handed on, A of Linux AIO, in the order of their numbers; 1 is resolved before."""
    routes: Dict[int, Route] = {1: Route.RESOLVE}
    routes.update(enumerate(({"N": Route.NOTE, "H": Route.HAND_ON, "A": Route.AIO}[each] for each in order), 2))
    found: List[Tuple[Number, Number]] = []
    for route, group in groupby(sorted(routes), key=routes.__getitem__):
        first, *_, last = [*group] * 2
        ends = Number(first), Number(last)
        for end in ends:
            end.route = route
        found.append(ends)
    monkeypatch.setattr(enter, "runs", lambda: found)
    code = comparisons()
    assert {number: gone_to(number, code) for number in routes if number > 1} == {
        number: LABELS[route] for number, route in routes.items() if number > 1
    }
