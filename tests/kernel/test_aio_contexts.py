"""The list of AIO contexts that the programs keep for a process: those that there are, the latest first."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Dict, List

import pytest

from iotrace.tracing.session import Session, Settings
from programs.facts.records import AioContext, AioKey

SETUP, DESTROY = {"x86_64": (206, 207), "aarch64": (0, 1)}[os.uname().machine]
LIBC = ctypes.CDLL(None, use_errno=True)


def setup() -> int:
    context = ctypes.c_uint64()
    assert LIBC.syscall(SETUP, ctypes.c_long(1), ctypes.byref(context)) == 0
    return context.value


def listed(session: Session, tgid: int) -> List[int]:
    """The contexts of a process from the latest on, going from one to the next, and back, in the map."""
    records: Dict[int, Dict[str, int]] = {}
    for raw_key, raw in session.loaded.maps["contexts"].items():
        key = AioKey.unpack(raw_key)
        if key["tgid"] == tgid:
            records[key["context"]] = AioContext.unpack(raw)
    found: List[int] = []
    context = records.pop(0)["seen"] if 0 in records else 0
    while context:
        assert records[context]["newer"] == (found[-1] if found else 0)
        found.append(context)
        context = records[context]["older"]
    assert len(found) == len(records), "one is not in the list"
    return found


@pytest.mark.parametrize("gone", [(), (0,), (4,), (2,), (0, 1, 3), (3, 4), (4, 3, 2, 1, 0)])
def test_a_context_that_is_destroyed_leaves_the_list(gone: List[int]) -> None:
    with Session(Settings()) as session:
        session.attach()
        session.trace_process(os.getpid(), follow=True)
        contexts = [setup() for _ in range(5)]
        for index in gone:
            assert LIBC.syscall(DESTROY, ctypes.c_long(contexts[index])) == 0
        left = [context for index, context in enumerate(contexts) if index not in gone]
        found = listed(session, os.getpid())
        for context in left:
            assert LIBC.syscall(DESTROY, ctypes.c_long(context)) == 0
        assert found == left[::-1]
        assert listed(session, os.getpid()) == []


def test_a_process_that_ends_takes_its_contexts_along() -> None:
    with Session(Settings()) as session:
        session.attach()
        session.trace_process(os.getpid(), follow=True)
        pid = os.fork()
        if pid == 0:
            for _ in range(40):
                setup()
            os.kill(os.getpid(), signal.SIGSTOP)
            os._exit(0)
        os.waitpid(pid, os.WUNTRACED)
        assert len(listed(session, pid)) == 40
        os.kill(pid, signal.SIGCONT)
        assert os.waitpid(pid, 0)[1] == 0
        assert listed(session, pid) == []
