"""Reading `format` files: those of real kernels, and ones that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybpf.types.tracefs import TraceField, TracefsError, parse_format

OPEN = """name: sys_enter_openat
ID: 620
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;
\tfield:int dfd;\toffset:16;\tsize:8;\tsigned:0;
\tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;
\tfield:int flags;\toffset:32;\tsize:8;\tsigned:0;
\tfield:umode_t mode;\toffset:40;\tsize:8;\tsigned:0;

print fmt: "dfd: 0x%08lx, filename: 0x%08lx", ((unsigned long)(REC->dfd))
"""

RENAME = """name: task_rename
ID: 113
format:
\tfield:pid_t pid;\toffset:8;\tsize:4;\tsigned:1;
\tfield:char oldcomm[16];\toffset:12;\tsize:16;\tsigned:1;
\tfield:char newcomm[TASK_COMM_LEN];\toffset:28;\tsize:16;\tsigned:0;
\tfield:__data_loc char[] filename;\toffset:44;\tsize:4;\tsigned:1;
\tfield:__rel_loc char[] other;\toffset:48;\tsize:4;\tsigned:1;
\tfield:unsigned long args[6];\toffset:56;\tsize:48;\tsigned:0;

print fmt: "field:not a field"
"""


def test_system_call() -> None:
    read = parse_format(OPEN)
    assert (read.name, read.id) == ("sys_enter_openat", 620)
    assert read.fields["dfd"] == TraceField("dfd", "int", 16, 8, False)
    assert read.fields["filename"] == TraceField("filename", "const char *", 24, 8, False)
    assert read.fields["common_pid"] == TraceField("common_pid", "int", 4, 4, True)
    assert len(read.fields) == 9


def test_arrays_and_dynamic_fields() -> None:
    fields = parse_format(RENAME).fields
    assert fields["oldcomm"] == TraceField("oldcomm", "char", 12, 16, True, 16)
    assert fields["newcomm"] == TraceField("newcomm", "char", 28, 16, False)
    assert fields["filename"] == TraceField("filename", "__data_loc char[]", 44, 4, True, 1, True)
    assert fields["other"].dynamic
    assert fields["args"] == TraceField("args", "unsigned long", 56, 48, False, 6)


def test_broken() -> None:
    with pytest.raises(TracefsError, match="has no name or no ID"):
        parse_format("")
    with pytest.raises(TracefsError, match="has no name or no ID"):
        parse_format(OPEN.replace("ID: 620", "ID: many"))
    with pytest.raises(TracefsError, match="sys_enter_openat: cannot read the field"):
        parse_format(OPEN.replace("offset:16", "offset:x"))


@given(
    st.text() | st.lists(st.sampled_from([*OPEN.splitlines(), *RENAME.splitlines(), "field:;", "ID:"])).map("\n".join)
)
def test_anything_else_is_the_one_error(text: str) -> None:
    try:
        read = parse_format(text)
    except TracefsError:
        return
    assert read.name
    assert read.id >= 0
