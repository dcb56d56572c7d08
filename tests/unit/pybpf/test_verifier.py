"""What is said of a program that the verifier refused."""

from __future__ import annotations

import errno
from typing import List

from asm import Assembler, ProgramSpec, ProgramType, r1
from pybpf.types.binary import binary
from pybpf.verifier import VerifierError, excerpt

STATISTICS = "processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0"


def program() -> ProgramSpec:
    a = Assembler("p", kind=ProgramType.TRACEPOINT)
    a.mov(r1, 0, "zero it")
    a.mov(r1, 1)
    a.ret(0)
    return a.program()


def places(spec: ProgramSpec) -> List[str]:
    wheres = [instruction.where or ("", 0) for instruction in spec.instructions]
    return [f"{file}:{line}" for file, line in wheres]


def refused(*log: str, complete: bool = True) -> str:
    return str(VerifierError(errno.EACCES, binary(program()), "\n".join([*log, STATISTICS, "\0"]), complete=complete))


def test_excerpt_of_a_log() -> None:
    spec = program()
    log = "\n".join(
        [
            *["padding"] * 30,
            "0: (b7) r1 = 0                        ; R1_w=0",
            "1: (b7) r1 = 1",
            "77: (b7) r9 = 1",
            "R9 !read_ok",
            "",
            STATISTICS,
            "\0",
        ]
    )
    lines = excerpt(binary(spec), log).splitlines()
    assert lines[0] == "  (22 lines omitted)"
    assert lines[-1] == "  R9 !read_ok"
    assert lines[-2] == "  77: (b7) r9 = 1"  # not one of ours
    assert lines[-3].split() == ["1:", "(b7)", "r1", "=", "1", places(spec)[1]]
    assert f"; zero it   {places(spec)[0]}  [R1_w=0]" in lines[-4]
    assert excerpt(binary(spec), "") == ""
    error = VerifierError(errno.EACCES, binary(spec), log)
    assert error.excerpt().splitlines() == lines
    assert error.excerpt(1).splitlines() == ["  (33 lines omitted)", "  R9 !read_ok"]
    assert error.log == log


def test_the_text_is_one_line() -> None:
    """Why, at which instruction, where that is in the source, and how much was left out."""
    first, *_ = places(program())
    cause = "program p: BPF_PROG_LOAD: Permission denied (EACCES): "
    zero = "0: (b7) r1 = 0                        ; R1_w=0"
    assert refused(*["from 3 to 7: R0=inv"] * 5, zero, "R1 !read_ok") == (
        f"{cause}R1 !read_ok, at `0: (b7) r1 = 0`, zero it, {first} (5 lines omitted)"
    )
    assert refused(zero, "R1 !read_ok") == f"{cause}R1 !read_ok, at `0: (b7) r1 = 0`, zero it, {first}"
    assert refused("something", zero) == f"{cause}`0: (b7) r1 = 0`, zero it, {first} (1 line omitted)"
    assert refused("back-edge from insn 7 to 3") == f"{cause}back-edge from insn 7 to 3"
    assert refused("77: (b7) r9 = 1", "", "BPF program is too large. Processed 131073 insn") == (
        f"{cause}BPF program is too large. Processed 131073 insn, at `77: (b7) r9 = 1`"
    )
    assert refused() == cause[:-2]


def test_a_log_without_its_end_does_not_name_a_cause() -> None:
    text = refused("0: (b7) r1 = 0", "1: (b7) r1 = 1", complete=False)
    assert text.endswith("EACCES): the verifier's log, of 2 lines and more, ends before the cause")
