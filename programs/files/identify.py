"""Which file: from a `struct file *` to the records that count for it.

An open file description is known by its address, seen from a mount namespace. Addresses are reused, so the record
holds the inode too, and an open starts it afresh. A file is known by its dentry, its inode and the chain of the names
above it (`programs.files.chain`): under another path it is another file. An open file description counts for the file
that its open found, whatever becomes of the name. What is looked up here once an open costs the calls after it nothing.
"""

from __future__ import annotations

from typing import Optional

from asm import U32, U64, Register, r0, r1, r2
from programs.counting.runs import end_runs
from programs.facts.abi import PSEUDO_FILE_SYSTEMS
from programs.facts.jumps import WALKS
from programs.facts.records import (
    EVENT_BORN,
    EVENT_NAMED,
    EVENT_RENAMED,
    EVENT_UNREACHABLE,
    ID_BORN,
    ID_NAMED,
    OPEN_UNNAMED,
    Call,
    FileId,
    FileKey,
    FileState,
    Lost,
    OpenFile,
    OpenKey,
    PathEvent,
    Walk,
)
from programs.files.born import if_made_again
from programs.files.chain import Climb, chain, climb
from programs.way.body import BPF_EXIST, BPF_NOEXIST, ID_TIME, Body, low
from programs.way.registers import CALL, CTX, FILE, OPEN_FILE, STRUCT, WALK

S_IFMT, S_IFREG = 0o170000, 0o100000
SCRATCH_ENTER, SCRATCH_EXIT = 0, 1
O_TMPFILE = 0o20000000  # __O_TMPFILE, include/uapi/asm-generic/fcntl.h, the same on x86_64 and aarch64
MNT_NS_INTERNAL = -22  # ERR_PTR(-EINVAL), fs/mount.h: of memfd and other files that no path leads to
# Inode numbers of anonymous mount namespaces: none before MNT_NS_ANON_INO (include/uapi/linux/nsfs.h).
ANONYMOUS_NAMESPACES = (0, 0xEFFFFFF7 - (1 << 32))


def read_file(b: Body, file: Register) -> None:
    """Call.inode and Call.flags = those of a `struct file`. Clobbers r0 to r5."""
    o = b.kernel.offsets
    b.copy(CALL[Call.inode], file, o["file.inode"], "file", "the inode")
    b.copy(CALL[Call.flags], file, o["file.flags"], "file", "O_* flags")


def find_open(b: Body, known: str, slow: str, *, later: str = "", descriptor: Optional[int] = None) -> None:
    """The quick way to OPEN_FILE: a jump to `known` with the OpenFile of the file in FILE, or to `slow` without.

    Call.inode, Call.flags and Call.pos are set. A record left by an earlier owner of the address ends here, or there
    is a jump to `later` instead. `descriptor` is the number of the argument that was the file's descriptor.
    """
    a = b.a
    key, stale = a.slot("open", OpenKey), later or a.unique("stale")
    a.stx(key[OpenKey.file], FILE)
    a.ldx(r1, CALL[Call.mnt_ns])
    a.stx(key[OpenKey.mnt_ns], r1)
    a.lookup(b.maps.opens, key)
    a.jeq(r0, 0, slow)
    a.mov(OPEN_FILE, r0)
    a.ldx(r1, OPEN_FILE[OpenFile.pos], "before the kernel's own, which is then not behind it")
    a.stx(CALL[Call.pos], r1)
    read_file(b, FILE)
    a.ldx(r1, CALL[Call.inode])
    a.ldx(r2, OPEN_FILE[OpenFile.inode])
    a.jne(r1, r2, stale)
    a.ldx(r1, OPEN_FILE[OpenFile.flags])
    a.jeq(r1, 0, known)
    a.jset(r1, OPEN_UNNAMED, slow)
    if descriptor is None or later:
        a.ja(known)
    else:
        _if_closed_here(b, known, descriptor)
    if later:
        return
    a.label(stale)
    end_runs(b)
    a.delete(b.maps.opens, key)
    a.ja(slow)


