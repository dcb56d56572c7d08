"""Offsets from images: held against what the C compiler says of its own structs."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pybpf.types import image
from pybpf.types.image import ImageError
from tests import needs

STRUCTS = """
#include <stddef.h>
#include <stdio.h>
typedef struct { unsigned long sequence; } seqlock;
struct path { void *mnt; void *dentry; };
struct qstr { union { struct { unsigned hash, len; }; unsigned long hash_len; }; const char *name; };
struct dentry;
struct file {
    union { int list; struct { char a, b; short c; }; };
    const struct path f_path; volatile seqlock lock; long long f_pos; int f_flags : 3, f_more : 7;
};
struct task_struct { struct { unsigned long flags; unsigned status; } thread_info; char comm[16]; struct file *file; };
struct dentry { struct dentry *d_parent; struct qstr d_name; int values[3][5]; union { char z; long y; } d_u; };
struct file file; struct task_struct task; struct dentry dentry;
int main(void) {
#define SHOW(s, m) printf("%s.%s %zu\\n", #s, #m, offsetof(struct s, m));
    SHOW(file, f_path) SHOW(file, f_path.mnt) SHOW(file, f_path.dentry) SHOW(file, c) SHOW(file, lock.sequence)
    SHOW(file, f_pos) SHOW(task_struct, thread_info.status) SHOW(task_struct, comm) SHOW(dentry, d_name.hash_len)
    SHOW(dentry, d_name.len) SHOW(dentry, d_name.name) SHOW(dentry, d_u.y) SHOW(dentry, values) SHOW(dentry, d_parent)
}
"""
SPOTS = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=40)
ABSENT = ["file.no_such", "no_such.f_pos", "file.f_pos.deeper", "task_struct.file.f_pos", "dentry.d_name.no_such"]


def build(directory: Path, *options: str) -> Path:
    source, target = directory / "structs.c", directory / "structs"
    source.write_text(STRUCTS)
    needs.output("gcc", "-O1", *options, "-o", target, source)
    return target


def compilers_answer(program: Path) -> Dict[str, int]:
    lines = subprocess.run([str(program)], stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
    return {member: int(offset) for member, offset in (line.split() for line in lines)}


@pytest.mark.parametrize("version", [2, 4, 5])
def test_dwarf(version: int, tmp_path: Path) -> None:
    pytest.importorskip("elftools", reason=needs.MISSING + "pyelftools")
    program = build(tmp_path, f"-gdwarf-{version}", "-gstrict-dwarf")
    expected = compilers_answer(program)
    assert len(expected) == 14
    assert image.members(str(program), [*expected, *ABSENT]) == expected


def test_relocations_that_a_linker_left_are_not_applied_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that can be moved has four million of them for its DWARF."""
    relocation = pytest.importorskip("elftools.elf.relocation", reason=needs.MISSING + "pyelftools")
    program = build(tmp_path, "-g", "-no-pie", "-Wl,--emit-relocs")
    assert ".rela.debug_info" in needs.output("readelf", "-SW", program)
    monkeypatch.setattr(relocation.RelocationHandler, "apply_section_relocations", None)
    expected = compilers_answer(program)
    assert image.members(str(program), expected) == expected


