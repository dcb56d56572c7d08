"""Whether programs may loop by bpf_loop, found by loading one that does."""

from __future__ import annotations

from asm import U32, Assembler, MapSpec, MapType, ProgramType, r0, r1, r2, r3, r4, r6
from pybpf import features
from pybpf.maps import create
from pybpf.programs import load
from pybpf.syscalls import BpfError

SINCE = (5, 17)  # e6f2dd0f8067 ("bpf: Add bpf_loop helper")


def has_loops() -> bool:
    """Whether a program may have a callback for bpf_loop and make tail calls as well, which not every kernel with that
    helper allows: aarch64 compiles the two together from 6.0 on (d4609a5d8c70)."""
    pretended = features.pretended()
    if pretended is not None and pretended < SINCE:
        return False
    table = MapSpec("jumps", MapType.PROG_ARRAY, U32, U32, 1)
    a = Assembler("loop_probe", kind=ProgramType.RAW_TRACEPOINT)
    a.mov(r6, r1)
    a.mov(r1, 1)
    a.ld_function(r2, "callback")
    a.mov(r3, 0)
    a.mov(r4, 0)
    a.call("loop")
    a.tail_call(r6, table, 0)
    a.ret(0)
    a.function("callback", 2)
    a.mov(r0, 1)
    a.exit()
    try:
        with create(table) as jumps:
            load(a.program(), {"jumps": jumps}).close()
    except BpfError:
        return False
    return True