def _if_closed_here(b: Body, known: str, descriptor: int) -> None:
    """Falls through if the description is a new one at the address of one that this process had closed.

    It had closed this very descriptor while others held the description; that it uses the same one again means that it
    was given it (SCM_RIGHTS), and most likely that whoever gave it has opened the file anew. If the file position is
    where the one before had left it, it is that one.
    """
    a = b.a
    new = a.unique("given_anew")
    closer(b, descriptor)
    a.ldx(r2, OPEN_FILE[OpenFile.closer])
    a.jne(r1, r2, known)
    b.load(r1, FILE, b.kernel.offsets["file.pos"], of="file")
    a.ldx(r2, CALL[Call.moved])
    a.sub(r1, r2)
    a.jeq(r1, 0, new)
    a.ldx(r2, OPEN_FILE[OpenFile.pos])
    a.jeq(r1, r2, known)
    a.label(new)


def closer(b: Body, descriptor: int) -> None:
    """r1 = this process and the descriptor that its argument of that number is, as in OpenFile.closer. Clobbers r2."""
    a = b.a
    a.ldx(r1, CALL[Call.process])
    a.lsh(r1, 32)
    a.ldx(r2, low(b.argument(descriptor)))
    a.or_(r1, r2)


def find_or_identify(b: Body, *, scratch: int, skip: str, descriptor: Optional[int] = None) -> None:
    """OPEN_FILE = the OpenFile of FILE, by `find_open` if that finds it, else by `identify`."""
    found, slow = b.a.unique("found"), b.a.unique("slow")
    find_open(b, found, slow, descriptor=descriptor)
    b.a.label(slow)
    identify(b, scratch=scratch, skip=skip)
    b.a.label(found)


def identify(b: Body, *, scratch: int, skip: str, renew: bool = False) -> None:
    """The slow way: OPEN_FILE = that of FILE, made if need be; a jump to `skip` if it is not to be traced.

    Sets Call.inode, Call.flags, Call.pos, and Call.walk with the Walk record filled in if a path must be sent.
    With `renew` (an open) an existing OpenFile is an earlier owner's: its runs end. `scratch` chooses the work
    space: programs that run at entry and at exit of a call must not share one.
    """
    a = b.a
    full, end = a.unique("full"), a.unique("identified")
    a.st(CALL[Call.walk], 0)
    read_file(b, FILE)
    regular_only(b, skip)
    _read_key(b, skip)
    _begin_walk(b, scratch, skip)
    _find_file(b, full, renew=renew)
    _needs_name(b)
    _open_record(b, renew=renew, full=full)
    a.ja(end)
    a.label(full)
    if renew:
        b.lost(Lost.files)
    b.lost(Lost.calls)
    a.ja(skip)
    a.label(end)


def find_new_name(b: Body, *, scratch: int, skip: str) -> None:
    """Has the path sent that FILE, whose id is in Call.id, has by now if that is not the one that it was opened under.

    Leaves its FileKey on the stack, as `identify` does. A name that it has lost is none.
    """
    a, event, key = b.a, Walk.event, b.file_key()
    other, done = a.unique("another_name"), a.unique("name_known")
    _read_key(b, skip)
    _begin_walk(b, scratch, skip)
    a.st(CALL[Call.walk], 0)
    a.lookup(b.maps.files, key)
    a.jeq(r0, 0, other)
    a.ldx(r1, r0[FileId.id])
    a.ldx(r2, CALL[Call.id])
    a.jeq(r1, r2, done)
    a.label(other)
    a.ldx(r1, key[FileKey.dentry])
    b.load(r1, r1, b.kernel.offsets["dentry.hashed"], of="dentry")
    a.jeq(r1, 0, done)
    a.ldx(r1, CALL[Call.id])
    a.stx(WALK[event[PathEvent.id]], r1)
    a.ldx(r1, WALK[event[PathEvent.kind]])
    a.add(r1, EVENT_RENAMED - EVENT_NAMED)
    a.stx(WALK[event[PathEvent.kind]], r1)
    a.st(CALL[Call.walk], 1)
    a.label(done)


