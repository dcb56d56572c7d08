"""What has become of a file: asked when tracing ends, of the kernel's own objects.

User space has put down what was known when the file was opened, in rows of the map `asked`; the program compares it
with what the dentry is by now, which is right whoever has renamed or deleted the file, and in whatever namespace. A row
can ask as well what one of iotrace's own descriptors refers to, in the kernel's numbers and not in those of stat(2).

The program runs for iotrace alone: by BPF_PROG_TEST_RUN where that takes raw tracepoints (5.10, 1b4d60ec162f, "bpf:
Enable BPF_PROG_TEST_RUN for raw_tracepoint"), else when iotrace renames a thread of its own.
"""

from __future__ import annotations

from asm import U32, U64, Layout, Mem, ProgramSpec, Register, field, r0, r1, r2, r3
from programs.facts.jumps import WALKS
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import (
    ASK_DESCRIPTOR,
    ASK_GONE,
    ASK_MOVED,
    ASK_NO_DESCRIPTOR,
    ASK_REPLACED,
    ASK_SAME,
    ASK_STALE,
    ASK_UNHASHED,
    ASK_UNKNOWN,
    EVENT_RENAMED,
    AskFile,
    Asking,
    PathEvent,
    Walk,
)
from programs.files.chain import Climb, chain, climb
from programs.files.identify import SCRATCH_EXIT
from programs.way.body import Body, begin
from programs.way.descriptors import resolve
from programs.way.registers import ASKED, ASKING, CTX, FILE, FIRST, PID, POINTER


class Rows(Layout):
    """What the rounds of the loop have in common."""

    first = field(U64)


