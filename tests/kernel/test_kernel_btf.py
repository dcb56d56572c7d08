"""Offsets read from the kernel's BTF against those that bpftool reads."""

from __future__ import annotations

import re
from typing import Dict, Tuple

import pytest

from pybpf.attributes import BpfProgInfo
from pybpf.types.btf import Btf, MissingMember
from tests import needs

_STRUCTS = [
    "file",
    "inode",
    "dentry",
    "task_struct",
    "super_block",
    "fdtable",
    "files_struct",
    "nsproxy",
    "vfsmount",
    "mount",
    "qstr",
    "path",
    "cred",
]


@pytest.fixture(scope="module")
def btf() -> Btf:
    needs.btf()
    return Btf.vmlinux()


@pytest.fixture(scope="module")
def dump() -> str:
    return needs.output("bpftool", "btf", "dump", "file", needs.btf(), "format", "raw")


def test_all_members_of_the_structs_that_matter(btf: Btf, dump: str) -> None:
    """Every named direct member lies where bpftool says, bit fields included."""
    compared = 0
    for struct_name in _STRUCTS:
        match = re.search(rf"^\[\d+\] STRUCT '{struct_name}' size=(\d+) vlen=\d+\n((?:\t.*\n)*)", dump, re.MULTILINE)
        assert match, struct_name
        members: Dict[str, Tuple[int, int]] = {
            found[1]: (int(found[2]), int(found[3] or 0))
            for found in re.finditer(r"\t'(\w+)' type_id=\d+ bits_offset=(\d+)(?: bitfield_size=(\d+))?", match[2])
        }
        found = btf.offsets(f"{struct_name}.{name}" for name in members)
        for name, (bit_offset, bits) in members.items():
            member = found[f"{struct_name}.{name}"]
            assert member.offset * 8 + member.shift == bit_offset, (struct_name, name)
            assert member.bits == bits
            assert member.offset + member.size <= int(match[1])
            compared += 1
        assert btf.offsets([struct_name])[struct_name].size == int(match[1])
    assert compared > 200


def test_paths_through_nested_types(btf: Btf) -> None:
    """A member of a member lies at the sum of both, whether or not there is a name in between."""
    found = btf.offsets(
        [
            "file.f_path",
            "path.dentry",
            "file.f_path.dentry",
            "mnt_namespace.ns",
            "ns_common.inum",
            "mnt_namespace.ns.inum",
        ]
    )
    assert found["file.f_path.dentry"].offset == found["file.f_path"].offset + found["path.dentry"].offset
    assert found["mnt_namespace.ns.inum"].offset == found["mnt_namespace.ns"].offset + found["ns_common.inum"].offset
    assert found["mnt_namespace.ns.inum"].size == 4
    sizes = btf.offsets(["task_struct.comm", "dentry.d_name.name", "inode.i_mode", "dentry.d_name.len"])
    assert [member.size for member in sizes.values()] == [16, 8, 2, 4]


def test_type_ids(btf: Btf, dump: str) -> None:
    for kind, name in (
        ("struct", "pt_regs"),
        ("func", "vfs_read"),
        ("typedef", "u64"),
        ("struct", "file"),
        ("int", "int"),
    ):
        match = re.search(rf"^\[(\d+)\] {kind.upper()} '{name}' ", dump, re.MULTILINE)
        assert match
        assert btf.type_id(kind, name) == int(match[1])
    assert btf.functions(["vfs_read", "no_such_function"]) == {"vfs_read": btf.type_id("func", "vfs_read")}
    assert len(btf) == 1 + len(re.findall(r"^\[\d+\] ", dump, re.MULTILINE))


def test_missing_members_are_named(btf: Btf) -> None:
    with pytest.raises(MissingMember, match=r"the kernel has no file\.no_such_member"):
        btf.offsets(["file.no_such_member"])
    with pytest.raises(KeyError, match=r"no_such_struct\.x"):
        btf.offsets(["no_such_struct.x"])
    assert list(btf.offsets(["file.f_pos"], optional=["file.no_such_member", "file.f_flags"])) == [
        "file.f_pos",
        "file.f_flags",
    ]
    with pytest.raises(MissingMember, match="func no_such_function"):
        btf.type_id("func", "no_such_function")


def test_what_the_kernel_says_of_programs_lies_where_we_read_it(btf: Btf) -> None:
    """Every field of `struct bpf_prog_info` but our padding."""
    fields = [name for name, *_ in BpfProgInfo._fields_ if name != "pad"]
    found = btf.offsets(f"bpf_prog_info.{name}" for name in fields)
    for name in fields:
        ours, theirs = getattr(BpfProgInfo, name), found[f"bpf_prog_info.{name}"]
        assert (ours.offset, ours.size) == (theirs.offset, theirs.size), name
    assert len(fields) > 30
