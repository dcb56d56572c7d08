"""The path of a file: a walk from its dentry to the root of its mount namespace, and one event to user space.

This is what d_path() does (fs/d_path.c: prepend_path()), but never stopped by a chroot: a file's path is the one within
its mount namespace. Where there is no bpf_loop the walk is unrolled and goes on in tail calls, which 4.14 can do; where
it stands is kept in the work space, not in registers, so that the verifier sees the same state at each level.
"""

from __future__ import annotations

from asm import U32, U64, ProgramSpec, r0, r1, r2, r3, r4, r5
from programs.facts.jumps import WALKS
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import (
    EVENT_NAMED,
    EVENT_TRUNCATED,
    EVENT_UNREACHABLE,
    ID_NAMED,
    NAME_BYTES,
    OPEN_UNNAMED,
    WALK_BYTES,
    FileId,
    FileKey,
    Lost,
    OpenFile,
    OpenKey,
    PathEvent,
    Scratch,
    Walk,
)
from programs.way.body import Body, begin
from programs.way.registers import CTX, DENTRY, ENDED, LENGTH, MOUNT, POINTER, WALK

LEVELS = 32  # of directories and mounts a program; with 31 tail calls more than 1,000
LOOP_LEVELS = 4096  # of them in a loop: no path has more names than bytes, but mounts may be stacked
AT_ROOT, TOO_LONG, ADRIFT = 1, 2, 3  # how a walk in a loop ended
BPF_F_CURRENT_CPU = 0xFFFFFFFF


def walk(kernel: Kernel, options: Options, maps: Maps, scratch: int) -> ProgramSpec:
    """Continues the walk in work space `scratch`. Reached by tail call alone."""
    b = begin(f"walk_{scratch}", kernel, options, maps)
    a, zero = b.a, b.a.slot("zero", U32)
    a.st(zero, scratch)
    a.lookup(maps.scratch, zero)
    a.jeq(r0, 0, "out")
    a.mov(WALK, r0)
    _file_system_name(b)
    if kernel.loops:
        ended = a.slot("ended", U64)
        a.st(ended, 0)
        b.loop(LOOP_LEVELS, "step", lambda: _step(b, scratch), ended)
        a.ldx(r1, ended)
        a.jeq(r1, AT_ROOT, "root")
        a.jeq(r1, ADRIFT, "adrift")
    else:
        for level in range(LEVELS):
            _level(b, f"level_{level + 1}")
            a.label(f"level_{level + 1}")
        a.tail_call(CTX, maps.jumps, WALKS[scratch])
        a.label("truncated")
    b.lost(Lost.depth)
    a.ldx(r1, WALK[Walk.event[PathEvent.kind]])
    a.or_(r1, EVENT_TRUNCATED)
    a.ja("marked")
    a.label("adrift")
    a.ldx(r1, WALK[Walk.event[PathEvent.kind]])
    a.or_(r1, EVENT_UNREACHABLE)
    a.label("marked")
    a.stx(WALK[Walk.event[PathEvent.kind]], r1)
    a.label("root")
    _send(b)
    a.label("after")
    a.ldx(r3, WALK[Walk.after])
    a.jeq(r3, 0, "out")
    a.tail_call(CTX, maps.jumps, r3)
    a.label("out")
    a.ret(0)
    return b.program()


def _file_system_name(b: Body) -> None:
    """PathEvent.fstype, unless the walk has begun in a program before this one."""
    a, o = b.a, b.kernel.offsets
    a.ldx(r1, WALK[Walk.position])
    a.jne(r1, 0, "continued")
    a.ldx(POINTER, WALK[Walk.sb])
    b.load(POINTER, POINTER, o["sb.type"])
    b.load(r3, POINTER, o["fstype.name"])
    b.address(r1, WALK[Walk.event[PathEvent.fstype]])
    a.mov(r2, PathEvent.fstype.count)
    a.call("probe_read_str", "super_block.s_type->name")
    a.label("continued")


def _step(b: Body, scratch: int) -> None:
    """A round of the loop: one step. Says in the context, at r2, how the walk has ended if it has."""
    a, zero = b.a, b.a.slot("zero", U32)
    a.mov(ENDED, r2)
    a.st(zero, scratch)
    a.lookup(b.maps.scratch, zero)
    a.jeq(r0, 0, "end")
    a.mov(WALK, r0)
    _level(b, "stepped", root="at_root", truncated="too_long", adrift="lost_its_way")
    a.label("stepped")
    a.ret(0)
    a.label("at_root")
    a.st(ENDED.u64(0), AT_ROOT)
    a.ja("end")
    a.label("lost_its_way")
    a.st(ENDED.u64(0), ADRIFT)
    a.ja("end")
    a.label("too_long")
    a.st(ENDED.u64(0), TOO_LONG)
    a.label("end")
    a.ret(1)