def regular_only(b: Body, skip: str) -> None:
    """Jumps to `skip` unless Call.inode, opened with Call.flags, is a regular file that has a name. Clobbers STRUCT."""
    a, named = b.a, b.a.unique("opened_by_name")
    a.ldx(STRUCT, CALL[Call.inode])
    a.ldx(r1, CALL[Call.flags])
    a.and_(r1, O_TMPFILE)
    a.jeq(r1, 0, named)
    b.load(r1, STRUCT, b.kernel.offsets["inode.nlink"], size=4, of="inode")
    a.jeq(r1, 0, skip, "it has not been given a name")
    a.label(named)
    b.load(r1, STRUCT, b.kernel.offsets["inode.mode"], size=2, of="inode")
    a.and_(r1, S_IFMT)
    a.jne(r1, S_IFREG, skip, "not a regular file")


def _read_key(b: Body, skip: str) -> None:
    """The FileKey on the stack = that of FILE; STRUCT = its super block, and the slot of `climb` = the way up."""
    a, o, key, way = b.a, b.kernel.offsets, b.file_key(), climb(b)
    a.zero(key)
    a.ldx(STRUCT, CALL[Call.mnt_ns])
    b.copy(key[FileKey.mnt_ns], STRUCT, o["mnt_ns.inum"], "mnt_namespace", "mount namespace")
    b.copy(key[FileKey.dentry], FILE, o["file.dentry"], "file")
    _name_given_later(b)
    b.load(STRUCT, FILE, o["file.mnt"], of="file")
    a.sub(STRUCT, o["mount.mnt"], "container_of(mnt, struct mount, mnt)")
    a.stx(way[Climb.mount], STRUCT)
    b.load(r1, STRUCT, o["mount.ns"], "the namespace that it is mounted in", of="mount")
    a.jeq(r1, MNT_NS_INTERNAL, skip, "no path leads there: a memfd, say")
    a.ldx(STRUCT, CALL[Call.inode])
    b.copy(key[FileKey.inode], STRUCT, o["inode.ino"], "inode")
    b.copy(key[FileKey.generation], STRUCT, o["inode.generation"], "inode")
    b.load(STRUCT, STRUCT, o["inode.sb"], of="inode")
    b.copy(key[FileKey.device], STRUCT, o["sb.dev"], "super_block")
    if not b.options.include_pseudo:
        _real_file_systems_only(b, skip)


def _name_given_later(b: Body) -> None:
    """FileKey.dentry = the name that an O_TMPFILE was given: the newest alias of its inode, as its own has none."""
    a, key, named = b.a, b.file_key(), b.a.unique("own_name")
    a.ldx(r1, CALL[Call.flags])
    a.and_(r1, O_TMPFILE)
    a.jeq(r1, 0, named)
    a.ldx(STRUCT, CALL[Call.inode])
    b.load(r1, STRUCT, b.kernel.offsets["inode.aliases"], of="inode")
    a.sub(r1, b.kernel.offsets["dentry.alias"], "container_of(node, struct dentry, d_u.d_alias)")
    a.stx(key[FileKey.dentry], r1)
    a.label(named)


def _real_file_systems_only(b: Body, skip: str) -> None:
    """Jumps to ``skip`` if the super block in STRUCT is that of a file system which keeps no data."""
    a = b.a
    b.load(r1, STRUCT, b.kernel.offsets["sb.magic"], of="super_block")
    for name, magic in PSEUDO_FILE_SYSTEMS.items():
        if magic < 1 << 31:
            a.jeq(r1, magic, skip, name)
        else:
            a.ld_imm64(r2, magic)
            a.jeq(r1, r2, skip, name)


def _begin_walk(b: Body, scratch: int, skip: str) -> None:
    """WALK = the Walk record, filled in for the file of the FileKey on the stack, whose chain is complete then.

    WALK was the file's super block, and the slot of `climb` has its mount.
    """
    a, zero, sb = b.a, b.a.slot("zero", U32), b.a.slot("word", U64)
    key, way, event = b.file_key(), climb(b), Walk.event
    a.stx(sb, STRUCT)
    a.st(zero, scratch)
    a.lookup(b.maps.scratch, zero)
    a.jeq(r0, 0, skip)
    a.mov(WALK, r0)
    a.ldx(r1, sb)
    a.stx(WALK[Walk.sb], r1)
    a.ldx(r1, key[FileKey.dentry])
    a.stx(WALK[Walk.dentry], r1)
    a.stx(way[Climb.dentry], r1)
    a.ldx(r1, way[Climb.mount])
    a.stx(WALK[Walk.mnt], r1)
    a.stx(WALK[event[PathEvent.mount]], r1)
    a.stx(WALK[Walk.file], FILE)
    a.ldx(r1, CALL[Call.mnt_ns])
    a.stx(WALK[Walk.mnt_ns], r1)
    a.ldx(r1, CALL[Call.inode])
    a.stx(WALK[event[PathEvent.inode]], r1)
    for place in (Walk.position, Walk.after):
        a.st(WALK[place], 0)
    a.st(WALK[event[PathEvent.kind]], EVENT_NAMED)
    _note_detached(b)
    chain(b)
    a.ldx(r1, way[Climb.chain])
    a.stx(key[FileKey.chain], r1)
    for offset in range(0, FileKey.size, 8):
        a.ldx(r1, key.at(offset, 8))
        a.stx(WALK[event[PathEvent.key]].at(offset), r1)


