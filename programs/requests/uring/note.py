"""Noting a request."""

from __future__ import annotations

from asm import Slot, r0, r1, r7, r8
from programs.facts.kernel import Uring
from programs.facts.records import (
    NOTE_ABSENT,
    Call,
    Lost,
    PendingKey,
)
from programs.files.identify import SCRATCH_EXIT, find_open, identify, send_name
from programs.requests import lifecycle
from programs.requests.uring.describe import describe
from programs.requests.uring.events import borrow_call
from programs.requests.uring.files import find_file
from programs.requests.uring.finish import go_on
from programs.requests.uring.places import note_last
from programs.requests.uring.shapes import CLOSING, PLAIN, Shape
from programs.requests.uring.source import Source
from programs.way.body import Body
from programs.way.registers import CALL


def note(b: Body, uring: Uring, key: Slot, source: Source, *, absent: str = "out", after: int = 0) -> None:
    """Notes the request in r7, whose packed Opcode is in the slot "kind", under ``key``.

    ``absent`` is "absent" if it must be noted too where its file is no regular one.  Goes on with program ``after``, if
    there is one; ends this one.
    """
    a, o = b.a, b.kernel.offsets
    borrow_call(b, "out")
    describe(b, source)
    a.call("get_current_task")
    a.mov(r8, r0)
    b.load(r8, r8, o["task.nsproxy"], of="task_struct")
    b.load(r8, r8, o["nsproxy.mnt_ns"], of="nsproxy")
    a.stx(CALL[Call.mnt_ns], r8)
    if source.view is PLAIN:
        a.ldx(r1, CALL[Call.opcode])
        a.rsh(r1, 16)
        a.jeq(r1, Shape.OPEN, "unknown_file")
    elif source.view is CLOSING:
        a.ldx(r8, key[PendingKey.request])
        b.load(r8, r8, uring.offsets["request.ring"], of="io_kiocb")
        a.stx(CALL[Call.requested], r8)
        source.slot(r8, r7, "close.slot")
        a.stx(CALL[Call.offset], r8)
    find_file(b, uring, key, source)
    a.jeq(r8, 0, "unknown_file")
    find_open(b, "found", "slow")
    a.label("slow")
    identify(b, scratch=SCRATCH_EXIT, skip=absent)
    a.label("found")
    if source.view is CLOSING:
        note_last(b)
    lifecycle.submit(b, key, "full")
    send_name(b, SCRATCH_EXIT, after)
    if absent == "absent":
        a.label("absent")
        a.ldx(r1, CALL[Call.marks])
        a.or_(r1, NOTE_ABSENT)
        a.stx(CALL[Call.marks], r1)
    a.label("unknown_file")
    lifecycle.note_without_file(b, key, "full")
    a.ja("out")
    a.label("full")
    b.lost(Lost.calls)
    a.label("out")
    go_on(b, after)
