"""What the kernel is given lies where it looks for it."""

from __future__ import annotations

import ctypes

from pybpf import attributes
from pybpf.attributes import MapCreateAttr, ProgramLoadAttr, kernel_name


def test_attributes_lie_where_the_kernel_has_them() -> None:
    """Offsets of `union bpf_attr` and `struct perf_event_attr`, from the header."""
    expected = {
        (MapCreateAttr, "map_name"): 28,
        (MapCreateAttr, "btf_fd"): 48,
        (MapCreateAttr, "btf_value_type_id"): 56,
        (ProgramLoadAttr, "log_buf"): 32,
        (ProgramLoadAttr, "prog_name"): 48,
        (ProgramLoadAttr, "expected_attach_type"): 68,
        (ProgramLoadAttr, "func_info"): 80,
        (ProgramLoadAttr, "line_info_cnt"): 104,
        (ProgramLoadAttr, "attach_btf_id"): 108,
        (attributes.MapBatchAttr, "count"): 32,
        (attributes.MapBatchAttr, "flags"): 48,
        (attributes.BtfLoadAttr, "btf_log_level"): 24,
        (attributes.PerfEventAttr, "wakeup_events"): 48,
    }
    for (attr, name), offset in expected.items():
        assert getattr(attr, name).offset == offset, (attr, name)
    assert ctypes.sizeof(attributes.PerfEventAttr) == 64


def test_names_for_the_kernel() -> None:
    assert kernel_name("totals") == b"totals"
    assert kernel_name("a-rather.long name") == b"a_rather_long_n"
    assert kernel_name("gr\u00f6\u00dfe") == b"gr__e"