def test_btf_of_an_image(tmp_path: Path) -> None:
    """The kernel's own, put into an object: the same as bpftool reads from there."""
    vmlinux = needs.btf()
    program = build(tmp_path)
    needs.output("objcopy", f"--add-section=.BTF={vmlinux}", program)
    dump = needs.output("bpftool", "btf", "dump", "file", vmlinux)
    told = re.search(r"\[\d+\] STRUCT 'file' .*\n(?:\t.*\n)*?\t'f_pos' type_id=\d+ bits_offset=(\d+)", dump)
    assert told
    assert image.members(str(program), ["file.f_pos", *ABSENT]) == {"file.f_pos": int(told[1]) // 8}


def test_what_an_image_says_of_itself(tmp_path: Path) -> None:
    program = build(tmp_path, "-Wl,--build-id=0x1234abcd")
    assert image.build_id(str(program)) == bytes.fromhex("1234abcd")
    assert image.machine(str(program)) == os.uname().machine
    assert image.release(str(program)) is None
    with pytest.raises(ImageError, match="no debug information"):
        image.members(str(program), ["file.f_pos"])


def test_the_running_kernels_build_id() -> None:
    try:
        notes = Path("/sys/kernel/notes").read_bytes()
    except OSError:
        needs.impossible("the kernel shows no notes")
    found = image.running_build_id()
    assert found is not None
    assert b"GNU\0" + found in notes


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"#!/bin/sh\n" * 40, b"\x7fELF\x01\x01" + bytes(200)])
def test_what_is_no_image(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(content)
    with pytest.raises(ImageError):
        image.members(str(path), ["file.f_pos"])


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (str(tmp_path / "fifo"), "/dev/zero", str(tmp_path)):
        for ask in (image.build_id, image.release, image.machine):
            with pytest.raises(OSError, match="not a regular file"):
                ask(path)
        with pytest.raises(OSError, match="not a regular file"):
            image.members(path, ["file.f_pos"])


def elf(path: Path, sections: Dict[bytes, Tuple[int, int]], names: int = 0) -> str:
    """An image with these sections, as (offset, size), and names of at least so many bytes."""
    text = b"\0" + b"\0".join(sections) + b"\0"
    starts = [text.index(b"\0" + name + b"\0") + 1 for name in sections]
    table, size = 64, 64 * (len(sections) + 1)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, table, 0, 64, 0, 0, 64, len(sections) + 1, 0
    )
    rows = [struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, table + size, max(names, len(text)), 0, 0, 0, 0)]
    rows += [
        struct.pack("<IIQQQQIIQQ", start, 1, 0, 0, offset, length, 0, 0, 0, 0)
        for start, (offset, length) in zip(starts, sections.values())
    ]
    path.write_bytes(header + b"".join(rows) + text)
    os.truncate(path, 4 << 30)
    return str(path)


@pytest.mark.parametrize("name", [b".BTF", b".rodata", b".notes"])
def test_sections_of_gigabytes_are_not_read(name: bytes, tmp_path: Path) -> None:
    path = elf(tmp_path / "vmlinux", {name: (4096, 3 << 30)})
    asked: Dict[bytes, Callable[[str], object]] = {
        b".BTF": lambda path: image.members(path, ["file.f_pos"]),
        b".rodata": image.release,
        b".notes": image.build_id,
    }
    with pytest.raises(ImageError, match="a section of 3,221,225,472 bytes"):
        asked[name](path)


def test_names_of_gigabytes_are_not_read(tmp_path: Path) -> None:
    path = elf(tmp_path / "vmlinux", {b".BTF": (4096, 24)}, 3 << 30)
    with pytest.raises(ImageError, match="a section of 3,221,225,472 bytes"):
        image.machine(path)


def test_dwarf_that_never_ends_is_given_up(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spin(self: object, wanted: List[str]) -> Dict[str, int]:
        while True:
            pass

    monkeypatch.setattr(image, "_DWARF_SECONDS", 1)
    monkeypatch.setattr(image._Dwarf, "members", spin)
    with pytest.raises(ImageError, match="1 s are not enough to read it"):
        image.members(str(sound), ["file.f_pos"])


def test_dwarf_that_grows_without_end_is_given_up(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image._Dwarf, "members", lambda self, wanted: {"x": len(bytearray(1 << 30))})
    with pytest.raises(ImageError, match="MemoryError"):
        image.members(str(sound), ["file.f_pos"])


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("elftools", reason=needs.MISSING + "pyelftools")
    return build(tmp_path_factory.mktemp("sound"), "-g", "-c")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SPOTS, st.integers(1, 1 << 20))
def test_a_broken_image_is_one_error(sound: Path, tmp_path: Path, spots: List[Tuple[int, int]], cut: int) -> None:
    """Some bytes of it changed, or its end missing."""
    data = bytearray(sound.read_bytes())
    for position, value in spots:
        data[position % len(data)] = value
    path = tmp_path / "broken"
    path.write_bytes(data[: max(cut % (4 * len(data)), 64)])
    try:
        found = image.members(str(path), ["file.f_pos", "dentry.d_name.len"])
        image.build_id(str(path))
        image.release(str(path))
    except ImageError:
        return
    assert set(found) <= {"file.f_pos", "dentry.d_name.len"}
