"""What probes make of a kernel's answers, without a kernel."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Dict, List

import pytest

from asm import MapType, ProgramType, decode
from pybpf import features, syscalls
from pybpf.attributes import ProgramLoadAttr
from pybpf.features import FEATURES, Feature, State, kinds
from pybpf.syscalls import Command

NEWEST_OF_4_14 = 15  # BPF_OBJ_GET_INFO_BY_FD: include/uapi/linux/bpf.h of that release


@pytest.fixture(autouse=True)
def asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what is known of the running kernel, for the time of a test."""
    for feature in FEATURES.values():
        monkeypatch.setattr(feature, "_answer", None)


def answer(monkeypatch: pytest.MonkeyPatch, errors: Dict[int, int]) -> List[int]:
    """A kernel that answers these errors to commands, and grants all others; the list grows by what is asked."""
    asked: List[int] = []

    def syscall(_number: int, command: int, *_arguments: int) -> int:
        asked.append(command)
        if command in errors:
            ctypes.set_errno(errors[command])
            return -1
        return os.open(os.devnull, os.O_RDONLY)

    monkeypatch.setattr(syscalls._libc, "syscall", syscall)
    return asked


NEW_COMMANDS = ["raw_tracepoints", "btf", "line_info", "batch", "stats", "loops"]


@pytest.mark.parametrize("feature", [*(FEATURES[name] for name in NEW_COMMANDS), kinds.map_type(MapType.TASK_STORAGE)])
def test_4_14_refuses_commands_that_it_does_not_know(feature: Feature, monkeypatch: pytest.MonkeyPatch) -> None:
    """bpf(2) answers EINVAL to them (kernel/bpf/syscall.c, `default: err = -EINVAL`), which is conclusive."""
    monkeypatch.setattr(feature, "_answer", None)
    asked = answer(monkeypatch, dict.fromkeys(range(NEWEST_OF_4_14 + 1, 64), errno.EINVAL))
    assert feature.state is State.NOT_SUPPORTED
    assert max(asked) > NEWEST_OF_4_14


BY_TYPES = {"kernel_btf", "uring_requests", "atomic_allocation", "typed_reads", "preempted_programs"}  # not by bpf(2)


@pytest.mark.parametrize("name", sorted(FEATURES.keys() - BY_TYPES))
def test_a_missing_privilege_leaves_the_answer_open(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybpf.features.probes.capabilities", frozenset)
    answer(monkeypatch, dict.fromkeys(range(64), errno.EPERM))
    assert FEATURES[name].state is State.UNKNOWN
    error = FEATURES[name].error
    assert error is not None
    assert error.errno == errno.EPERM


def test_programs_that_are_tried_are_what_they_are_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The instructions that reach the kernel, as another decoder than the probe reads them."""
    loaded: List[bytes] = []

    def syscall(_number: int, command: int, attr: int, size: int, *_rest: int) -> int:
        if command == Command.PROG_LOAD:
            raw = ctypes.string_at(attr, size).ljust(ctypes.sizeof(ProgramLoadAttr), b"\0")
            sent = ProgramLoadAttr.from_buffer_copy(raw)
            loaded.append(ctypes.string_at(sent.insns, 8 * sent.insn_cnt))
        return os.open(os.devnull, os.O_RDONLY)

    monkeypatch.setattr(syscalls._libc, "syscall", syscall)

    def tried(name: str) -> bytes:
        loaded.clear()
        assert FEATURES[name].supported()
        return loaded[0]

    assert tried("jmp32")[8] == 0x16
    assert tried("fetch_atomics")[16:24] == bytes.fromhex("db0af8ff01000000")
    assert tried("calls")[:8] == bytes.fromhex("8510000001000000")
    assert tried("memcg")[:8] == bytes.fromhex("85000000a0000000")  # helper 160
    assert len(tried("large_programs")) == 8 * 4097
    assert any(instruction.off < 0 for instruction in decode(tried("bounded_loops")))
    assert [i.imm for i in decode(tried("map_value_arguments")) if i.op == 0x85] == [1, 1]


def test_unknown_probes_are_refused() -> None:
    with pytest.raises(ValueError, match="there is no probe"):
        features.map_type(MapType.STRUCT_OPS)
    with pytest.raises(ValueError, match="there is no probe"):
        features.program_type(ProgramType.LSM)
    with pytest.raises(ValueError, match="there is no probe"):
        features.helper(ProgramType.XDP, "map_lookup_elem")
    with pytest.raises(KeyError):
        features.helper(ProgramType.TRACEPOINT, "no_such_helper")
