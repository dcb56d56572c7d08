"""BTF that we write, read back by bpftool and by our own reader."""

from __future__ import annotations

import struct
from pathlib import Path

from asm import S32, U8, U16, U32, U64, Assembler, Layout, MapSpec, MapType, ProgramType, field, r1
from pybpf.types.btf import Btf
from pybpf.types.btf_build import FUNCTION_SIZE, LINE_SIZE, BtfWriter, program_info
from tests import needs


class Key(Layout):
    """Which file."""

    device = field(U32)
    generation = field(U32)
    inode = field(U64)


class Record(Layout):
    """All kinds of fields."""

    key = field(Key)
    counts = field(U64, 5)
    name = field(U8, 16)
    error = field(S32)
    kind = field(U16)
    small = field(U8)
    last = field(U8)
    keys = field(Key, 2)


def test_layouts_read_back() -> None:
    writer = BtfWriter()
    key, value = writer.map_types(MapSpec("m", MapType.HASH, U64, Record, 1))
    assert writer.data(Record) == value
    btf = Btf(writer.build())
    assert btf.type_id("int", "u64") == key
    assert btf.type_id("struct", "Record") == value
    found = btf.offsets(f"Record.{name}" for name in Record.fields)
    assert {name: (member.offset, member.size) for name, member in found.items()} == {
        f"Record.{each.name}": (each.offset, each.total) for each in Record.fields.values()
    }
    assert btf.offsets(["Record.key.inode"])["Record.key.inode"].offset == 8
    assert btf.offsets(["Record"])["Record"].size == Record.size


def test_bpftool_makes_c_of_it(tmp_path: Path) -> None:
    writer = BtfWriter()
    writer.data(Record)
    (tmp_path / "btf").write_bytes(writer.build())
    text = needs.output("bpftool", "btf", "dump", "file", tmp_path / "btf", "format", "raw")
    assert "STRUCT 'Record' size=112 vlen=8" in text
    assert "'name' type_id=" in text
    assert "INT 's32' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED" in text
    assert "INT 'char' size=1 bits_offset=0 nr_bits=8 encoding=CHAR" in text
    assert "nr_elems=16" in text


def test_lines_of_a_program() -> None:
    a = Assembler("a-name", kind=ProgramType.TRACEPOINT)
    a.ld_imm64(r1, 1 << 40, "wide")
    a.add(r1, 1, "caf\u00e9 \x07 note")
    a.ret(0)
    spec = a.program()
    info = program_info(spec)
    assert info.functions == struct.pack("<II", 0, Btf(info.btf).type_id("func", "a_name"))
    assert len(info.functions) == FUNCTION_SIZE
    lines = list(struct.iter_unpack("<IIII", info.lines))
    assert len(info.lines) == LINE_SIZE * len(lines)
    assert [line[0] for line in lines][:3] == [0, 2, 3]  # slots: the first instruction has two
    strings = info.btf[-struct.unpack_from("<I", info.btf, 20)[0] :]

    def text(offset: int) -> str:
        return strings[offset : strings.index(b"\0", offset)].decode()

    assert [text(line[2]) for line in lines[:2]] == ["wide", "caf    note"]
    assert text(lines[0][1]) == "types/test_btf_build.py"
    assert text(lines[2][2]).startswith("types/test_btf_build.py:")
    where = spec.instructions[0].where
    assert where is not None and lines[0][3] >> 10 == where[1]
