"""`iotrace.trace` before it traces: requests that make no sense; and what the package imports for it."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

import iotrace


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({}, "nothing to trace: give a command, pids, comms, cgroups or everything=True"),
        ({"command": ["true"], "by": "size"}, "by='size': rows can be apart by process, cgroup, user"),
        ({"duration": 5}, "nothing to trace"),
        ({"user": "root", "everything": True}, "user needs a command to run"),
        ({"pids": [4194305]}, "process 4194305: there is no such process"),
        ({"command": ["true"], "output": "/no/such/directory/p"}, "there is no directory /no/such/directory"),
        ({"command": ["true"], "user": "no such user", "output": "/tmp/p"}, "no such user: there is no such user"),
    ],
)
def test_a_request_that_makes_no_sense(asked: Any, text: str) -> None:
    with pytest.raises(iotrace.UserError, match=text):
        iotrace.trace(**asked)


def test_a_thread_is_no_process() -> None:
    started, done, numbers = threading.Event(), threading.Event(), []

    def work() -> None:
        numbers.append(threading.get_native_id())
        started.set()
        done.wait()

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    try:
        with pytest.raises(iotrace.UserError, match=f"that is a thread of process {os.getpid()}; give {os.getpid()}"):
            iotrace.trace(pids=numbers)
    finally:
        done.set()
        thread.join()
