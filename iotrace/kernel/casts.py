"""Whether programs may read the kernel's memory by plain loads, and the BTF ids that this takes."""

from __future__ import annotations

from contextlib import suppress
from typing import Dict

from asm import Assembler, ProgramType, r0, r1, r2
from programs.facts.kernel import CAST, TYPED, TYPED_OPTIONAL
from pybpf import features
from pybpf.programs import load
from pybpf.syscalls import BpfError
from pybpf.types.btf import Btf, MissingMember


def typed_reads(btf: Btf) -> Dict[str, int]:
    """The BTF ids of the cast and of the structs in TYPED; empty where a program that uses them is refused.

    A program is tried, because what a kernel's BTF names is not always what it lets a kind of program call.
    """
    if features.pretended() is not None:
        return {}
    try:
        types = {name: btf.type_id("struct", name) for name in TYPED}
        types[CAST] = btf.type_id("func", CAST)
    except MissingMember:
        return {}
    for name in TYPED_OPTIONAL:
        with suppress(MissingMember):
            types[name] = btf.type_id("struct", name)
    a = Assembler("cast_probe", kind=ProgramType.RAW_TRACEPOINT)
    a.mov(r1, 0)
    a.mov(r2, types["list_head"])
    a.call_kernel(CAST, types[CAST])
    a.ldx(r0, r0[0])
    a.ret(0)
    try:
        load(a.program(), {}, btf=False).close()
    except BpfError:
        return {}
    return types
