"""No room for a completion."""

from __future__ import annotations

from asm import U64, Layout, ProgramSpec, field, r0, r1, r2, r3, r7
from programs.facts.kernel import Kernel, Options, Uring
from programs.facts.maps import Maps
from programs.facts.records import (
    PendingKey,
)
from programs.requests import notes
from programs.requests.uring.completed import complete
from programs.requests.uring.shapes import WORKER
from programs.way.body import Body, begin
from programs.way.entry import only_targets, spare_name
from programs.way.registers import CTX, SEARCH

COMPLETING = 1024  # requests looked at for one whose completion found no room


class Search(Layout):
    """The search for a request on the list of those being completed: what is next there, and what it must have."""

    next = field(U64)
    user_data = field(U64)
    result = field(U64)
    found = field(U64)


def overflowed(kernel: Kernel, options: Options, maps: Maps, uring: Uring, copy: int = 0) -> ProgramSpec:
    """io_uring_cqe_overflow (ring, user data, result, ...): there was no room to post a completion.

    The event does not name the request, but that is on the ring's list of those that are just being completed, or
    before 6.14 or so what the current worker works on.
    """
    b = begin(spare_name("uring_overflowed", copy), kernel, options, maps)
    a, o = b.a, uring.offsets
    a.call("get_current_pid_tgid")
    a.rsh(r0, 32)
    only_targets(b, r0, "out")
    key, search = a.slot("pending", PendingKey), a.slot("search", Search)
    a.zero(key)
    a.zero(search)
    for place, at in ((Search.user_data, 8), (Search.result, 16)):
        a.ldx(r1, CTX[at])
        a.stx(search[place], r1)
    a.ldx(r7, CTX[0], "the ring")
    b.load(r7, r7, o["ring.completing"], "a number: of a typed pointer no place could be made")
    a.stx(search[Search.next], r7)
    b.loop(COMPLETING, "look", lambda: _look(b, uring), search)
    a.ldx(r7, search[Search.found])
    a.jne(r7, 0, "this_one")
    if uring.offsets.keys() >= set(WORKER):
        _worker_request(b, uring)
        a.ldx(r2, search[Search.user_data])
        a.ldx(r3, search[Search.result])
        _compare(b, uring, "out")
    else:
        a.ja("out")
    a.label("this_one")
    a.stx(key[PendingKey.request], r7)
    notes.find(b, key, "out")
    complete(b, uring, key)
    return b.program()


def _worker_request(b: Body, uring: Uring) -> None:
    """r7 = what the current task works on, if it is one of io_uring's workers; otherwise, nothing that was noted."""
    a, o = b.a, uring.offsets
    a.call("get_current_task")
    a.mov(r7, r0)
    b.load(r7, r7, o["task.worker"], of="task_struct")
    b.load(r7, r7, o["worker.work"])
    a.sub(r7, o["request.work"], "container_of()")


def _compare(b: Body, uring: Uring, other: str) -> None:
    """A jump to ``other`` unless the request in r7 has the user data in r2 and the result in r3."""
    a, o, user_data, result = b.a, uring.offsets, b.a.slot("user_data", U64), b.a.slot("wanted", U64)
    a.stx(user_data, r2)
    a.stx(result, r3)
    b.load(r1, r7, o["request.user_data"], of="io_kiocb")
    a.ldx(r2, user_data)
    a.jne(r1, r2, other)
    b.load(r1, r7, o["request.result"], size=4, of="io_kiocb")
    a.ldx(r2, result)
    a.mov32(r2, r2)
    a.jne(r1, r2, other)


def _look(b: Body, uring: Uring) -> None:
    """Whether the next one is it: the first of those alike that is not accounted for."""
    a, o, key = b.a, uring.offsets, b.a.slot("pending", PendingKey)
    a.mov(SEARCH, r2)
    a.ldx(r7, SEARCH[Search.next])
    a.jeq(r7, 0, "over")
    b.load(r1, r7, 0, "likewise")
    a.stx(SEARCH[Search.next], r1)
    a.sub(r7, o["request.list"], "container_of()")
    a.ldx(r2, SEARCH[Search.user_data])
    a.ldx(r3, SEARCH[Search.result])
    _compare(b, uring, "another")
    a.zero(key)
    a.stx(key[PendingKey.request], r7)
    notes.find(b, key, "another")
    a.stx(SEARCH[Search.found], r7)
    a.label("over")
    a.ret(1)
    a.label("another")
    a.ret(0)
