"""From the page cache, or from storage: which reads had to wait, and how many bytes were brought for them.

While a thread is in a synchronous read, the pages of its file that it adds to the page cache belong to that call: those
that it asked for, and those that the kernel reads ahead. A call on an O_DIRECT descriptor has nothing to do with the
cache, unless the file system falls back to it. Such calls take long, or are rare, so that they have a program of their
own, and sparse counters. One that waits for a page which somebody else brings in counts as one from the cache.

Linux AIO and io_uring are left out: there one system call is for many requests, and the thread that works on one does
not tell which.
"""

from __future__ import annotations

from asm import U32, U64, ProgramSpec, r0, r1, r2, r3
from programs.calls.copies import COPY, SENDFILE, note_files
from programs.calls.transfer import LAST_READ
from programs.counting.latencies import fine_bucket
from programs.facts.catalogue import READ, Kind
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.members import CACHE_FIELD
from programs.facts.records import (
    TALLY_READAHEAD_BYTES,
    TALLY_STORAGE_BYTES,
    TALLY_STORAGE_LATENCY,
    TALLY_UNTIMED,
    Call,
    LightCall,
    Signature,
)
from programs.facts.signatures import KIND_MASK
from programs.files.identify import S_IFMT, S_IFREG, SCRATCH_EXIT, send_name
from programs.way.body import Body, begin
from programs.way.descriptors import resolve
from programs.way.light import read_arguments
from programs.way.registers import CALL, CTX, FILE, POINTER, RESULT
from programs.way.threads import begin_part, find_call

STACKED = {"overlay": 0x794C7630, "fuse": 0x65735546}  # include/uapi/linux/magic.h; fuse passes reads through: 6.9
MOST_ORDER = 31  # a mask: no folio is that large