def _note_detached(b: Body) -> None:
    """Marks the event in WALK if the file's mount is in no namespace (umount -l) or in an anonymous one (open_tree)."""
    a, o, attached, detached = b.a, b.kernel.offsets, b.a.unique("attached"), b.a.unique("detached")
    a.ldx(r1, WALK[Walk.mnt])
    b.load(r1, r1, o["mount.ns"], of="mount")
    a.ldx(r2, CALL[Call.mnt_ns])
    a.jeq(r1, r2, attached)
    a.jeq(r1, 0, detached)
    b.load(r1, r1, o["mnt_ns.inum"], size=4, of="mnt_namespace")
    for number in ANONYMOUS_NAMESPACES:
        a.mov32(r2, number)
        a.jeq(r1, r2, detached)
    a.ja(attached)
    a.label(detached)
    a.st(WALK[Walk.event[PathEvent.kind]], EVENT_NAMED | EVENT_UNREACHABLE)
    a.label(attached)


def _find_file(b: Body, full: str, *, renew: bool) -> None:
    """r0 = the FileId of the file of the FileKey on the stack, made if need be; a jump to `full` if there is no room.

    At an open (`renew`) that has created the file it is made anew, unless a sibling's open of the same new file was
    quicker. So it is where the inode is at another address: what had this name is not in use any more.
    """
    a, have, make, other = b.a, b.a.unique("have_file"), b.a.unique("make_file"), b.a.unique("other_file")
    a.lookup(b.maps.files, b.file_key())
    a.jeq(r0, 0, make)
    a.ldx(r1, r0[FileId.inode])
    a.ldx(r2, CALL[Call.inode])
    a.jne(r1, r2, other)
    if renew:
        a.ldx(r1, CALL[Call.born])
        a.jeq(r1, 0, have)
        a.ldx(r1, r0[FileId.id])
        a.ldx(r2, CALL[Call.entered])
        a.lsh(r2, ID_TIME)
        a.sub(r1, r2)
        a.jsge(r1, 0, have, "made since this call began")
        if not b.kernel.shows_created:
            if_made_again(b, other, make, have)
    else:
        a.ja(have)
    a.label(other)
    _new_file(b, full, BPF_EXIST, renew=renew)
    a.ja(have)
    a.label(make)
    _new_file(b, full, BPF_NOEXIST, renew=renew)
    a.label(have)


def _new_file(b: Body, full: str, flags: int, *, renew: bool) -> None:
    """r0 = the FileId made for the FileKey on the stack, by somebody else if he was quicker; else a jump to `full`."""
    a, ours = b.a, b.a.unique("ours")
    key, file_id = b.file_key(), a.slot("id", U64)
    b.new_id(file_id)
    fresh = b.fresh(FileState)
    a.update(b.maps.states, file_id, fresh, BPF_NOEXIST)
    a.jne(r0, 0, full)
    fresh = b.fresh(FileId)
    a.ldx(r1, file_id)
    a.stx(fresh[FileId.id], r1)
    a.ldx(r1, CALL[Call.inode])
    a.stx(fresh[FileId.inode], r1)
    if renew:
        a.ldx(r1, CALL[Call.born])
        if not b.kernel.shows_created:
            a.and_(r1, ID_BORN)
        a.stx(fresh[FileId.marks], r1)
    a.update(b.maps.files, key, fresh, flags)
    a.jeq(r0, 0, ours)
    a.delete(b.maps.states, file_id)
    a.label(ours)
    a.lookup(b.maps.files, key)
    a.jeq(r0, 0, full)


