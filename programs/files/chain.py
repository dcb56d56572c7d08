"""The chain of names above a file, as one number: what changes when the file's path does.

A path changes when its file is renamed, when a directory above it is, and when a mount on the way is moved; whoever
does that need not be traced. So nobody is asked to tell: at each open the way from the dentry to the root of the mount
namespace is followed, as for a path (`programs.files.path`), but of each name only its hash and length are read
(`d_name.hash_len`), which cover the directory as well: the kernel salts the hash of a name with its directory's
address (8387ff2577eb, "vfs: make the string hashes salt the hash", 4.8).
"""

from __future__ import annotations

from asm import U64, Layout, Mem, Slot, field, r1, r2
from programs.way.body import Body
from programs.way.registers import CLIMB

LEVELS = 4096  # in a loop: no path has more names than bytes, but mounts may be stacked
FEW_LEVELS = 16  # in straight code: of a directory further up it is not noticed that it was renamed
MULTIPLIER = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio: spreads the bits of what it multiplies


class Climb(Layout):
    """Where the way up stands."""

    dentry = field(U64)  # struct dentry *
    mount = field(U64)  # struct mount *
    chain = field(U64)


def climb(b: Body) -> Slot:
    """The slot that `chain` works in: its `dentry` and `mount` say where the way begins.

    Where records are made on the stack there is no room for it but in the place of those, unless the program has one.
    """
    own = any(slot.name == "climb" for slot in b.a.stack)
    return b.a.slot("climb", Climb) if own or b.kernel.big_values else b.overlay("climb", Climb)


def chain(b: Body) -> None:
    """`climb(b)[Climb.chain]` = the number for the file that `climb(b)` begins at. Clobbers r0 to r5."""
    a, state, end = b.a, climb(b), b.a.unique("climbed")
    a.st(state[Climb.chain], 0)
    if b.kernel.loops:
        b.loop(LEVELS, "climb", lambda: _round(b), state)
        return
    for _ in range(FEW_LEVELS):
        following = a.unique("climb_on")
        _level(b, state[Climb.dentry], state[Climb.mount], state[Climb.chain], end)
        a.label(following)
    a.label(end)


def _round(b: Body) -> None:
    """A level in a loop: returns 1 where the way ends."""
    a = b.a
    a.mov(CLIMB, r2)
    _level(b, CLIMB[Climb.dentry], CLIMB[Climb.mount], CLIMB[Climb.chain], "top")
    a.ret(0)
    a.label("top")
    a.ret(1)


def _level(b: Body, dentry: Mem, mount: Mem, number: Mem, end: str) -> None:
    """One step up: out of a mount at its root, or over one name; a jump to `end` at the top. Clobbers r0 to r5."""
    a, o = b.a, b.kernel.offsets
    inside, done = a.unique("climb_inside"), a.unique("climb_done")
    a.ldx(r1, mount)
    b.load(r1, r1, o["mount.mnt"] + o["vfsmount.root"], of="mount")
    a.ldx(r2, dentry)
    a.jne(r1, r2, inside)
    a.ldx(r1, mount)
    b.load(r1, r1, o["mount.mountpoint"], of="mount")
    a.stx(dentry, r1, "go on where this is mounted")
    a.ldx(r1, mount)
    b.load(r1, r1, o["mount.parent"], of="mount")
    a.ldx(r2, mount)
    a.stx(mount, r1)
    a.jeq(r1, r2, end, "the mount that all others are on")
    a.ja(done)
    a.label(inside)
    a.ldx(r1, dentry)
    b.load(r1, r1, o["dentry.hash_len"], of="dentry")
    a.ldx(r2, number)
    a.xor(r2, r1)
    a.ld_imm64(r1, MULTIPLIER)
    a.mul(r2, r1)
    a.mov(r1, r2)
    a.rsh(r1, 32)
    a.xor(r2, r1)
    a.stx(number, r2)
    a.ldx(r1, dentry)
    b.load(r1, r1, o["dentry.parent"], of="dentry")
    a.ldx(r2, dentry)
    a.stx(dentry, r1)
    a.jeq(r1, r2, end, "not connected to anything")
    a.label(done)