def page_cached(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """filemap/mm_filemap_add_to_page_cache (struct folio *, a struct page * before 5.16): 3.14.

    A thread that is in no read that is traced costs one look-up.
    """
    b = begin("page_cached", kernel, options, maps, task=True)
    a = b.a
    find_call(b, "out")
    if options.light:
        _note_read(b)
    else:
        a.ldx(r1, CALL[Call.signature[Signature.first]])
        a.jeq(r1, 0, "out", "in no call, or in one that transfers nothing")
        a.jgt(r1, LAST_READ, "out")
    if b.raw and kernel.shows_folios:
        _of_its_file(b)
        _folio_order(b)
    else:
        if not options.light:
            a.ldx(r1, CALL[Call.signature[Signature.kind]])
            for kind in (Kind.SENDFILE, Kind.COPY):
                a.jeq(r1, kind, "out", "nothing tells pages of the source from those of the target")
        a.mov(r1, 0)
        if not b.raw and ORDER in kernel.fields:
            a.ldx(r1, CTX.u8(kernel.fields[ORDER]))
    a.and_(r1, MOST_ORDER)
    a.mov(r2, 1)
    a.lsh(r2, r1)
    pages = CALL[LightCall.brought if options.light else Call.pages]
    a.ldx(r1, pages)
    a.add(r1, r2)
    a.stx(pages, r1)
    a.label("out")
    a.ret(0)
    return b.program()


ORDER = "page_cache." + CACHE_FIELD[2]


def _note_read(b: Body) -> None:
    """Call.file and Call.target = the files of the read that this thread is in, which no entry has noted.

    Its registers say which call it is. Jumps to "out" if that is none that reads, or nothing tells pages of the source
    from those of the target.
    """
    a, number, registers = b.a, b.a.slot("number", U32), CALL[LightCall.registers]
    a.ldx(r3, registers)
    a.jeq(r3, 0, "out", "none of its calls has returned since it is traced")
    b.load(r1, r3, b.kernel.registers.called, size=4, of="pt_regs")
    a.stx(number, r1)
    a.lookup(b.maps.syscalls, number)
    a.jeq(r0, 0, "out")
    a.ldx(r1, r0.u64(0))
    a.stx(a.slot("row", U64), r1)
    b.signature(r1, Signature.first, r1)
    a.jeq(r1, 0, "out", "one that transfers nothing")
    a.jgt(r1, LAST_READ, "out")
    read_arguments(b, range(3), registers)
    a.st(CALL[Call.target], 0)
    a.ldx(r1, CALL[LightCall.task])
    a.stx(a.slot("task", U64), r1)
    a.ldx(r1, a.slot("row", U64))
    a.and_(r1, KIND_MASK)
    shown = b.raw and b.kernel.shows_folios
    for kind, label in ((Kind.SENDFILE, "sendfile"), (Kind.COPY, "copy")):
        a.jeq(r1, kind, label if shown else "out")
    resolve(b, 0, task=a.slot("task", U64))
    a.stx(CALL[Call.file], FILE)
    if shown:
        for label, arguments in (("sendfile", SENDFILE), ("copy", COPY)):
            a.ja("read_noted")
            a.label(label)
            note_files(b, arguments)
    a.label("read_noted")


def _of_its_file(b: Body) -> None:
    """POINTER = the folio; jumps to "out" unless it is one of the file that is read.

    Others are of what a copy writes, of what the file system keeps for itself, or of a file that the caller's buffer is
    mapped to. A file system that lies on another one reads files of that: all pages are taken to be theirs, unless the
    call writes a file too.
    """
    a, o, mapping, own = b.a, b.kernel.offsets, b.a.slot("mapping", U64), b.a.unique("its_own")
    stacked = b.a.unique("stacked")
    a.ldx(POINTER, CTX[0], "struct folio *")
    a.ldx(r3, CALL[Call.file])
    a.jeq(r3, 0, "out")
    b.load(r1, r3, o["file.mapping"], of="file")
    a.stx(mapping, r1)
    b.load(r1, POINTER, o["folio.mapping"], of="folio")
    a.ldx(r2, mapping)
    a.jeq(r1, r2, own)
    a.ldx(r3, CALL[Call.file])
    b.load(r1, r3, o["file.inode"], of="file")
    b.load(r1, r1, o["inode.sb"], of="inode")
    b.load(r1, r1, o["sb.magic"], of="super_block")
    for magic in STACKED.values():
        a.mov32(r2, magic)
        a.jeq(r1, r2, stacked)
    a.ja("out")
    a.label(stacked)
    a.ldx(r3, CALL[Call.target])
    a.jeq(r3, 0, own)
    b.load(r1, r3, o["file.inode"], of="file")
    b.load(r1, r1, o["inode.mode"], size=2, of="inode")
    a.and_(r1, S_IFMT)
    a.jeq(r1, S_IFREG, "out")
    a.label(own)


def _folio_order(b: Body) -> None:
    """r1 = the order of the folio POINTER; 0 where the kernel has none of several pages (before 5.16)."""
    a, o, single, done = b.a, b.kernel.offsets, b.a.unique("single_page"), b.a.unique("order")
    if "folio.head" not in o or "folio.order" not in o:
        a.mov(r1, 0)
        return
    b.load(r1, POINTER, o["folio.head"], of="folio")
    a.and_(r1, 1, "PageTail() of the page behind the first")
    a.jeq(r1, 0, single)
    b.load(r1, POINTER, o["folio.order"], size=1, of="folio")
    a.ja(done)
    a.label(single)
    a.mov(r1, 0)
    a.label(done)


def exit_storage(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The end of a read that had pages brought in, or went past the page cache; goes on as that would have."""
    b = begin_part("exit_storage", kernel, options, maps)
    a, moved = b.a, b.a.slot("amount", U64)
    a.ldx(r1, CALL[Call.direction])
    a.jne(r1, READ, "counted")
    a.ldx(RESULT, CALL[Call.result])
    a.ldx(r1, CALL[Call.pages])
    a.st(CALL[Call.pages], 0)
    a.lsh(r1, kernel.page_bits)
    a.jne(r1, 0, "cached")
    a.jsle(RESULT, 0, "counted")
    a.mov(r1, RESULT)
    a.label("cached")
    a.stx(moved, r1)
    _add(b, TALLY_STORAGE_BYTES)
    a.ldx(r1, moved)
    a.jsle(RESULT, 0, "ahead")
    a.sub(r1, RESULT)
    a.label("ahead")
    a.jsle(r1, 0, "all_returned")
    a.stx(moved, r1)
    _add(b, TALLY_READAHEAD_BYTES)
    a.label("all_returned")
    a.ldx(r1, CALL[Call.result])
    a.jslt(r1, 0, "counted")
    a.ldx(r1, CALL[Call.now])
    a.ldx(r2, CALL[Call.entered])
    a.sub(r1, r2)
    if options.light:
        a.mov(r3, TALLY_UNTIMED)
        a.jeq(r2, 0, "untimed")
    fine_bucket(b, r3, r1)
    if options.light:
        a.label("untimed")
    b.tally(file=b.counted, op=CALL[Call.op], kind=TALLY_STORAGE_LATENCY, item=r3)
    a.label("counted")
    a.ldx(r1, CALL[Call.call])
    a.jeq(r1, 0, "over", "but for a copy, whose target comes next")
    send_name(b, SCRATCH_EXIT, Jump.COPY_TARGET)
    a.label("over")
    send_name(b, SCRATCH_EXIT)
    a.label("out")
    a.ret(0)
    return b.program()


def _add(b: Body, kind: int) -> None:
    """Adds the slot "amount" to a sum of the call's operation on its file."""
    b.a.mov(r3, 0)
    b.tally(file=b.counted, op=CALL[Call.op], kind=kind, item=r3, amount=b.a.slot("amount", U64))