def ask(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """Answers the rows that the map `asking` names, or sends the path that the file of one row has by now."""
    b = begin("ask", kernel, options, maps, task=True)
    a, zero, rows = b.a, b.a.slot("zero", U32), b.a.slot("rows", Rows)
    a.mov(CTX, r1)
    a.call("get_current_pid_tgid")
    a.mov(PID, r0)
    a.rsh(PID, 32, "tgid")
    a.st(zero, 0)
    a.lookup(maps.asking, zero)
    a.jeq(r0, 0, "out")
    a.mov(ASKING, r0)
    a.ldx(r1, ASKING[Asking.tgid])
    a.jeq(r1, 0, "ours", "nobody else runs it")
    a.jne(r1, PID, "out", "another process renames its thread")
    a.label("ours")
    a.ldx(r1, ASKING[Asking.first])
    a.stx(rows[Rows.first], r1)
    a.ldx(r1, ASKING[Asking.walk])
    a.jne(r1, 0, "walk")
    if kernel.loops:
        a.ldx(r1, ASKING[Asking.count])
        b.loop(r1, "answer", lambda: _round(b), rows)
        a.ret(0)
    else:
        _row(b, rows[Rows.first], "out")
        _answer(b)
        a.ret(0)
    a.label("walk")
    _walk(b)
    a.label("out")
    a.ret(0)
    return b.program()


def _round(b: Body) -> None:
    """One row, in a loop: r1 = the number of the round, r2 = Rows."""
    a, number = b.a, b.a.slot("number", U64)
    a.mov(FIRST, r2)
    a.ldx(r2, FIRST[Rows.first])
    a.add(r1, r2)
    a.stx(number, r1)
    _row(b, number.mem, "no_row")
    _answer(b)
    a.label("no_row")
    a.ret(0)


def _row(b: Body, number: Mem, missing: str) -> None:
    """ASKED = the AskFile of that number, a word of the stack."""
    a, row = b.a, b.a.slot("row", U32)
    a.ldx(r1, number)
    a.stx(row, r1)
    a.lookup(b.maps.asked, row)
    a.jeq(r0, 0, missing)
    a.mov(ASKED, r0)


def _answer(b: Body) -> None:
    """The verdict on the row in ASKED."""
    a = b.a
    a.ldx(r1, ASKED[AskFile.descriptor])
    a.mov32(r2, ASK_NO_DESCRIPTOR)
    a.jne(r1, r2, "descriptor")
    _compare(b)
    a.ja("answered")
    a.label("descriptor")
    _describe(b)
    a.label("answered")


def _compare(b: Body) -> None:
    """Does the dentry still have the file's name, and is it still the file's?"""
    a, o, way = b.a, b.kernel.offsets, climb(b)
    for place, known in ((Climb.dentry, AskFile.dentry), (Climb.mount, AskFile.mount)):
        a.ldx(r1, ASKED[known])
        a.stx(way[place], r1)
    chain(b)
    a.ldx(POINTER, ASKED[AskFile.dentry])
    b.load(POINTER, POINTER, o["dentry.inode"], of="dentry")
    a.ldx(r1, way[Climb.chain])
    a.ldx(r2, ASKED[AskFile.chain])
    a.jne(r1, r2, "other_name")
    a.jeq(POINTER, 0, "gone")
    _same_inode(b, "replaced")
    a.mov(POINTER, ASK_SAME)
    a.ja("if_hashed")
    a.label("gone")
    a.st(ASKED[AskFile.verdict], ASK_GONE)
    a.ja("compared")
    a.label("replaced")
    a.st(ASKED[AskFile.verdict], ASK_REPLACED)
    a.ja("compared")
    a.label("other_name")
    a.jeq(POINTER, 0, "stale")
    _same_inode(b, "stale")
    a.mov(POINTER, ASK_MOVED)
    a.label("if_hashed")
    a.stx(ASKED[AskFile.verdict], POINTER)
    a.ldx(r1, ASKED[AskFile.dentry])
    b.load(r1, r1, o["dentry.hashed"], of="dentry")
    a.jne(r1, 0, "compared")
    a.st(ASKED[AskFile.verdict], ASK_UNHASHED)
    a.ja("compared")
    a.label("stale")
    a.st(ASKED[AskFile.verdict], ASK_STALE, "the dentry was used for something else since")
    a.label("compared")


def _same_inode(b: Body, other: str) -> None:
    """Jumps to `other` unless the inode in POINTER has the row's number and generation; AskFile.seen if it has."""
    a, o = b.a, b.kernel.offsets
    b.load(r1, POINTER, o["inode.ino"], of="inode")
    a.ldx(r2, ASKED[AskFile.number])
    a.jne(r1, r2, other)
    b.load(r1, POINTER, o["inode.generation"], size=4, of="inode")
    a.ldx(r2, ASKED[AskFile.generation])
    a.jne(r1, r2, other)
    _see(b, POINTER)


def _see(b: Body, inode: Register) -> None:
    b.load(r1, inode, b.kernel.offsets["inode.size"], "i_size", of="inode")
    b.a.add(r1, 1)
    b.a.stx(ASKED[AskFile.seen], r1)


def _describe(b: Body) -> None:
    """Which file does a descriptor of this process refer to?"""
    a, o = b.a, b.kernel.offsets
    a.st(ASKED[AskFile.verdict], ASK_UNKNOWN)
    a.ldx(FILE, ASKED[AskFile.descriptor])
    resolve(b)
    a.jeq(FILE, 0, "described")
    b.load(FILE, FILE, o["file.inode"], of="file")
    a.stx(ASKED[AskFile.inode], FILE)
    b.load(r1, FILE, o["inode.ino"], of="inode")
    a.stx(ASKED[AskFile.number], r1)
    b.load(r1, FILE, o["inode.generation"], size=4, of="inode")
    a.stx(ASKED[AskFile.generation], r1)
    _see(b, FILE)
    b.load(FILE, FILE, o["inode.sb"], of="inode")
    b.load(r1, FILE, o["sb.dev"], size=4, of="super_block")
    a.stx(ASKED[AskFile.device], r1)
    a.st(ASKED[AskFile.verdict], ASK_DESCRIPTOR)
    a.label("described")


def _walk(b: Body) -> None:
    """Sends the path of the file of the first row; ASKED = Asking. Ends the program, or jumps to "out"."""
    a, o, zero, file_id = b.a, b.kernel.offsets, b.a.slot("zero", U32), b.a.slot("id", U64)
    event = Walk.event
    a.ldx(r1, ASKING[Asking.id])
    a.stx(file_id, r1)
    _row(b, b.a.slot("rows", Rows)[Rows.first], "out")
    a.ldx(POINTER, ASKED[AskFile.mount])
    b.load(POINTER, POINTER, o["mount.ns"], of="mount")
    a.jeq(POINTER, 0, "out", "it was unmounted: no path leads there")
    a.ldx(POINTER, ASKED[AskFile.dentry])
    b.load(POINTER, POINTER, o["dentry.inode"], of="dentry")
    a.jeq(POINTER, 0, "out")
    b.load(POINTER, POINTER, o["inode.sb"], of="inode")
    a.st(zero, SCRATCH_EXIT)
    a.lookup(b.maps.scratch, zero)
    a.jeq(r0, 0, "out")
    a.stx(r0[Walk.sb], POINTER)
    for place, known in ((Walk.dentry, AskFile.dentry), (Walk.mnt, AskFile.mount)):
        a.ldx(r3, ASKED[known])
        a.stx(r0[place], r3)
    a.ldx(r3, file_id)
    a.stx(r0[event[PathEvent.id]], r3)
    for place, value in (
        (Walk.position, 0),
        (Walk.file, 0),
        (Walk.mnt_ns, 0),
        (Walk.after, 0),
        (event[PathEvent.kind], EVENT_RENAMED),
    ):
        a.st(r0[place], value)
    a.tail_call(CTX, b.maps.jumps, WALKS[SCRATCH_EXIT])
