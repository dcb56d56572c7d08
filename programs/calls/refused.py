"""Opens that have failed: counted by errno, directory and path, as the caller gave it.

They lead to no file, so that there is no record to count them in; and whoever looks for something in many places makes
as many paths as he likes. So they have a map of their own, which user space empties, and where that is full they are
told by errno alone: whoever knows those totals finds what is missing here by subtraction.

A path begins at a directory: the root of the process, which a chroot moves, the directory that it is in, or that of a
descriptor. Of that the chain is made as for a file (`programs.files.chain`). It is the directory's number, and its path
is sent once.
"""

from __future__ import annotations

from asm import U32, U64, ProgramSpec, Slot, r0, r1, r2, r3
from programs.facts.catalogue import Flags
from programs.facts.jumps import WALKS
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import (
    EVENT_DIRECTORY,
    REFUSED_ADRIFT,
    REFUSED_CUT,
    REFUSED_TEXT,
    Call,
    Lost,
    PathEvent,
    RefusedKey,
    Signature,
    Walk,
)
from programs.files.chain import Climb, chain
from programs.files.identify import SCRATCH_EXIT
from programs.way.body import BPF_NOEXIST, Body, low
from programs.way.descriptors import resolve
from programs.way.exit import load_result
from programs.way.registers import CALL, CTX, DESCRIPTOR, FILE, POINTER, RESULT, WALK
from programs.way.threads import begin_part

AT_FDCWD = -100  # include/uapi/linux/fcntl.h
SLASH = ord("/")


def exit_refused(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of an open that failed, behind `exit_open`: Call.refused is its signature."""
    b = begin_part("exit_refused", kernel, options, maps)
    a = b.a
    b.fill_stack()
    key, way = a.slot("refused", RefusedKey), a.slot("climb", Climb)
    a.zero(key)
    load_result(b)
    a.mov(r1, RESULT)
    a.neg(r1, "errno")
    a.stx(key[RefusedKey.errno], r1)
    _read_text(b, key)
    a.call("get_current_task")
    a.stx(a.slot("task", U64), r0)
    _begin_at(b, key, way)
    _number(b, key, way)
    a.label("count")
    _count(b, key)
    a.ldx(r1, CALL[Call.walk])
    a.jeq(r1, 0, "out")
    a.tail_call(CTX, maps.jumps, WALKS[SCRATCH_EXIT])
    a.ja("out")
    a.label("pathless")
    b.lost(Lost.pathless)
    a.label("out")
    a.ret(0)
    return b.program()


def _read_text(b: Body, key: Slot) -> None:
    """RefusedKey.text = the path; Call.offset = the descriptor that it is relative to; a jump to "pathless" without.

    The kernel has read it a moment ago, so it is in memory, unless a filter of seccomp has answered.
    """
    a, last = b.a, b.a.slot("word", U64)
    a.st(CALL[Call.walk], 0)
    a.st(CALL[Call.offset], AT_FDCWD)
    b.signature(r1, Signature.position, CALL[Call.refused])
    a.jeq(r1, Flags.HANDLE, "pathless")
    a.ldx(r3, b.argument(0))
    for without in (Flags.SECOND, Flags.CREAT):
        a.jeq(r1, without, "have_address")
    a.ldx(r2, low(b.argument(0)))
    a.stx(CALL[Call.offset], r2)
    a.ldx(r3, b.argument(1))
    a.label("have_address")
    a.stx(CALL[Call.start], r3)
    b.address(r1, key[RefusedKey.text])
    a.mov(r2, REFUSED_TEXT)
    a.call("probe_read_str")
    a.jsle(r0, 0, "pathless")
    a.jne(r0, REFUSED_TEXT, "whole")
    a.ldx(r3, CALL[Call.start])
    a.st(last, 0)
    b.probe(last, 1, r3, REFUSED_TEXT - 1, "the NUL, or one byte more of it")
    a.ldx(r1, last)
    a.jeq(r1, 0, "whole")
    a.st(key[RefusedKey.marks], REFUSED_CUT)
    a.label("whole")


def _begin_at(b: Body, key: Slot, way: Slot) -> None:
    """`way` = the directory that the text begins at, by dentry and mount; a jump to "count" where nobody knows it."""
    a, o = b.a, b.kernel.offsets
    a.ldx(r1, key[RefusedKey.text].at(0, 1))
    a.jeq(r1, SLASH, "absolute")
    a.ldx(r1, CALL[Call.offset].at(0, 4))
    a.mov32(r2, AT_FDCWD)
    a.jeq(r1, r2, "working")
    a.mov(DESCRIPTOR, r1)
    resolve(b, task=a.slot("task", U64))
    a.jne(FILE, 0, "of_descriptor")
    a.ldx(r1, key[RefusedKey.marks])
    a.or_(r1, REFUSED_ADRIFT)
    a.stx(key[RefusedKey.marks], r1)
    a.ja("count")
    a.label("of_descriptor")
    b.copy(way[Climb.dentry], FILE, o["file.dentry"], "file")
    b.load(r1, FILE, o["file.mnt"], of="file")
    a.ja("begun")
    for label, which in (("working", "pwd"), ("absolute", "root")):
        a.label(label)
        a.ldx(POINTER, a.slot("task", U64))
        b.load(POINTER, POINTER, o["task.fs"], of="task_struct")
        b.copy(way[Climb.dentry], POINTER, o[f"fs.{which}.dentry"], "fs_struct")
        b.load(r1, POINTER, o[f"fs.{which}.mnt"], of="fs_struct")
        if which == "pwd":
            a.ja("begun")
    a.label("begun")
    a.sub(r1, o["mount.mnt"], "container_of(mnt, struct mount, mnt)")
    a.stx(way[Climb.mount], r1)


def _number(b: Body, key: Slot, way: Slot) -> None:
    """RefusedKey.directory = the number of the directory in `way`. If its path must be sent, Call.walk is 1."""
    a, zero, event, directory = b.a, b.a.slot("zero", U32), Walk.event, b.a.slot("directory", U64)
    a.st(zero, SCRATCH_EXIT)
    a.lookup(b.maps.scratch, zero)
    a.jeq(r0, 0, "out")
    a.mov(WALK, r0)
    for place, source in ((Walk.dentry, Climb.dentry), (Walk.mnt, Climb.mount)):
        a.ldx(r1, way[source])
        a.stx(WALK[place], r1)
    for place in (Walk.position, Walk.after, Walk.file, Walk.sb):
        a.st(WALK[place], 0)
    a.st(WALK[event[PathEvent.kind]], EVENT_DIRECTORY)
    chain(b)
    a.ldx(r1, way[Climb.chain])
    a.stx(key[RefusedKey.directory], r1)
    a.jeq(r1, 0, "count", "no names: the root")
    a.stx(directory, r1)
    a.stx(WALK[event[PathEvent.id]], r1)
    a.lookup(b.maps.directories, directory)
    a.jne(r0, 0, "count")
    a.update(b.maps.directories, directory, directory)
    a.st(CALL[Call.walk], 1)


def _count(b: Body, key: Slot) -> None:
    """One more; none where there is no room."""
    a, one = b.a, b.a.slot("one", U64)
    a.lookup(b.maps.refused, key)
    a.jne(r0, 0, "counted_before")
    a.st(one, 0)
    a.update(b.maps.refused, key, one, BPF_NOEXIST)
    a.lookup(b.maps.refused, key)
    a.jeq(r0, 0, "counted", "no room")
    a.label("counted_before")
    b.count(r0.u64(0))
    a.label("counted")
