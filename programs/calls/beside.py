"""Calls that make files durable, or change them, and are in no file's counters: they are counted as such.

Which files sync(2) and its kin cover, and which bytes were cloned or allocated, is not followed. Who reads what stands
as not synced, or as written, must know that there were such calls. So with core files, which the kernel writes by
itself.
"""

from __future__ import annotations

import signal

from asm import U64, ProgramSpec, r0, r1, r3
from programs.facts.catalogue import Beside
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import Lost, Signature
from programs.way.admit import only_targets
from programs.way.body import begin, low
from programs.way.exit import begin_exit
from programs.way.registers import CTX, RESULT

MS_SYNC = 4  # include/uapi/asm-generic/mman-common.h
CLONING = (0x40049409, 0x4020940D)
"""FICLONE and FICLONERANGE of include/uapi/linux/fs.h. FIDEDUPERANGE leaves the contents of files as they are."""


CORE = ("SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGSEGV", "SIGXCPU", "SIGXFSZ", "SIGSYS")
"""signal(7): by default they end a process with a core dump. Their numbers are the same on all our machines."""


def core_dump(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """signal/signal_deliver (int sig, struct kernel_siginfo *info, struct k_sigaction *ka): counts signals that dump
    the core of a target. Whether a file is written is decided later, by RLIMIT_CORE and core_pattern."""
    b = begin("core_dump", kernel, options, maps, task=True)
    a, handler = b.a, b.a.slot("handler", U64)
    a.ldx(r1, CTX[0] if b.raw else CTX.u32(kernel.fields["signal_deliver.sig"]), "the signal")
    for name in CORE:
        a.jeq(r1, signal.Signals[name], "core")
    a.ja("out")
    a.label("core")
    if b.raw:
        a.ldx(r3, CTX[16], "its action, which begins with the handler")
        b.probe(handler, 8, r3, 0)
    else:
        a.ldx(r1, CTX.u64(kernel.fields["signal_deliver.sa_handler"]))
        a.stx(handler, r1)
    a.ldx(r1, handler)
    a.jne(r1, 0, "out", "not SIG_DFL")
    a.call("get_current_pid_tgid")
    a.mov(r1, r0)
    a.rsh(r1, 32, "tgid")
    only_targets(b, r1, "out")
    b.lost(Lost.cores)
    a.label("out")
    a.ret(0)
    return b.program()


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
