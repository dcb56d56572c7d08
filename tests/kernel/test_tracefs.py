"""tracefs, mounted by nobody but us and seen by nobody but us."""

from __future__ import annotations

import os
from typing import Callable

import pytest

from pybpf import syscalls
from pybpf.mounts import mount_in_child
from pybpf.syscalls import BpfError
from pybpf.types import tracefs as module
from pybpf.types.tracefs import Tracefs, TracefsError


def mounts() -> str:
    with open("/proc/self/mountinfo") as table:
        return table.read()


@pytest.mark.parametrize("way", [syscalls.mount_detached, mount_in_child])
def test_private_mount(way: Callable[[str], int]) -> None:
    """It works, and the mount table of this namespace stays as it was, also afterwards."""
    before = mounts()
    with Tracefs._checked(way("tracefs")) as tracefs:
        assert mounts() == before
        assert tracefs.exists("sched", "sched_process_exit")
        assert tracefs.event_id("sched", "sched_process_exit") == tracefs.format("sched", "sched_process_exit").id
    assert mounts() == before


def test_falls_back_to_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """As before Linux 5.2, and where tracefs is mounted nowhere."""

    def refuse(filesystem: str) -> int:
        raise BpfError(38, "fsopen", filesystem)

    monkeypatch.setattr(module, "_USUAL", ())
    monkeypatch.setattr(module, "_mounted", list)
    monkeypatch.setattr(syscalls, "mount_detached", refuse)
    with Tracefs.open() as tracefs:
        assert tracefs.exists("sched", "sched_process_exit")


def test_when_nothing_works(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise BpfError(1, "mount", "tracefs on /somewhere")

    monkeypatch.setattr(module, "_USUAL", ())
    monkeypatch.setattr(module, "_mounted", list)
    monkeypatch.setattr(syscalls, "mount_detached", refuse)
    monkeypatch.setattr(syscalls, "mount", refuse)
    with pytest.raises(TracefsError, match=r"cannot be: tracefs on /somewhere: mount: .*EPERM.*run as root") as failed:
        Tracefs.open()
    assert "\n" not in str(failed.value)


def test_what_is_no_tracefs_is_refused() -> None:
    with pytest.raises(TracefsError, match="no events in it"):
        Tracefs._checked(os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))


def test_every_format_can_be_read(tracefs: Tracefs) -> None:
    """Fields lie one behind the other and inside what the kernel says it sends; ids are those of the `id` files."""
    ids = set()
    for category in ("syscalls", "raw_syscalls", "sched", "task", "io_uring", "filemap"):
        for name in tracefs.names(category):
            read = tracefs.format(category, name)
            assert read.name == name
            ids.add((read.id, category, name))
            end = 0
            for field in read.fields.values():
                assert field.offset >= end, (name, field)
                assert field.size % field.length == 0, (name, field)
                end = field.offset + field.size
            assert read.fields["common_pid"].offset == 4
    assert len({number for number, _category, _name in ids}) == len(ids)
    number, category, name = max(ids)
    assert tracefs.event_id(category, name) == number


def test_fields_of_a_system_call(tracefs: Tracefs) -> None:
    fields = tracefs.format("syscalls", "sys_enter_pread64").fields
    assert [field for field in fields if not field.startswith("common_")] == [
        "__syscall_nr",
        "fd",
        "buf",
        "count",
        "pos",
    ]
    ret = tracefs.format("syscalls", "sys_exit_pread64").fields["ret"]
    assert (ret.size, ret.signed) == (8, True)


def test_missing_and_impossible_names(tracefs: Tracefs) -> None:
    with pytest.raises(TracefsError, match="no tracepoint syscalls:sys_enter_nothing"):
        tracefs.format("syscalls", "sys_enter_nothing")
    with pytest.raises(TracefsError, match="not the name of a tracepoint"):
        tracefs.event_id("syscalls", "../../../etc")
    assert not tracefs.exists("syscalls", "sys_enter_nothing")
    assert tracefs.names("no_such_category") == []
