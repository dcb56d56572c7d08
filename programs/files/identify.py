"""Which file: from a `struct file *` to the records that count for it.

An open file description is known by its address, seen from a mount namespace. Addresses are reused, so the record
holds the inode too, and an open starts it afresh. A file is known by dentry, mount, inode number and generation.
What is looked up here once for each open costs the calls after it nothing.
"""

from __future__ import annotations

from asm import U32, U64, Register, r0, r1, r2, r3
from programs.counting.runs import end_runs
from programs.facts.abi import PSEUDO_FILE_SYSTEMS
from programs.facts.jumps import WALKS
from programs.facts.records import (
    EVENT_NAMED,
    EVENT_RENAMED,
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
from programs.way.body import BPF_NOEXIST, Body
from programs.way.registers import CALL, CTX, FILE, OPEN_FILE, STRUCT, WALK

S_IFMT, S_IFREG = 0o170000, 0o100000
SCRATCH_ENTER, SCRATCH_EXIT = 0, 1
O_TMPFILE = 0o20000000  # __O_TMPFILE, include/uapi/asm-generic/fcntl.h, the same on x86_64 and aarch64
MNT_NS_INTERNAL = -22  # ERR_PTR(-EINVAL), fs/mount.h: of memfd and other files that no path leads to


def read_file(b: Body, file: Register) -> None:
    """Call.inode and Call.flags = those of a `struct file`. Clobbers r0 to r5."""
    o = b.kernel.offsets
    b.copy(CALL[Call.inode], file, o["file.inode"], "file", "the inode")
    b.copy(CALL[Call.flags], file, o["file.flags"], "file", "O_* flags")


def find_open(b: Body, known: str, slow: str, *, later: str = "") -> None:
    """The quick way to OPEN_FILE, which is FILE's: a jump to `known` with it, or to `slow` without.

    Call.inode, Call.flags and Call.pos are set. A record left by an earlier owner of the address ends here, or there
    is a jump to `later` instead.
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
    a.ja(slow)
    if later:
        return
    a.label(stale)
    end_runs(b)
    a.delete(b.maps.opens, key)
    a.ja(slow)


def find_or_identify(b: Body, *, scratch: int, skip: str) -> None:
    """OPEN_FILE = that of FILE, by `find_open` if it finds it, else by `identify`."""
    found, slow = b.a.unique("found"), b.a.unique("slow")
    find_open(b, found, slow)
    b.a.label(slow)
    identify(b, scratch=scratch, skip=skip)
    b.a.label(found)


def identify(b: Body, *, scratch: int, skip: str, renew: bool = False) -> None:
    """The slow way: OPEN_FILE of FILE, made if need be; a jump to `skip` if the file is not to be traced.

    Sets Call.inode, Call.flags, Call.pos, and Call.walk; the Walk record is filled in for a path that must be sent.
    With `renew` (an open) an existing OpenFile is an earlier owner's: its runs end. `scratch` chooses the work
    space: programs that run at entry and at exit of a call must not share one.
    """
    a = b.a
    full, have_file, end = a.unique("full"), a.unique("have_file"), a.unique("identified")
    a.st(CALL[Call.walk], 0)
    read_file(b, FILE)
    regular_only(b, skip)
    _read_key(b, skip)
    _begin_walk(b, scratch, skip)
    a.lookup(b.maps.files, b.file_key())
    a.jne(r0, 0, have_file)
    _new_file(b, full)
    a.jeq(r0, 0, full)
    a.label(have_file)
    _needs_name(b)
    _open_record(b, renew=renew, full=full)
    a.ja(end)
    a.label(full)
    if renew:
        b.lost(Lost.files)
    b.lost(Lost.calls)
    a.ja(skip)
    a.label(end)


def regular_only(b: Body, skip: str) -> None:
    """Jumps to `skip` unless Call.inode, opened with Call.flags, is a regular file that has a name. Destroys STRUCT."""
    a = b.a
    a.ldx(r1, CALL[Call.flags])
    a.and_(r1, O_TMPFILE)
    a.jne(r1, 0, skip, "it never had a name")
    a.ldx(STRUCT, CALL[Call.inode])
    b.load(r1, STRUCT, b.kernel.offsets["inode.mode"], size=2, of="inode")
    a.and_(r1, S_IFMT)
    a.jne(r1, S_IFREG, skip, "not a regular file")


def _read_key(b: Body, skip: str) -> None:
    """The FileKey on the stack = that of FILE; STRUCT = its super block. Jumps to `skip` if no path leads to it."""
    a, o, key = b.a, b.kernel.offsets, b.file_key()
    a.zero(key)
    a.ldx(STRUCT, CALL[Call.mnt_ns])
    b.copy(key[FileKey.mnt_ns], STRUCT, o["mnt_ns.inum"], "mnt_namespace", "mount namespace")
    b.copy(key[FileKey.mnt], FILE, o["file.mnt"], "file")
    b.copy(key[FileKey.dentry], FILE, o["file.dentry"], "file")
    a.ldx(STRUCT, key[FileKey.mnt])
    a.sub(STRUCT, o["mount.mnt"], "container_of(mnt, struct mount, mnt)")
    b.load(r1, STRUCT, o["mount.ns"], "the namespace that it is mounted in", of="mount")
    a.jeq(r1, MNT_NS_INTERNAL, skip, "no path leads there: a memfd, say")
    a.ldx(STRUCT, CALL[Call.inode])
    b.copy(key[FileKey.inode], STRUCT, o["inode.ino"], "inode")
    b.copy(key[FileKey.generation], STRUCT, o["inode.generation"], "inode")
    b.load(STRUCT, STRUCT, o["inode.sb"], of="inode")
    b.copy(key[FileKey.device], STRUCT, o["sb.dev"], "super_block")
    if not b.options.include_pseudo:
        _real_file_systems_only(b, skip)


def _real_file_systems_only(b: Body, skip: str) -> None:
    """Jumps to `skip` if STRUCT is the super block of a file system that keeps no data."""
    a = b.a
    b.load(r1, STRUCT, b.kernel.offsets["sb.magic"], of="super_block")
    for name, magic in PSEUDO_FILE_SYSTEMS.items():
        if magic < 1 << 31:
            a.jeq(r1, magic, skip, name)
        else:
            a.ld_imm64(r2, magic)
            a.jeq(r1, r2, skip, name)


def _begin_walk(b: Body, scratch: int, skip: str) -> None:
    """WALK = work space `scratch`, filled in for FILE. Its FileKey is on the stack, its super block was STRUCT."""
    a, o = b.a, b.kernel.offsets
    key, zero, sb = b.file_key(), a.slot("zero", U32), a.slot("word", U64)
    event = Walk.event
    a.stx(sb, STRUCT)
    a.st(zero, scratch)
    a.lookup(b.maps.scratch, zero)
    a.jeq(r0, 0, skip)
    a.mov(WALK, r0)
    for offset in range(0, FileKey.size, 8):
        a.ldx(r1, key.at(offset, 8))
        a.stx(WALK[event[PathEvent.key]].at(offset), r1)
    a.ldx(r1, sb)
    a.stx(WALK[Walk.sb], r1)
    a.ldx(r1, key[FileKey.dentry])
    a.stx(WALK[Walk.dentry], r1)
    a.ldx(r1, key[FileKey.mnt])
    a.sub(r1, o["mount.mnt"], "container_of(mnt, struct mount, mnt)")
    a.stx(WALK[Walk.mnt], r1)
    a.stx(WALK[Walk.file], FILE)
    a.ldx(r1, CALL[Call.mnt_ns])
    a.stx(WALK[Walk.mnt_ns], r1)
    for place in (Walk.position, Walk.after):
        a.st(WALK[place], 0)
    a.st(WALK[event[PathEvent.kind]], EVENT_NAMED)
    for place, offset in ((Walk.parent, o["dentry.parent"]), (Walk.name, o["dentry.hash_len"])):
        a.ldx(r3, WALK[Walk.dentry])
        a.add(r3, offset)
        b.copy(WALK[place], r3, 0, "list_head", "changes with a rename")


def _new_file(b: Body, full: str) -> None:
    """r0 = the FileId made for the FileKey on the stack; 0, or a jump to `full`, if there is no room."""
    a, ours = b.a, b.a.unique("ours")
    key, file_id = b.file_key(), a.slot("id", U64)
    a.call("get_smp_processor_id")
    a.and_(r0, 1023)
    a.stx(file_id, r0)
    a.call("ktime_get_ns")
    a.lsh(r0, 10)
    a.ldx(r1, file_id)
    a.or_(r0, r1, "unique: no CPU makes two files within a nanosecond")
    a.stx(file_id, r0)
    fresh = b.fresh(FileState)
    a.update(b.maps.states, file_id, fresh, BPF_NOEXIST)
    a.jne(r0, 0, full)
    fresh = b.fresh(FileId)
    a.ldx(r1, file_id)
    a.stx(fresh[FileId.id], r1)
    a.update(b.maps.files, key, fresh, BPF_NOEXIST)
    a.jeq(r0, 0, ours)
    a.delete(b.maps.states, file_id)
    a.label(ours)
    a.lookup(b.maps.files, key)


def _needs_name(b: Body) -> None:
    """Call.walk = 1 if the path must be sent. r0 = the FileId; its id goes to the event at WALK and onto the stack."""
    a, file_id, event = b.a, b.a.slot("id", U64), Walk.event
    renamed, send, done = a.unique("renamed"), a.unique("send_name"), a.unique("named")
    a.ldx(r1, r0[FileId.id])
    a.stx(file_id, r1)
    a.stx(WALK[event[PathEvent.id]], r1)
    a.ldx(r1, r0[FileId.named])
    a.jeq(r1, 0, send)
    for place, now in ((FileId.parent, Walk.parent), (FileId.name, Walk.name)):
        a.ldx(r1, r0[place])
        a.ldx(r2, WALK[now])
        a.jne(r1, r2, renamed)
    a.ja(done)
    a.label(renamed)
    a.st(WALK[event[PathEvent.kind]], EVENT_RENAMED)
    a.label(send)
    a.st(CALL[Call.walk], 1)
    a.label(done)


def _open_record(b: Body, *, renew: bool, full: str) -> None:
    """OPEN_FILE = that of FILE, whose id is on the stack; made if there is none."""
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
        end_runs(b)
        a.label(make)
    else:
        a.jne(r0, 0, have)
    fresh = b.fresh(OpenFile)
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
