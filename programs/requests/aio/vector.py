"""The size of a vectored request: the sum over its iovec, which is in user memory.

With bpf_loop a callback adds one entry. Without, up to ENTRIES of them are summed in place, in straight code, and a
program of its own (Jump.AIO_VECTOR) sums what is longer, in the work space that vectored system calls use.
"""

from __future__ import annotations

from asm import U64, ProgramSpec, Slot, r0, r1, r2, r3
from programs.calls.vector import LENGTH_AT, leave_unmeasured, sum_iovec
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import IOVEC_BYTES, IOVECS, Call, Iocb, IovecArgument
from programs.files.identify import SCRATCH_ENTER
from programs.way.body import Body
from programs.way.registers import CALL, CTX, INDEX
from programs.way.threads import begin_part, find_call

ENTRIES = 4
_entries, _address = CALL[Call.iovec[IovecArgument.entries]], CALL[Call.iovec[IovecArgument.address]]


def measure_in_place(b: Body, iocb: Slot, done: str, over: str) -> None:
    """Call.requested = the sum over the iovec of the request in `iocb`, and a jump to `done`.

    Or a jump to `over`, with Call.stuck = Jump.AIO_VECTOR, if it is too long for this program.
    """
    a = b.a
    unreadable, allowed = a.unique("no_iovec"), a.unique("entries")
    a.ldx(r1, iocb[Iocb.nbytes], "entries")
    a.jle(r1, IOVECS, allowed)
    a.mov(r1, IOVECS, "the kernel refuses more")
    a.label(allowed)
    a.ldx(r2, iocb[Iocb.buffer])
    a.stx(_entries, r1)
    a.stx(_address, r2)
    if b.kernel.loops:
        b.loop(r1, "entry", lambda: _entry(b))
        a.ja(done)
        return
    short = a.unique("short_iovec")
    a.jle(r1, ENTRIES, short)
    a.st(CALL[Call.stuck], Jump.AIO_VECTOR)
    a.ja(over)
    a.label(short)
    for entry in range(ENTRIES):
        a.ldx(r1, _entries)
        a.jle(r1, entry, done)
        a.ldx(r3, _address)
        _add_length(b, IOVEC_BYTES * entry, unreadable)
    a.ja(done)
    a.label(unreadable)
    leave_unmeasured(b)
    a.ja(done)


def _entry(b: Body) -> None:
    """The callback of the loop: adds the length of one entry, and stops where it cannot be read."""
    a = b.a
    a.mov(INDEX, r1)
    find_call(b, "stop")
    a.lsh(INDEX, IOVEC_BYTES.bit_length() - 1)
    a.ldx(r3, _address)
    a.add(r3, INDEX)
    _add_length(b, 0, "unreadable")
    a.ret(0)
    a.label("unreadable")
    leave_unmeasured(b)
    a.label("stop")
    a.ret(1)


def _add_length(b: Body, offset: int, unreadable: str) -> None:
    """Call.requested += the length in the entry at r3 + `offset`."""
    a, word = b.a, b.a.slot("word", U64)
    b.probe(word, 8, r3, offset + LENGTH_AT)
    a.jne(r0, 0, unreadable)
    a.ldx(r1, CALL[Call.requested])
    a.ldx(r2, word)
    a.add(r1, r2)
    a.stx(CALL[Call.requested], r1)


def measure(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """Measures the request Call.next, and goes back to the program that notes it."""
    b = begin_part("aio_vector", kernel, options, maps)
    a = b.a
    a.st(CALL[Call.unmeasured], 0)
    sum_iovec(b, pointer=_address, entries=_entries, scratch=SCRATCH_ENTER)
    a.st(CALL[Call.measured], 1)
    a.st(CALL[Call.stuck], 0)
    a.tail_call(CTX, maps.jumps, Jump.AIO_NOTE)
    a.label("out")
    a.ret(0)
    return b.program()
