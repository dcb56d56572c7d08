"""The file of a request: by its descriptor, or in the table of files that are registered with the ring."""

from __future__ import annotations

from asm import U64, Slot, r1, r2
from programs.facts.records import Call, PendingKey
from programs.requests.uring.request import Request
from programs.requests.uring.shapes import CLOSING
from programs.way.body import Body
from programs.way.descriptors import resolve
from programs.way.registers import CALL, DESCRIPTOR, FILE, POINTER

FILE_POINTER = ~7  # registered files carry flags in the lowest bits of their pointers


def find_file(b: Body, key: Slot, request: Request) -> None:
    """FILE = the `struct file *` that the request is about, 0 if there is none; `key` is its note's."""
    a = b.a
    registered, found = a.unique("registered_file"), a.unique("file_found")
    if request.view is CLOSING:
        a.ldx(DESCRIPTOR, CALL[Call.slot])
        a.sub(DESCRIPTOR, 1)
        a.jsge(DESCRIPTOR, 0, registered)
    request.fd(DESCRIPTOR)
    if request.view is not CLOSING:
        request.registered(r1)
        a.jne(r1, 0, registered)
    resolve(b)
    a.ja(found)
    a.label(registered)
    registered_file(b, key)
    a.label(found)


def registered_file(b: Body, key: Slot) -> None:
    """FILE = the `struct file *` registered under the index DESCRIPTOR with the ring of `key`'s request, 0 if none.

    io_uring/filetable.h: io_file_get_fixed(); io_uring/rsrc.h: io_rsrc_node_lookup().
    """
    a, o = b.a, b.uring.offsets
    index, none, end = a.slot("index", U64), a.unique("none_registered"), a.unique("registered")
    a.stx(index, DESCRIPTOR)
    a.ldx(POINTER, key[PendingKey.request])
    b.load(POINTER, POINTER, o["request.ring"], of="io_kiocb")
    b.load(r1, POINTER, o["ring.file_count"], size=4, of="io_ring_ctx")
    a.ldx(r2, index)
    a.jge(r2, r1, none)
    b.load(POINTER, POINTER, o["ring.files"], of="io_ring_ctx")
    a.ldx(r1, index)
    a.lsh(r1, 3)
    a.add(POINTER, r1)
    if "node.file" in o:
        b.load(POINTER, POINTER, 0, "its slot", of="list_head")
        a.jeq(POINTER, 0, none)
        b.load(FILE, POINTER, o["node.file"], of="io_rsrc_node")
    else:
        b.load(FILE, POINTER, 0, "its slot, as a number: no typed pointer can be masked")
    a.and_(FILE, FILE_POINTER)
    a.ja(end)
    a.label(none)
    a.mov(FILE, 0)
    a.label(end)
