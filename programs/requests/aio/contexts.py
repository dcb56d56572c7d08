"""The contexts of a process: a list in a map."""

from __future__ import annotations

from asm import U64, Field, ProgramSpec, Slot, r0, r1, r3, r7, r8
from programs.facts.catalogue import Kind
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import (
    Maps,
)
from programs.facts.records import AioContext, AioKey, Call
from programs.way.body import Body
from programs.way.entry import begin_exit
from programs.way.registers import CALL


def context_key(b: Body) -> Slot:
    """The key of the contexts of the process of the Call record, but for the context."""
    a, key = b.a, b.a.slot("context", AioKey)
    a.ldx(r1, CALL[Call.process])
    a.stx(key[AioKey.tgid], r1)
    return key


def link(b: Body, key: Slot, *, known: int) -> None:
    """A record for the context of ``key``, the first in the list of its process's."""
    a, context, older, first = b.a, b.a.slot("made", U64), b.a.slot("older", U64), b.a.unique("first_context")
    unlink(b, key)
    a.ldx(r1, key[AioKey.context])
    a.stx(context, r1)
    a.st(key[AioKey.context], 0)
    a.st(older, 0)
    a.lookup(b.maps.contexts, key)
    a.jeq(r0, 0, first)
    a.ldx(r1, r0[AioContext.seen])
    a.stx(older, r1)
    a.label(first)
    fresh = b.fresh(AioContext)
    a.ldx(r1, context)
    a.stx(fresh[AioContext.seen], r1)
    a.update(b.maps.contexts, key, fresh)
    _point(b, key, older, AioContext.newer, context)
    fresh = b.fresh(AioContext)
    a.st(fresh[AioContext.known], known)
    a.ldx(r1, older)
    a.stx(fresh[AioContext.older], r1)
    a.ldx(r1, context)
    a.stx(key[AioKey.context], r1)
    a.update(b.maps.contexts, key, fresh)


def unlink(b: Body, key: Slot) -> None:
    """No record any more for the context of ``key``, if there was one."""
    a, context, none, linked = b.a, b.a.slot("made", U64), b.a.unique("no_record"), b.a.unique("unlinked")
    older, newer = a.slot("older", U64), a.slot("newer", U64)
    a.lookup(b.maps.contexts, key)
    a.jeq(r0, 0, none)
    for place, part in ((older, AioContext.older), (newer, AioContext.newer)):
        a.ldx(r1, r0[part])
        a.stx(place, r1)
    a.ldx(r1, key[AioKey.context])
    a.stx(context, r1)
    a.delete(b.maps.contexts, key)
    _point(b, key, older, AioContext.newer, newer)
    a.ldx(r1, newer)
    a.jeq(r1, 0, linked)
    _point(b, key, newer, AioContext.older, older)
    a.ja(none + "_restored")
    a.label(linked)
    a.st(key[AioKey.context], 0)
    a.lookup(b.maps.contexts, key)
    a.jeq(r0, 0, none + "_restored")
    a.ldx(r1, older)
    a.stx(r0[AioContext.seen], r1)
    a.label(none + "_restored")
    a.ldx(r1, context)
    a.stx(key[AioKey.context], r1)
    a.label(none)


def _point(b: Body, key: Slot, context: Slot, place: Field, to: Slot) -> None:
    """Lets ``place`` of the record of ``context``, if that has one, point to another context.  Overwrites ``key``."""
    a, none = b.a, b.a.unique("no_neighbour")
    a.ldx(r1, context)
    a.stx(key[AioKey.context], r1)
    a.lookup(b.maps.contexts, key)
    a.jeq(r0, 0, none)
    a.ldx(r1, to)
    a.stx(r0[place], r1)
    a.label(none)


def exit_context(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of io_setup and io_destroy: a context whose ring is known from its beginning, or one less."""
    b = begin_exit("exit_aio_context", kernel, options, maps)
    a, word = b.a, b.a.slot("word", U64)
    a.jne(r8, 0, "out")
    key = context_key(b)
    a.ldx(r1, b.argument(0))
    a.stx(key[AioKey.context], r1)
    a.and_(r7, 0xFF, "kind")
    a.jeq(r7, Kind.AIO_DESTROY, "destroyed")
    a.jne(r7, Kind.AIO_SETUP, "out")
    a.ldx(r3, b.argument(1))
    b.probe(word, 8, r3, 0, "the new context")
    a.ldx(r1, word)
    a.stx(key[AioKey.context], r1)
    link(b, key, known=1)
    a.ret(0)
    a.label("destroyed")
    unlink(b, key)
    a.label("out")
    a.ret(0)
    return b.program()
