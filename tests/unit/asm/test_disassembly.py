"""Programs in the verifier's notation."""

from __future__ import annotations

from asm import U32, U64, Assembler, MapSpec, MapType, ProgramSpec, ProgramType, dis, r1, r2, r6

FIRST = MapSpec("first", MapType.HASH, U64, U64, 16)
SECOND = MapSpec("second", MapType.ARRAY, U32, U64, 1)


def sample() -> ProgramSpec:
    a = Assembler("sample", ProgramType.TRACEPOINT)
    a.ldx(r6, r1[8], "the argument")
    a.ld_map(r1, SECOND)
    a.ld_map_value(r2, SECOND, 4)
    a.ld_map(r1, FIRST)
    a.jslt(r6, 0, "failed", "an error")
    a.mov32(r6, 1)
    a.label("failed")
    a.ret(0)
    return a.program()


def test_it_reads_like_the_verifier() -> None:
    assert (
        dis(sample().instructions)
        == """\
   0: (79) r6 = *(u64 *)(r1 +8)             ; the argument
   1: (18) r1 = map[second]
   3: (18) r2 = map[second][0]+4
   5: (18) r1 = map[first]
   7: (c5) if r6 s< 0x0 goto pc+1           ; an error
   8: (b4) w6 = 1
failed:
   9: (b7) r0 = 0
  10: (95) exit
"""
    )


def test_notes_and_lines_can_be_left_out_or_added() -> None:
    assert ";" not in dis(sample().instructions, notes=False)
    lines = dis(sample().instructions, where=True).splitlines()
    assert "; the argument   asm/test_disassembly.py:" in lines[0]
    assert "; asm/test_disassembly.py:" in lines[-1]
