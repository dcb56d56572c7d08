"""Names that change: rename and unlink, so that a file's last name and its deletion are known after it was closed.

The programs cannot look up a path, but they can say which one the caller gave: its text from user memory, and the
directory that it starts from, walked like a file's own path. A rename sends two such events, an unlink one.
"""

from __future__ import annotations

from typing import Tuple

from asm import U32, U64, ProgramSpec, r0, r1, r2, r3
from programs.facts.catalogue import Kind
from programs.facts.jumps import WALKS, Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import (
    EVENT_EXCHANGED,
    EVENT_NEW_NAME,
    EVENT_OLD_NAME,
    EVENT_UNLINKED,
    PATH_BYTES,
    Call,
    FileKey,
    Lost,
    PathEvent,
    Scratch,
    Signature,
    Walk,
)
from programs.files.identify import SCRATCH_EXIT
from programs.way.body import Body, low
from programs.way.descriptors import resolve
from programs.way.exit import load_result
from programs.way.registers import CALL, CALL_KIND, CTX, DESCRIPTOR, FILE, POINTER, RESULT, SIGNATURE, TID, WALK
from programs.way.threads import begin_part

AT_FDCWD = -100
RENAME_EXCHANGE = 2  # include/uapi/linux/fs.h
# By kind, argument numbers of (directory descriptor or -1, path) of the old and the new name.
ARGUMENTS = {
    Kind.RENAME: ((-1, 0), (-1, 1)),
    Kind.RENAMEAT: ((0, 1), (2, 3)),
    Kind.UNLINK: ((-1, 0), (-1, 0)),
    Kind.UNLINKAT: ((0, 1), (0, 1)),
}


