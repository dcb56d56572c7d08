"""A completion that finds no room in the ring: newer kernels show it by io_uring_cqe_overflow alone.

That event does not name the request. But the request is on the ring's list of those that are just being completed, or,
before 6.14 or so, it is what the current worker works on: there user data and result tell it.
"""

from __future__ import annotations

from asm import U64, Layout, ProgramSpec, field, r0, r1, r2, r3
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import PendingKey
from programs.requests import notes
from programs.requests.uring.completed import complete
from programs.requests.uring.events import only_traced
from programs.requests.uring.shapes import WORKER
from programs.way.body import Body, begin, spare_name
from programs.way.registers import CTX, REQUEST, SEARCH, STRUCT

COMPLETING = 1024  # requests looked at for one whose completion found no room


class Search(Layout):
    """The search for a request on the list of those being completed: what is next there, and what it must have."""

    next = field(U64)  # io_wq_work_node *
    user_data = field(U64)
    result = field(U64)
    found = field(U64)  # struct io_kiocb *


def overflowed(kernel: Kernel, options: Options, maps: Maps, copy: int = 0) -> ProgramSpec:
    """io_uring_cqe_overflow (ring, user data, result, ...): there was no room to post a completion. 5.19."""
    b = begin(spare_name("uring_overflowed", copy), kernel, options, maps)
    a, o = b.a, b.uring.offsets
    only_traced(b)
    key, search = a.slot("pending", PendingKey), a.slot("search", Search)
    a.zero(key)
    a.zero(search)
    for place, at in ((Search.user_data, 8), (Search.result, 16)):
        a.ldx(r1, CTX[at])
        a.stx(search[place], r1)
    a.ldx(STRUCT, CTX[0], "the ring")
    b.load(STRUCT, STRUCT, o["ring.completing"], "as a number: the verifier allows no arithmetic on a typed pointer")
    a.stx(search[Search.next], STRUCT)
    b.loop(COMPLETING, "look", lambda: _look(b), search)
    a.ldx(REQUEST, search[Search.found])
    a.jne(REQUEST, 0, "this_one")
    if o.keys() >= set(WORKER):
        _load_worker_s_request(b)
        a.ldx(r2, search[Search.user_data])
        a.ldx(r3, search[Search.result])
        _unless_it(b, "out")
    else:
        a.ja("out")
    a.label("this_one")
    a.stx(key[PendingKey.request], REQUEST)
    notes.find(b, key, "out")
    complete(b, key)
    return b.program()


def _load_worker_s_request(b: Body) -> None:
    """REQUEST = what the current task works on, if it is one of io_uring's workers; else nothing that was noted."""
    a, o = b.a, b.uring.offsets
    a.call("get_current_task")
    a.mov(STRUCT, r0)
    b.load(STRUCT, STRUCT, o["task.worker"], of="task_struct")
    b.load(STRUCT, STRUCT, o["worker.work"])
    a.sub(REQUEST, o["request.work"], "container_of()")


def _look(b: Body) -> None:
    """The callback of the search: stops at the first request like it that is not accounted for, and at the list's end.

    Of those alike, the one that is due comes first.
    """
    a, o, key = b.a, b.uring.offsets, b.a.slot("pending", PendingKey)
    a.mov(SEARCH, r2)
    a.ldx(STRUCT, SEARCH[Search.next])
    a.jeq(STRUCT, 0, "over")
    b.load(r1, STRUCT, 0, "as a number too")
    a.stx(SEARCH[Search.next], r1)
    a.sub(REQUEST, o["request.list"], "container_of()")
    a.ldx(r2, SEARCH[Search.user_data])
    a.ldx(r3, SEARCH[Search.result])
    _unless_it(b, "another")
    a.zero(key)
    a.stx(key[PendingKey.request], REQUEST)
    notes.find(b, key, "another")
    a.stx(SEARCH[Search.found], REQUEST)
    a.label("over")
    a.ret(1)
    a.label("another")
    a.ret(0)


def _unless_it(b: Body, other: str) -> None:
    """Jumps to `other` unless REQUEST has the user data in r2 and the result in r3, of which 32 bits count."""
    a, o, user_data, result = b.a, b.uring.offsets, b.a.slot("user_data", U64), b.a.slot("wanted", U64)
    a.stx(user_data, r2)
    a.stx(result, r3)
    b.load(r1, REQUEST, o["request.user_data"], of="io_kiocb")
    a.ldx(r2, user_data)
    a.jne(r1, r2, other)
    b.load(r1, REQUEST, o["request.result"], size=4, of="io_kiocb")
    a.ldx(r2, result)
    a.mov32(r2, r2)
    a.jne(r1, r2, other)
