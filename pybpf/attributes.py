"""What bpf(2) and perf_event_open(2) are given: a structure for each command, with explicit padding.

They are `union bpf_attr` of include/uapi/linux/bpf.h as far as each command uses it, and `struct perf_event_attr` of
include/uapi/linux/perf_event.h. All integers are of the machine's byte order, which is little-endian on every machine
that is supported. A kernel refuses non-zero bytes beyond the attributes that it knows (E2BIG) and takes anything
shorter as followed by zeros: the comments name the first kernel that knows a field, where that is not the oldest one.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_uint8, c_uint32, c_uint64

__all__ = [
    "BpfProgInfo",
    "BtfLoadAttr",
    "EnableStatsAttr",
    "IdAttr",
    "InfoAttr",
    "MapBatchAttr",
    "MapCreateAttr",
    "MapElementAttr",
    "PerfEventAttr",
    "ProgramLoadAttr",
    "RawTracepointAttr",
    "TestRunAttr",
    "kernel_name",
]


def kernel_name(name: str) -> bytes:
    """`name` as the kernel takes it for maps and programs: 15 characters of letters, digits and underscores."""
    legal = (character if character.isascii() and character.isalnum() else "_" for character in name[:15])
    return "".join(legal).encode()


class MapCreateAttr(ctypes.Structure):
    _fields_ = [
        ("map_type", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("inner_map_fd", c_uint32),  # 4.12
        ("numa_node", c_uint32),  # 4.14
        ("map_name", c_char * 16),  # 4.15
        ("map_ifindex", c_uint32),
        ("btf_fd", c_uint32),  # 4.18
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
    ]


class MapElementAttr(ctypes.Structure):
    """MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_DELETE_ELEM; for MAP_GET_NEXT_KEY `value` is the next key."""

    _fields_ = [
        ("map_fd", c_uint32),
        ("pad", c_uint32),
        ("key", c_uint64),
        ("value", c_uint64),
        ("flags", c_uint64),
    ]


class MapBatchAttr(ctypes.Structure):
    _fields_ = [
        ("in_batch", c_uint64),
        ("out_batch", c_uint64),
        ("keys", c_uint64),
        ("values", c_uint64),
        ("count", c_uint32),  # in: room for so many; out: so many were copied
        ("map_fd", c_uint32),
        ("elem_flags", c_uint64),
        ("flags", c_uint64),
    ]


class ProgramLoadAttr(ctypes.Structure):
    _fields_ = [
        ("prog_type", c_uint32),
        ("insn_cnt", c_uint32),
        ("insns", c_uint64),
        ("license", c_uint64),
        ("log_level", c_uint32),
        ("log_size", c_uint32),
        ("log_buf", c_uint64),
        ("kern_version", c_uint32),
        ("prog_flags", c_uint32),
        ("prog_name", c_char * 16),  # 4.15
        ("prog_ifindex", c_uint32),
        ("expected_attach_type", c_uint32),  # 4.17
        ("prog_btf_fd", c_uint32),  # 5.0, to line_info_cnt
        ("func_info_rec_size", c_uint32),
        ("func_info", c_uint64),
        ("func_info_cnt", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("line_info", c_uint64),
        ("line_info_cnt", c_uint32),
        ("attach_btf_id", c_uint32),  # 5.5
    ]


class InfoAttr(ctypes.Structure):
    """OBJ_GET_INFO_BY_FD."""

    _fields_ = [("bpf_fd", c_uint32), ("info_len", c_uint32), ("info", c_uint64)]


class IdAttr(ctypes.Structure):
    """PROG_GET_NEXT_ID, where `id` is the one before, and PROG_GET_FD_BY_ID (both 4.13)."""

    _fields_ = [("id", c_uint32), ("next_id", c_uint32), ("open_flags", c_uint32), ("pad", c_uint32)]


class TestRunAttr(ctypes.Structure):
    """PROG_TEST_RUN."""

    _fields_ = [
        ("prog_fd", c_uint32),
        ("retval", c_uint32),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("data_in", c_uint64),
        ("data_out", c_uint64),
        ("repeat", c_uint32),
        ("duration", c_uint32),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("ctx_in", c_uint64),
        ("ctx_out", c_uint64),
    ]


class RawTracepointAttr(ctypes.Structure):
    _fields_ = [("name", c_uint64), ("prog_fd", c_uint32), ("pad", c_uint32)]


class BtfLoadAttr(ctypes.Structure):
    _fields_ = [
        ("btf", c_uint64),
        ("btf_log_buf", c_uint64),
        ("btf_size", c_uint32),
        ("btf_log_size", c_uint32),
        ("btf_log_level", c_uint32),
        ("pad", c_uint32),
    ]


class EnableStatsAttr(ctypes.Structure):
    _fields_ = [("type", c_uint32)]


class PerfEventAttr(ctypes.Structure):
    """`struct perf_event_attr` as far as PERF_ATTR_SIZE_VER0 (64 bytes), which every kernel takes."""

    _fields_ = [
        ("type", c_uint32),
        ("size", c_uint32),
        ("config", c_uint64),
        ("sample_period", c_uint64),
        ("sample_type", c_uint64),
        ("read_format", c_uint64),
        ("flags", c_uint64),
        ("wakeup_events", c_uint32),
        ("bp_type", c_uint32),
        ("config1", c_uint64),
    ]


class BpfProgInfo(ctypes.Structure):
    """`struct bpf_prog_info` (4.13, longer since); the kernel fills as much as it knows, the rest stays 0."""

    _fields_ = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", c_uint8 * 8),
        ("jited_prog_len", c_uint32),
        ("xlated_prog_len", c_uint32),
        ("jited_prog_insns", c_uint64),
        ("xlated_prog_insns", c_uint64),
        ("load_time", c_uint64),
        ("created_by_uid", c_uint32),
        ("nr_map_ids", c_uint32),
        ("map_ids", c_uint64),
        ("name", c_char * 16),
        ("ifindex", c_uint32),
        ("gpl_compatible", c_uint32),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("nr_jited_ksyms", c_uint32),
        ("nr_jited_func_lens", c_uint32),
        ("jited_ksyms", c_uint64),
        ("jited_func_lens", c_uint64),
        ("btf_id", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("func_info", c_uint64),
        ("nr_func_info", c_uint32),
        ("nr_line_info", c_uint32),
        ("line_info", c_uint64),
        ("jited_line_info", c_uint64),
        ("nr_jited_line_info", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("jited_line_info_rec_size", c_uint32),
        ("nr_prog_tags", c_uint32),
        ("prog_tags", c_uint64),
        ("run_time_ns", c_uint64),  # 5.1
        ("run_cnt", c_uint64),
        ("recursion_misses", c_uint64),  # 5.12
        ("verified_insns", c_uint32),  # 5.16
        ("pad", c_uint32),
    ]
