"""Whether an open has created its file, which is then another one than any that had the name before.

The kernel says so since 4.19. Before, it is asked of what the caller wanted and of what is known of the file.
"""

from __future__ import annotations

from asm import U64, r0, r1
from programs.facts.catalogue import Flags
from programs.facts.records import BORN_PERHAPS, FILE_DELETED, ID_BORN, Call, FileId, FileState
from programs.way.body import Body, low
from programs.way.registers import CALL, FILE, SIGNATURE

FMODE_CREATED = 0x100000  # include/linux/fs.h
O_CREAT, O_EXCL, O_TRUNC = 0o100, 0o200, 0o1000  # include/uapi/asm-generic/fcntl.h


def asked_to_create(b: Body) -> None:
    """Call.born = O_CREAT, O_EXCL and O_TRUNC as the caller gave them; SIGNATURE says where.

    openat2, which has them in memory, is newer than the kernels that this is for.
    """
    a, have = b.a, b.a.unique("have_flags")
    a.rsh(SIGNATURE, 8)
    a.and_(SIGNATURE, 0xFF, "where the flags are")
    a.mov(r1, 0)
    for nowhere in (Flags.NOWHERE, Flags.HANDLE):
        a.jeq(SIGNATURE, nowhere, have)
    a.mov(r1, O_CREAT | O_TRUNC)
    a.jeq(SIGNATURE, Flags.CREAT, have)
    for place, argument in ((Flags.SECOND, 1), (Flags.THIRD, 2)):
        other = a.unique("other_argument")
        a.jne(SIGNATURE, place, other)
        a.ldx(r1, low(b.argument(argument)))
        a.label(other)
    a.and_(r1, O_CREAT | O_EXCL | O_TRUNC)
    a.label(have)
    a.stx(CALL[Call.born], r1)


def was_created(b: Body) -> None:
    """Call.born = ID_BORN if the open of the file in FILE has created it, else 0.

    The kernel says so since 4.19 (73a09dd94377, "introduce FMODE_CREATED and switch to it"). Before, O_EXCL does; and
    a file that was to be created if need be, and is empty, may have been: BORN_PERHAPS, with which `if_made_again`
    looks at what is known of the file of that name.
    """
    a, none, born, done = b.a, b.a.unique("not_created"), b.a.unique("created"), b.a.unique("asked")
    if b.kernel.shows_created:
        b.load(r1, FILE, b.kernel.offsets["file.mode"], size=4, of="file")
        a.jset(r1, FMODE_CREATED, born)
    else:
        a.ldx(r1, CALL[Call.born])
        a.jset(r1, O_EXCL, born)
        a.and_(r1, O_CREAT)
        a.jeq(r1, 0, none)
        b.load(r1, FILE, b.kernel.offsets["file.inode"], of="file")
        b.load(r1, r1, b.kernel.offsets["inode.size"], of="inode")
        a.jne(r1, 0, none)
        a.ldx(r1, CALL[Call.born])
        a.and_(r1, O_TRUNC)
        a.or_(r1, ID_BORN | BORN_PERHAPS)
        a.stx(CALL[Call.born], r1)
        a.ja(done)
    a.label(none)
    a.st(CALL[Call.born], 0)
    a.ja(done)
    a.label(born)
    a.st(CALL[Call.born], ID_BORN)
    a.label(done)


def if_made_again(b: Body, other: str, make: str, have: str) -> None:
    """Jumps to `other` if the empty file that an open may have created is not the one that r0, its FileId, is about.

    It is another if that one has lost its name, or was written to and nobody has cut it off by opening it now. Else a
    jump to `have` with r0 as it was, or to `make` if it is gone.
    """
    a, file_id = b.a, b.a.slot("id", U64)
    perhaps, same = b.a.unique("perhaps_created"), b.a.unique("same_file")
    a.ldx(r1, CALL[Call.born])
    a.jset(r1, BORN_PERHAPS, perhaps)
    a.ja(other)
    a.label(perhaps)
    a.ldx(r1, r0[FileId.id])
    a.stx(file_id, r1)
    a.lookup(b.maps.states, file_id)
    a.jeq(r0, 0, other)
    a.ldx(r1, r0[FileState.flags])
    a.jset(r1, FILE_DELETED, other)
    a.ldx(r1, CALL[Call.born])
    a.jset(r1, O_TRUNC, same)
    a.ldx(r1, r0[FileState.last_write])
    a.jne(r1, 0, other)
    a.label(same)
    a.lookup(b.maps.files, b.file_key())
    a.jeq(r0, 0, make)
    a.ja(have)
