"""The file of a request."""

from __future__ import annotations

from asm import U64, Slot, r1, r2, r7, r8
from programs.facts.kernel import Uring
from programs.facts.records import (
    Call,
    PendingKey,
)
from programs.requests.uring.shapes import CLOSING
from programs.requests.uring.source import Source
from programs.way.body import Body
from programs.way.entry import resolve
from programs.way.registers import CALL

FILE_POINTER = ~7  # registered files carry flags in the lowest bits of their pointers


def find_file(b: Body, uring: Uring, key: Slot, source: Source) -> None:
    """r8 = the ``struct file *`` that the request in r7 is about, by its descriptor or as a registered one; 0: none."""
    a = b.a
    registered, found = a.unique("registered_file"), a.unique("file_found")
    if source.view is CLOSING:
        a.ldx(r8, CALL[Call.offset])
        a.sub(r8, 1)
        a.jsge(r8, 0, registered)
    source.fd(r8, r7)
    if source.view is not CLOSING:
        source.registered(r1, r7)
        a.jne(r1, 0, registered)
    resolve(b)
    a.ja(found)
    a.label(registered)
    registered_file(b, uring, key)
    a.label(found)


def registered_file(b: Body, uring: Uring, key: Slot) -> None:
    """r8 = the ``struct file *`` registered with the ring under the index in r8, 0 if there is none.

    io_uring/filetable.h: io_file_get_fixed(); io_uring/rsrc.h: io_rsrc_node_lookup().
    """
    a, o = b.a, uring.offsets
    index, none, end = a.slot("index", U64), a.unique("none_registered"), a.unique("registered")
    a.stx(index, r8)
    a.ldx(r8, key[PendingKey.request])
    b.load(r8, r8, o["request.ring"], of="io_kiocb")
    b.load(r1, r8, o["ring.file_count"], size=4, of="io_ring_ctx")
    a.ldx(r2, index)
    a.jge(r2, r1, none)
    b.load(r8, r8, o["ring.files"], of="io_ring_ctx")
    a.ldx(r1, index)
    a.lsh(r1, 3)
    a.add(r8, r1)
    if "node.file" in o:
        b.load(r8, r8, 0, "its slot", of="list_head")
        a.jeq(r8, 0, none)
        b.load(r8, r8, o["node.file"], of="io_rsrc_node")
    else:
        b.load(r8, r8, 0, "its slot; a typed load would make it a pointer, which cannot be masked")
    a.and_(r8, FILE_POINTER)
    a.ja(end)
    a.label(none)
    a.mov(r8, 0)
    a.label(end)
