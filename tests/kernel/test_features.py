"""Probes against bpftool's, and against the kernels that brought what they look for."""

from __future__ import annotations

import os
import re
from typing import Any, Callable, Dict

import pytest

from asm import MapType, ProgramType
from asm.requirements import HELPERS, MAP_TYPES
from pybpf import features
from pybpf.features import FEATURES, State
from tests import needs


@pytest.fixture(scope="module")
def bpftool() -> Dict[str, Any]:
    return dict(needs.bpftool("feature", "probe", "kernel"))


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_conclusive_and_not_older_than_stated(name: str) -> None:
    """A kernel of at least the stated version must have it, but for what its configuration or lockdown takes away."""
    feature = FEATURES[name]
    assert feature.state is not State.UNKNOWN, feature.error
    major, minor = (int(number) for number in re.findall(r"\d+", os.uname().release)[:2])
    configured = FEATURES["kernel_btf"].supported() or name not in (
        "uring_requests",
        "atomic_allocation",
        "typed_reads",
    )
    if (major, minor) >= feature.since and configured and name not in ("fentry", "kernel_btf", "memcg"):
        assert feature.supported()


def test_map_types_as_bpftool_sees_them(bpftool: Dict[str, Any]) -> None:
    compared = 0
    for kind in MapType:
        key = f"have_{kind.name.lower()}_map_type"
        try:
            feature = features.map_type(kind)
        except ValueError:
            continue
        if key in bpftool["map_types"]:
            assert feature.supported() == bpftool["map_types"][key], kind
            compared += 1
    assert compared >= 12


def test_program_types_as_bpftool_sees_them(bpftool: Dict[str, Any]) -> None:
    for kind in (ProgramType.SOCKET_FILTER, ProgramType.KPROBE, ProgramType.TRACEPOINT, ProgramType.RAW_TRACEPOINT):
        assert (
            features.program_type(kind).supported() == bpftool["program_types"][f"have_{kind.name.lower()}_prog_type"]
        )


def test_helpers_of_a_tracepoint() -> None:
    """As bpf_tracing_func_proto (kernel/trace/bpf_trace.c) has them: none that is for packets, sockets or cgroups."""
    ours = {name for name in HELPERS if features.helper(ProgramType.TRACEPOINT, name).supported()}
    assert ours >= {
        "map_lookup_elem",
        "map_update_elem",
        "map_delete_elem",
        "ktime_get_ns",
        "tail_call",
        "get_current_pid_tgid",
        "get_current_task",
        "get_current_comm",
        "probe_read_str",
        "perf_event_output",
        "get_smp_processor_id",
        "get_stackid",
    }
    packets = re.compile("skb_|xdp_|sk_|skc_|msg_|lwt_|sysctl_|sock_|l3_|l4_|tcp_|rc_|fib_|redirect|set_hash|bind$")
    assert not [name for name in ours if packets.match(name)]


def test_pretending_to_be_old(as_old_as: Callable[[int, int], None]) -> None:
    before = features.map_type(MapType.RINGBUF).state
    as_old_as(4, 14)
    for feature in FEATURES.values():
        assert feature.state is State.NOT_SUPPORTED, feature
    assert features.pretended() == (4, 14)
    assert features.map_type(MapType.RINGBUF).state is State.NOT_SUPPORTED
    assert features.map_type(MapType.LRU_HASH).supported()
    assert features.helper(ProgramType.TRACEPOINT, "probe_read_str").supported()
    assert not features.helper(ProgramType.TRACEPOINT, "probe_read_kernel").supported()
    as_old_as(*MAP_TYPES[MapType.RINGBUF])
    assert features.map_type(MapType.RINGBUF).state is before


def test_lockdown() -> None:
    assert features.lockdown() in (None, "none", "integrity", "confidentiality")
