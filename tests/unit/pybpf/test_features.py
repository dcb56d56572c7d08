"""What probes make of a kernel's answers, without a kernel."""

from __future__ import annotations

import ctypes
import errno
import os

import pytest

from asm import MapType
from pybpf import features, syscalls
from pybpf.features import FEATURES, Feature, State

NEWEST_OF_4_14 = 15  # BPF_OBJ_GET_INFO_BY_FD: include/uapi/linux/bpf.h of that release
NEW_COMMANDS = ["raw_tracepoints", "btf", "line_info", "batch", "stats"]


@pytest.mark.parametrize(
    "feature", [*(FEATURES[name] for name in NEW_COMMANDS), features.map_type(MapType.TASK_STORAGE)]
)
def test_4_14_refuses_commands_that_it_does_not_know(feature: Feature, monkeypatch: pytest.MonkeyPatch) -> None:
    """bpf(2) answers EINVAL to them (kernel/bpf/syscall.c, `default: err = -EINVAL`), which is conclusive."""

    def syscall(_number: int, command: int, *_arguments: int) -> int:
        if command > NEWEST_OF_4_14:
            ctypes.set_errno(errno.EINVAL)
            return -1
        return os.open(os.devnull, os.O_RDONLY)

    monkeypatch.setattr(feature, "_answer", None)
    monkeypatch.setattr(syscalls._libc, "syscall", syscall)
    assert feature.state is State.NOT_SUPPORTED
