"""Calls that make files durable, or change them, and are in no file's counters: they are counted as such.

Which files sync(2) and its kin cover, and which bytes were cloned or allocated, is not followed. Who reads what stands
as not synced, or as written, must know that there were such calls.
"""

from __future__ import annotations

from asm import ProgramSpec, r1
from programs.facts.catalogue import Beside
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import Lost, Signature
from programs.way.body import low
from programs.way.exit import begin_exit
from programs.way.registers import RESULT

MS_SYNC = 4  # include/uapi/asm-generic/mman-common.h
CLONING = (0x40049409, 0x4020940D)
"""FICLONE and FICLONERANGE of include/uapi/linux/fs.h. FIDEDUPERANGE leaves the contents of files as they are."""


def exit_beside(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of such a call: counts it, if it succeeded."""
    b = begin_exit("exit_beside", kernel, options, maps)
    a = b.a
    a.jslt(RESULT, 0, "out")
    b.signature(r1, Signature.position)
    for what in Beside:
        a.jeq(r1, what, what.name)
    a.ja("out")
    for what in Beside:
        a.label(what.name)
        if what is Beside.MSYNC:
            a.ldx(r1, b.argument(2))
            a.and_(r1, MS_SYNC)
            a.jeq(r1, 0, "out", "MS_ASYNC promises nothing")
        if what is Beside.CLONE:
            a.ldx(r1, low(b.argument(1)))
            for number in CLONING:
                a.jeq(r1, number, "cloned")
            a.ja("out")
            a.label("cloned")
        b.lost(getattr(Lost, what.name.lower()))
        a.ja("out")
    a.label("out")
    a.ret(0)
    return b.program()
