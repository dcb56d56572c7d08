"""What is sent to the kernel, and how its refusals read. Nothing here needs a privilege."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Any, List

import pytest

from pybpf import syscalls
from pybpf.attributes import MapBatchAttr, MapCreateAttr, ProgramLoadAttr
from pybpf.syscalls import BpfError, Command, bpf

# offsetofend of the last field that Linux 4.14 knows, include/uapi/linux/bpf.h of that release
END_OF_4_14 = {MapCreateAttr: 28, ProgramLoadAttr: 48}


def test_no_more_is_sent_than_an_old_kernel_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: List[Any] = []

    def syscall(*arguments: int) -> int:
        sent.append(arguments)
        return 5

    monkeypatch.setattr(syscalls._libc, "syscall", syscall)
    bpf(Command.MAP_CREATE, MapCreateAttr(map_type=1, key_size=4, value_size=8, max_entries=1))
    bpf(Command.PROG_LOAD, ProgramLoadAttr(prog_type=5, insn_cnt=2, insns=1, license=1, kern_version=0x40E00))
    bpf(Command.MAP_CREATE, MapCreateAttr(map_type=1, key_size=4, value_size=8, max_entries=1, map_name=b"abc"))
    sizes = [arguments[3] for arguments in sent]
    assert sizes[0] <= END_OF_4_14[MapCreateAttr]
    assert sizes[1] <= END_OF_4_14[ProgramLoadAttr]
    assert sizes[2] >= 28 + 3


def answering(monkeypatch: pytest.MonkeyPatch, *codes: int) -> List[int]:
    """Have the kernel answer with these errors, then with descriptor 5; the list grows with every call."""
    answers, calls = list(codes), []

    def syscall(*arguments: int) -> int:
        calls.append(arguments[1])
        if not answers:
            return 5
        ctypes.set_errno(answers.pop(0))
        return -1

    monkeypatch.setattr(syscalls._libc, "syscall", syscall)
    return calls


def test_interruptions_are_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = answering(monkeypatch, errno.EINTR, errno.EAGAIN, errno.EAGAIN)
    assert bpf(Command.PROG_LOAD, ProgramLoadAttr()) == 5
    assert len(calls) == 4
    calls = answering(monkeypatch, *[errno.EAGAIN] * 100)
    with pytest.raises(BpfError, match="EAGAIN"):
        bpf(Command.PROG_LOAD, ProgramLoadAttr())
    assert len(calls) < 20
    calls = answering(monkeypatch, errno.EINTR)
    with pytest.raises(BpfError, match="EINTR"):
        bpf(Command.MAP_LOOKUP_BATCH, MapBatchAttr(), retry=False)


def test_unknown_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "", "", "", "vax")))
    with pytest.raises(BpfError, match=r"machine vax.*supported are aarch64, x86_64"):
        bpf(Command.MAP_CREATE, MapCreateAttr())


def test_errors_have_names() -> None:
    assert str(BpfError(524, "BPF_MAP_CREATE", "map x")) == (
        "map x: BPF_MAP_CREATE: Operation not supported by this kernel (ENOTSUPP)"
    )
    assert str(BpfError(errno.EINVAL, "mount", hint="try again")) == "mount: Invalid argument (EINVAL); try again"