def exit_old_name(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of rename and unlink: sends the old name."""
    b = _begin(kernel, options, maps, "exit_old_name")
    a = b.a
    a.jge(CALL_KIND, Kind.UNLINK, "unlink")
    _arguments(b, (Kind.RENAME, Kind.RENAMEAT), 0)
    a.st(CALL[Call.event], EVENT_OLD_NAME)
    a.ja("send")
    a.label("unlink")
    _arguments(b, (Kind.UNLINK, Kind.UNLINKAT), 0)
    a.st(CALL[Call.event], EVENT_UNLINKED)
    a.label("send")
    _send_name(b, after=Jump.NEW_NAME)
    return b.program()


def exit_new_name(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """Follows `exit_old_name`: sends the new name of a rename."""
    b = _begin(kernel, options, maps, "exit_new_name")
    a = b.a
    a.st(CALL[Call.call], 0)
    a.jge(CALL_KIND, Kind.UNLINK, "out")
    _arguments(b, (Kind.RENAME, Kind.RENAMEAT), 1)
    a.st(CALL[Call.event], EVENT_NEW_NAME)
    a.jne(CALL_KIND, Kind.RENAMEAT2, "one_way")
    a.ldx(r1, b.argument(4))
    a.and_(r1, RENAME_EXCHANGE)
    a.jeq(r1, 0, "one_way")
    a.st(CALL[Call.event], EVENT_EXCHANGED)
    a.label("one_way")
    _send_name(b, after=0)
    return b.program()


def _begin(kernel: Kernel, options: Options, maps: Maps, name: str) -> Body:
    """Up to CALL_KIND of the call, which has succeeded."""
    b = begin_part(name, kernel, options, maps)
    a = b.a
    a.stx(a.slot("id", U64), TID, "tid")
    a.ldx(SIGNATURE, CALL[Call.call])
    a.jeq(SIGNATURE, 0, "out")
    load_result(b)
    a.jne(RESULT, 0, "failed")
    b.signature(CALL_KIND, Signature.kind)
    return b


def _arguments(b: Body, kinds: Tuple[Kind, Kind], side: int) -> None:
    """Sets Call.path and Call.directory for calls of two kinds."""
    a = b.a
    at, done = a.unique("at"), a.unique("arguments")
    a.st(CALL[Call.directory], AT_FDCWD)
    a.jne(CALL_KIND, kinds[0], at)
    a.ldx(r1, b.argument(ARGUMENTS[kinds[0]][side][1]))
    a.ja(done)
    a.label(at)
    directory, path = ARGUMENTS[kinds[1]][side]
    a.ldx(r1, low(b.argument(directory)))
    a.stx(CALL[Call.directory], r1)
    a.ldx(r1, b.argument(path))
    a.label(done)
    a.stx(CALL[Call.path], r1)


def _send_name(b: Body, after: int) -> None:
    """Sends Call.path as an event of kind Call.event, then goes on with `after`. Ends the program."""
    a, zero = b.a, b.a.slot("zero", U32)
    event = Walk.event
    a.st(zero, SCRATCH_EXIT)
    a.lookup(b.maps.scratch, zero)
    a.jeq(r0, 0, "out")
    a.mov(WALK, r0)
    for offset in range(0, PathEvent.size, 8):
        a.st(WALK.u64(event.offset + offset), 0)
    a.ldx(r1, CALL[Call.event])
    a.stx(WALK[event[PathEvent.kind]], r1)
    a.ldx(r1, CALL[Call.entered])
    a.stx(WALK[event[PathEvent.id]], r1)
    a.ldx(r1, a.slot("id", U64))
    a.stx(WALK[event[PathEvent.key][FileKey.device]], r1, "tid: with the time, what joins two events")
    a.ldx(r3, CALL[Call.mnt_ns])
    b.probe(WALK[event[PathEvent.key][FileKey.mnt_ns]], 4, r3, b.kernel.offsets["mnt_ns.inum"])
    a.st(WALK[Walk.after], after)
    a.ldx(r3, CALL[Call.path])
    b.address(r1, WALK.u8(Scratch.data.offset))
    a.mov(r2, PATH_BYTES)
    a.call("probe_read_str", "the path as the caller gave it")
    a.jsle(r0, 0, "unreadable")
    a.stx(WALK[Walk.position], r0)
    _start(b)
    a.tail_call(CTX, b.maps.jumps, WALKS[SCRATCH_EXIT])
    a.label("unreadable")
    b.lost(Lost.names)
    a.label("failed")
    a.st(CALL[Call.call], 0, "or the exit of a call that is not traced would be taken for this one's")
    a.label("out")
    a.ret(0)


def _start(b: Body) -> None:
    """Walk.dentry and Walk.mnt = where the path starts: the task's root, its working directory, or a descriptor's."""
    a, o = b.a, b.kernel.offsets
    a.ldx(r1, WALK.u8(Scratch.data.offset))
    a.jeq(r1, ord("/"), "from_root")
    a.ldx(DESCRIPTOR, low(CALL[Call.directory]))
    a.mov32(r1, AT_FDCWD)
    a.jeq(DESCRIPTOR, r1, "from_cwd")
    resolve(b)
    a.jeq(FILE, 0, "unreadable")
    b.probe(WALK[Walk.dentry], 8, FILE, o["file.dentry"])
    b.probe(WALK[Walk.mnt], 8, FILE, o["file.mnt"])
    a.ja("started")
    for label, name in (("from_root", "fs.root"), ("from_cwd", "fs.pwd")):
        a.label(label)
        a.call("get_current_task")
        a.mov(POINTER, r0)
        b.load(POINTER, POINTER, o["task.fs"])
        b.probe(WALK[Walk.dentry], 8, POINTER, o[name + ".dentry"])
        b.probe(WALK[Walk.mnt], 8, POINTER, o[name + ".mnt"])
        if label == "from_root":
            a.ja("started")
    a.label("started")
    a.ldx(r1, WALK[Walk.mnt])
    a.sub(r1, o["mount.mnt"], "container_of(mnt, struct mount, mnt)")
    a.stx(WALK[Walk.mnt], r1)