def _needs_name(b: Body) -> None:
    """Decides whether the path must be sent. r0 = FileId, WALK = Walk; leaves the id in the event and on the stack."""
    a, file_id, event = b.a, b.a.slot("id", U64), Walk.event
    born, done = a.unique("born"), a.unique("named")
    a.ldx(r1, r0[FileId.id])
    a.stx(file_id, r1)
    a.stx(WALK[event[PathEvent.id]], r1)
    a.ldx(r1, r0[FileId.marks])
    a.jset(r1, ID_NAMED, done)
    a.st(CALL[Call.walk], 1)
    a.jset(r1, ID_BORN, born)
    a.ja(done)
    a.label(born)
    a.ldx(r1, WALK[event[PathEvent.kind]])
    a.or_(r1, EVENT_BORN)
    a.stx(WALK[event[PathEvent.kind]], r1)
    a.label(done)


def _open_record(b: Body, *, renew: bool, full: str) -> None:
    """OPEN_FILE = the OpenFile of the file in FILE, whose id is on the stack."""
    a, o = b.a, b.kernel.offsets
    key, file_id = a.slot("open", OpenKey), a.slot("id", U64)
    have, make = a.unique("have_open"), a.unique("make_open")
    a.stx(key[OpenKey.file], FILE)
    a.ldx(r1, CALL[Call.mnt_ns])
    a.stx(key[OpenKey.mnt_ns], r1)
    a.lookup(b.maps.opens, key)
    if renew:
        a.jeq(r0, 0, make)
        a.mov(OPEN_FILE, r0)
        _end_runs_of_another(b)
        a.label(make)
    else:
        a.jne(r0, 0, have)
    fresh = b.fresh(b.open_file)
    b.copy(fresh[OpenFile.pos], FILE, o["file.pos"], "file")
    a.ldx(r1, fresh[OpenFile.pos])
    a.ldx(r2, CALL[Call.moved])
    a.sub(r1, r2, "where it was before this transfer")
    a.stx(fresh[OpenFile.pos], r1)
    a.ldx(r1, file_id)
    a.stx(fresh[OpenFile.id], r1)
    a.ldx(r1, CALL[Call.inode])
    a.stx(fresh[OpenFile.inode], r1)
    a.update(b.maps.opens, key, fresh)
    a.lookup(b.maps.opens, key)
    a.jeq(r0, 0, full)
    if not renew:
        a.label(have)
    a.mov(OPEN_FILE, r0)
    a.ldx(r1, OPEN_FILE[OpenFile.pos])
    a.stx(CALL[Call.pos], r1)
    a.ldx(r1, CALL[Call.walk])
    a.stx(OPEN_FILE[OpenFile.flags], r1, "OPEN_UNNAMED while the path is on its way")


def _end_runs_of_another(b: Body) -> None:
    """Ends the runs of OPEN_FILE, which had this address before the file that is opened.

    Keeps Call.broken, where a note of io_uring's has who submitted the open.
    """
    a = b.a
    if not b.options.by:
        end_runs(b)
        return
    a.ldx(r1, CALL[Call.broken])
    a.stx(CALL[Call.start], r1)
    end_runs(b)
    a.ldx(r1, CALL[Call.start])
    a.stx(CALL[Call.broken], r1)


def send_name(b: Body, scratch: int, after: int = 0) -> None:
    """The end of a program: sends the path if it must be sent, goes on with program `after` if there is one.

    Nothing may follow.
    """
    a, skip, zero = b.a, b.a.unique("no_name"), b.a.slot("zero", U32)
    a.ldx(r1, CALL[Call.walk])
    a.jeq(r1, 0, skip)
    if after:
        a.st(zero, scratch)
        a.lookup(b.maps.scratch, zero)
        a.jeq(r0, 0, skip)
        a.st(r0[Walk.after], after)
    a.tail_call(CTX, b.maps.jumps, WALKS[scratch])
    a.label(skip)
    if after:
        a.tail_call(CTX, b.maps.jumps, after)
    a.ret(0)
