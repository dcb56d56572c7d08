"""Calls that have no program at their entry (`Options.light`), other than plain reads and writes.

What an entry would have noted is noted at the exit: the arguments, and the files that the descriptors refer to by then.
An iovec is summed at the exit too, which a read may have overwritten, or another thread.
"""

from __future__ import annotations

from asm import U64, ProgramSpec, r0, r1, r2
from programs.calls.copies import note_by_kind
from programs.calls.lifetime import MAP_ANONYMOUS
from programs.facts.catalogue import Kind
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import OPEN_SOUGHT, Call, LightCall, OpenFile, OpenKey, Signature
from programs.way.body import low
from programs.way.descriptors import resolve, unshared
from programs.way.exit import begin_exit, read_number
from programs.way.light import begin_without_entry, read_arguments
from programs.way.registers import CALL, CALL_KIND, CTX, FILE, OPEN_FILE, RESULT
from programs.way.threads import begin_part

SEEK_CUR = 1


def exit_unentered(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """Notes the call as an entry would have done, and goes on with the program of its kind."""
    b = begin_part("exit_unentered", kernel, options, maps)
    a = b.a
    number = read_number(b)
    a.lookup(maps.syscalls, number)
    a.jeq(r0, 0, "out")
    a.ldx(r1, r0.u64(0))
    a.stx(CALL[Call.call], r1)
    a.ldx(r1, CALL[LightCall.task])
    a.stx(a.slot("task", U64), r1)
    read_arguments(b, range(6))
    begin_without_entry(b)
    for place in (Call.file, Call.target, Call.measured):
        a.st(CALL[place], 0)
    b.signature(CALL_KIND, Signature.kind, CALL[Call.call])
    a.jeq(CALL_KIND, Kind.VECTOR, "vector")
    for kind, label in ((Kind.SENDFILE, "sendfile"), (Kind.COPY, "copy"), (Kind.MMAP, "mmap")):
        a.jeq(CALL_KIND, kind, label)
    a.ja("noted")
    a.label("vector")
    resolve(b, 0, task=a.slot("task", U64))
    a.stx(CALL[Call.file], FILE)
    a.ja("noted")
    note_by_kind(b, "noted")
    a.label("mmap")
    a.ldx(r1, low(b.argument(3)))
    a.and_(r1, MAP_ANONYMOUS)
    a.jne(r1, 0, "forget", "whatever the descriptor")
    resolve(b, 4, task=a.slot("task", U64))
    a.stx(CALL[Call.file], FILE)
    a.jeq(FILE, 0, "forget")
    a.label("noted")
    a.tail_call(CTX, maps.jumps, CALL_KIND)
    a.label("forget")
    a.st(CALL[Call.call], 0)
    a.label("out")
    a.ret(0)
    return b.program()


def exit_seek(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of lseek: says that the file position was moved, if others than this thread may transfer there.

    Such a thread's transfer is what else a position tells that is ahead of all that was accounted for.
    """
    b = begin_exit("exit_seek", kernel, options, maps)
    a, key = b.a, b.a.slot("open", OpenKey)
    a.jslt(RESULT, 0, "out")
    a.stx(CALL[Call.result], RESULT)
    a.ldx(r1, low(b.argument(2)))
    a.jne(r1, SEEK_CUR, "moves")
    a.ldx(r1, b.argument(1))
    a.jeq(r1, 0, "out", "only asks")
    a.label("moves")
    a.ldx(r1, CALL[LightCall.task])
    a.stx(a.slot("task", U64), r1)
    resolve(b, 0, task=a.slot("task", U64))
    a.jeq(FILE, 0, "out")
    unshared(b, FILE, "out", "shared")
    a.label("shared")
    a.stx(key[OpenKey.file], FILE)
    a.ldx(r1, CALL[Call.mnt_ns])
    a.stx(key[OpenKey.mnt_ns], r1)
    a.lookup(maps.opens, key)
    a.jeq(r0, 0, "out")
    a.mov(OPEN_FILE, r0)
    a.ldx(r1, OPEN_FILE[OpenFile.pos])
    a.ldx(r2, CALL[Call.result])
    a.jeq(r1, r2, "out", "it is where it was")
    a.ldx(r1, OPEN_FILE[OpenFile.flags])
    a.or_(r1, OPEN_SOUGHT)
    a.stx(OPEN_FILE[OpenFile.flags], r1)
    a.label("out")
    a.ret(0)
    return b.program()
