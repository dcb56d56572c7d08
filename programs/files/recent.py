"""Names that change while tracing: the files that a process has closed last are looked at when it renames or unlinks.

A program cannot look a path up, and need not: the usual way is to write a file, close it and give it its name, or to
delete it, at once. So each close leaves what it knows of the file in a ring of the process's, and the exit of a system
call that changes names goes through that ring. The kernel's own objects say what has become of a file. What is found
there is sent at once, since the file may be replaced, and its mount namespace may be gone, a moment later; what became
of all others is asked at the end of tracing (`programs.files.ask`).
"""

from __future__ import annotations

from asm import U32, Field, Mem, ProgramSpec, r0, r1, r2
from programs.counting.state import set_flag
from programs.facts.catalogue import Kind
from programs.facts.jumps import WALKS
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import RECENT_ROWS, Maps
from programs.facts.records import (
    EVENT_RENAMED,
    FILE_DELETED,
    RECENT_FILES,
    Call,
    FileKey,
    PathEvent,
    Recent,
    RecentFile,
    Walk,
)
from programs.files.identify import SCRATCH_EXIT
from programs.way.body import Body
from programs.way.exit import begin_exit
from programs.way.registers import CALL, CTX, DENTRY, FILE, POINTER, RECENT, RESULT


def remember(b: Body) -> None:
    """Notes the file in FILE, which is being closed: `identify` has left its FileKey on the stack. Clobbers RECENT."""
    a, o, key, none = b.a, b.kernel.offsets, b.file_key(), b.a.unique("not_remembered")
    entry = RecentFile
    _find(b, none)
    a.ldx(r1, RECENT[Recent.next])
    a.mov(r2, r1)
    a.add(r2, 1)
    a.stx(RECENT[Recent.next], r2)
    a.and_(r1, RECENT_FILES - 1)
    a.lsh(r1, RecentFile.size.bit_length() - 1)
    a.add(RECENT, r1)
    a.st(RECENT[entry.id], 0, "not whole yet")
    a.ldx(r1, key[FileKey.dentry])
    a.stx(RECENT[entry.dentry], r1)
    for place, value in ((entry.inode, CALL[Call.inode]), (entry.mnt_ns, CALL[Call.mnt_ns])):
        a.ldx(r1, value)
        a.stx(RECENT[place], r1)
    b.load(r1, FILE, o["file.mnt"], of="file")
    a.sub(r1, o["mount.mnt"], "container_of(mnt, struct mount, mnt)")
    a.stx(RECENT[entry.mount], r1)
    a.ldx(POINTER, CALL[Call.inode])
    b.load(r1, POINTER, o["inode.sb"], of="inode")
    a.stx(RECENT[entry.sb], r1)
    a.ldx(DENTRY, RECENT[entry.dentry])
    for place, member in ((entry.parent, "dentry.parent"), (entry.name, "dentry.hash_len")):
        b.load(r1, DENTRY, o[member], of="dentry")
        a.stx(RECENT[place], r1)
    a.ldx(r1, CALL[Call.id])
    a.stx(RECENT[entry.id], r1)
    a.label(none)


def _find(b: Body, missing: str) -> None:
    """RECENT = the Recent record of this process."""
    a, row = b.a, b.a.slot("row", U32)
    a.ldx(r1, CALL[Call.process])
    a.and_(r1, RECENT_ROWS - 1)
    a.stx(row, r1)
    a.lookup(b.maps.recent, row)
    a.jeq(r0, 0, missing)
    a.mov(RECENT, r0)


def exit_names(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of rename and unlink: looks at the process's recent files. It comes back after each path sent."""
    b = begin_exit("exit_names", kernel, options, maps, over=False)
    a = b.a
    a.jne(RESULT, 0, "over", "it has changed nothing")
    _find(b, "over")
    for number in range(RECENT_FILES):
        following = f"file_{number + 1}"
        _look(b, number, following)
        a.label(following)
    a.label("over")
    a.st(CALL[Call.call], 0)
    a.label("out")
    a.ret(0)
    return b.program()


def _look(b: Body, number: int, following: str) -> None:
    """Compares a recent file with what its dentry is by now."""
    a, o = b.a, b.kernel.offsets
    entry, gone, renamed = Recent.files[number], f"gone_{number}", f"renamed_{number}"
    forget = f"forget_{number}"

    def known(field: Field) -> Mem:
        return RECENT[entry[field]]

    a.ldx(r1, known(RecentFile.id))
    a.jeq(r1, 0, following)
    a.ldx(DENTRY, known(RecentFile.dentry))
    for place, member in ((RecentFile.parent, "dentry.parent"), (RecentFile.name, "dentry.hash_len")):
        b.load(r1, DENTRY, o[member], of="dentry")
        a.ldx(r2, known(place))
        a.jne(r1, r2, renamed)
    b.load(r1, DENTRY, o["dentry.inode"], of="dentry")
    a.ldx(r2, known(RecentFile.inode))
    a.jne(r1, r2, gone, "nothing has this name now, or another file")
    b.load(r1, DENTRY, o["dentry.hashed"], of="dentry")
    a.jne(r1, 0, following, "as it was")
    a.label(gone)
    set_flag(b, known(RecentFile.id), FILE_DELETED)
    a.ja(forget)
    a.label(renamed)
    b.load(r1, DENTRY, o["dentry.inode"], of="dentry")
    a.ldx(r2, known(RecentFile.inode))
    a.jne(r1, r2, forget, "the dentry is not this file's any more")
    for place, member in ((RecentFile.parent, "dentry.parent"), (RecentFile.name, "dentry.hash_len")):
        b.load(r1, DENTRY, o[member], of="dentry")
        a.stx(known(place), r1)
    _send(b, entry)
    a.label(forget)
    a.st(known(RecentFile.id), 0)


def _send(b: Body, entry: Field) -> None:
    """Has the path sent that a recent file has by now; falls through where that cannot be."""
    a, zero, none = b.a, b.a.slot("zero", U32), b.a.unique("not_sent")
    event = Walk.event
    a.ldx(r1, RECENT[entry[RecentFile.mount]])
    b.load(r1, r1, b.kernel.offsets["mount.ns"], of="mount")
    a.jeq(r1, 0, none, "it was unmounted: no path leads there")
    a.st(zero, SCRATCH_EXIT)
    a.lookup(b.maps.scratch, zero)
    a.jeq(r0, 0, none)
    for place, known in (
        (Walk.dentry, RecentFile.dentry),
        (Walk.mnt, RecentFile.mount),
        (Walk.mnt_ns, RecentFile.mnt_ns),
        (Walk.sb, RecentFile.sb),
        (event[PathEvent.id], RecentFile.id),
        (event[PathEvent.inode], RecentFile.inode),
        (event[PathEvent.mount], RecentFile.mount),
    ):
        a.ldx(r1, RECENT[entry[known]])
        a.stx(r0[place], r1)
    for place, value in (
        (Walk.position, 0),
        (Walk.file, 0),
        (Walk.after, Kind.NAMES),
        (event[PathEvent.kind], EVENT_RENAMED),
    ):
        a.st(r0[place], value)
    a.tail_call(CTX, b.maps.jumps, WALKS[SCRATCH_EXIT])
    a.label(none)
