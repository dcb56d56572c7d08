"""The contexts of Linux AIO: what is kept of each, and which of them a process has.

A context is where a process's requests complete. The map `contexts` has a record for each, under the process and the
address of the context, which is where its ring is mapped. As a process that ends must be asked for all of its own, and
no program can go through a map, the records of a process form a list, doubly linked, whose head is the record of a
context 0:

    head.first -> the context made last <-> the one made before <-> ... <-> the first one

Only threads of one process change a list. Two that create and destroy contexts at the same instant may leave one out of
it, whose last completions then are told as not seen.
"""

from __future__ import annotations

from asm import U64, Field, ProgramSpec, Slot, r0, r1, r3
from programs.facts.catalogue import Kind
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import AioContext, AioKey, Call, Signature
from programs.way.body import Body
from programs.way.exit import begin_exit
from programs.way.registers import CALL, CALL_KIND, RESULT


def exit_context(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of io_setup and io_destroy: a context whose ring is known from its beginning, or one less."""
    b = begin_exit("exit_aio_context", kernel, options, maps)
    a, word = b.a, b.a.slot("word", U64)
    a.jne(RESULT, 0, "out")
    key = context_key(b)
    a.ldx(r1, b.argument(0))
    a.stx(key[AioKey.context], r1)
    b.signature(CALL_KIND, Signature.kind)
    a.jeq(CALL_KIND, Kind.AIO_DESTROY, "destroyed")
    a.jne(CALL_KIND, Kind.AIO_SETUP, "out")
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


def context_key(b: Body) -> Slot:
    """A key of the map `contexts`, on the stack, for the process of the Call record; its context is still to be set."""
    a, key = b.a, b.a.slot("context", AioKey)
    a.ldx(r1, CALL[Call.process])
    a.stx(key[AioKey.tgid], r1)
    return key


def link(b: Body, key: Slot, *, known: int) -> None:
    """Makes a record for the context of `key`, at the beginning of its process's list.

    `known`: 1 if the ring is as new as the context, 0 if the context was made before tracing began.
    """
    a, context, older, first = b.a, b.a.slot("made", U64), b.a.slot("older", U64), b.a.unique("first_context")
    unlink(b, key)
    a.ldx(r1, key[AioKey.context])
    a.stx(context, r1)
    a.st(key[AioKey.context], 0)
    a.st(older, 0)
    a.lookup(b.maps.contexts, key)
    a.jeq(r0, 0, first)
    a.ldx(r1, r0[AioContext.first])
    a.stx(older, r1)
    a.label(first)
    head = b.fresh(AioContext)
    a.ldx(r1, context)
    a.stx(head[AioContext.first], r1)
    a.update(b.maps.contexts, key, head)
    _point(b, key, older, AioContext.newer, context)
    made = b.fresh(AioContext)
    a.st(made[AioContext.known], known)
    a.ldx(r1, older)
    a.stx(made[AioContext.older], r1)
    a.ldx(r1, context)
    a.stx(key[AioKey.context], r1)
    a.update(b.maps.contexts, key, made)


def unlink(b: Body, key: Slot) -> None:
    """Deletes the record of the context of `key`, if there is one, and takes it out of its list. `key` is kept."""
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
    a.stx(r0[AioContext.first], r1)
    a.label(none + "_restored")
    a.ldx(r1, context)
    a.stx(key[AioKey.context], r1)
    a.label(none)


def _point(b: Body, key: Slot, context: Slot, place: Field, to: Slot) -> None:
    """The field `place` of the record of `context`, if that has one, = `to`. Overwrites the context in `key`."""
    a, none = b.a, b.a.unique("no_neighbour")
    a.ldx(r1, context)
    a.stx(key[AioKey.context], r1)
    a.lookup(b.maps.contexts, key)
    a.jeq(r0, 0, none)
    a.ldx(r1, to)
    a.stx(r0[place], r1)
    a.label(none)