def _level(b: Body, following: str, root: str = "root", truncated: str = "truncated", adrift: str = "adrift") -> None:
    """One step up: out of a mount at its root, or over one name."""
    a, o = b.a, b.kernel.offsets
    inside = a.unique("inside")
    a.ldx(DENTRY, WALK[Walk.dentry])
    a.ldx(MOUNT, WALK[Walk.mnt])
    b.load(r1, MOUNT, o["mount.mnt"] + o["vfsmount.root"], of="mount")
    a.jne(r1, DENTRY, inside)
    b.load(DENTRY, MOUNT, o["mount.mountpoint"], of="mount")
    b.load(r1, MOUNT, o["mount.parent"], of="mount")
    a.jeq(r1, MOUNT, root, "the mount that all others are on")
    a.stx(WALK[Walk.dentry], DENTRY, "go on where this is mounted")
    a.stx(WALK[Walk.mnt], r1)
    a.ja(following)
    a.label(inside)
    b.load(r1, DENTRY, o["dentry.parent"], of="dentry")
    a.jeq(r1, DENTRY, adrift, "not connected to anything, or moved out of what is mounted")
    a.stx(WALK[Walk.dentry], r1)
    b.load(r3, DENTRY, o["dentry.name"], of="dentry")
    a.ldx(LENGTH, WALK[Walk.position])
    a.jgt(LENGTH, WALK_BYTES, truncated)
    a.addr(r1, WALK[Scratch.data])
    a.add(r1, LENGTH)
    a.mov(r2, NAME_BYTES)
    a.call("probe_read_str", "the name and its NUL")
    a.jsle(r0, 0, truncated)
    a.add(LENGTH, r0)
    a.stx(WALK[Walk.position], LENGTH)


def _send(b: Body) -> None:
    """Sends the event. If there was room for it, the file and this open file description are named from now on."""
    a, event = b.a, Walk.event
    a.ldx(LENGTH, WALK[Walk.position])
    a.jgt(LENGTH, WALK_BYTES + NAME_BYTES, "after")
    a.stx(WALK[event[PathEvent.length]], LENGTH)
    a.add(LENGTH, PathEvent.size)
    if b.kernel.ring_buffer:
        a.ld_map(r1, b.maps.events)
        b.address(r2, WALK[event])
        a.mov(r3, LENGTH)
        a.mov(r4, 0)
        a.call("ringbuf_output")
    else:
        a.mov(r1, CTX)
        a.ld_map(r2, b.maps.events)
        a.mov32(r3, BPF_F_CURRENT_CPU)
        b.address(r4, WALK[event])
        a.mov(r5, LENGTH)
        a.call("perf_event_output")
    a.jeq(r0, 0, "taken")
    b.lost(Lost.names)
    a.ja("after")
    a.label("taken")
    a.ldx(r1, WALK[event[PathEvent.kind]])
    a.and_(r1, EVENT_TRUNCATED - 1)
    a.jne(r1, EVENT_NAMED, "after", "not the path that counts")
    _mark_named(b)


def _mark_named(b: Body) -> None:
    """Remembers that the path is known, and by which name."""
    a = b.a
    key, opened = a.slot("file", FileKey), a.slot("open", OpenKey)
    for offset in range(0, FileKey.size, 8):
        a.ldx(r1, WALK[Walk.event[PathEvent.key]].at(offset))
        a.stx(key.at(offset, 8), r1)
    a.lookup(b.maps.files, key)
    a.jeq(r0, 0, "after")
    a.ldx(r1, r0[FileId.id])
    a.ldx(r2, WALK[Walk.event[PathEvent.id]])
    a.jne(r1, r2, "after", "the file was moved out meanwhile, and this is its next id")
    a.ldx(r1, r0[FileId.marks])
    a.or_(r1, ID_NAMED)
    a.stx(r0[FileId.marks], r1)
    for place, value in ((OpenKey.file, Walk.file), (OpenKey.mnt_ns, Walk.mnt_ns)):
        a.ldx(r1, WALK[value])
        a.stx(opened[place], r1)
    a.lookup(b.maps.opens, opened)
    a.jeq(r0, 0, "after")
    a.ldx(r1, r0[OpenFile.flags])
    a.and_(r1, ~OPEN_UNNAMED)
    a.stx(r0[OpenFile.flags], r1)
