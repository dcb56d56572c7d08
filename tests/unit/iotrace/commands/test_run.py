"""`iotrace run` before it traces: requests that make no sense are turned down in one line, with exit status 125."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Callable, Iterator, List

import pytest


@pytest.fixture
def thread_id() -> Iterator[int]:
    """The number of a thread of this process that is not its first."""
    numbers: List[int] = []
    started, done = threading.Event(), threading.Event()

    def work() -> None:
        numbers.append(threading.get_native_id())
        started.set()
        done.wait()

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    yield numbers[0]
    done.set()
    thread.join()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "nothing to trace"),
        (["--duration", "5"], "nothing to trace"),
        (["--user", "root", "--all"], "--user needs a command to run"),
        (["--wait", "--pid", "1"], "--wait needs a command"),
        (["--wait", "--no-follow", "--", "true"], "--wait needs a command whose descendants are followed"),
        (["--wait", "--all", "--", "true"], "--wait needs a command whose descendants are followed"),
        (["--pid", "0"], "'0' is not a list of process numbers"),
        (["--pid", "1,"], "'1,' is not a list of process numbers"),
        (["--pid", "-1"], "--pid"),
        (["--pid", "1\x1b[2J"], "is not a list of process numbers"),
        (["--pid", "4194305"], "process 4194305: there is no such process"),
        (["--comm", ""], "a process name cannot be empty"),
        (["--comm", "sixteen-letters-"], "use 'sixteen-letters'"),
        (["--duration", "0", "--all"], "'0' is not a number of seconds"),
        (["--duration", "nan", "--all"], "'nan' is not a number of seconds"),
        (["--duration", "-1", "--all"], "not a number of seconds"),
        (["--max-files", "0", "--all"], "'0' is not a number from 1 to"),
        (["--max-files", "1e3", "--all"], "'1e3' is not a number from 1 to"),
        (["--attach", "kprobe", "--all"], "invalid choice"),
        (["--follow", "--no-follow", "--all"], "not allowed with"),
        (["--all", "-o", "/no/such/directory/p"], "/no/such/directory/p: there is no directory /no/such/directory"),
        (["--all", "-o", "/"], "/: that is a directory"),
    ],
)
def test_a_request_that_makes_no_sense(arguments: List[str], text: str, refused: Callable[..., str]) -> None:
    said = refused("run", *arguments)
    assert text in said and "\x1b" not in said


def test_a_thread_is_no_process(thread_id: int, refused: Callable[..., str]) -> None:
    said = refused("run", "--pid", str(thread_id))
    assert said == f"process {thread_id}: that is a thread of process {os.getpid()}; give {os.getpid()}"


def test_nothing_is_started_for_an_output_that_cannot_be(tmp_path: Path, refused: Callable[..., str]) -> None:
    """Whatever else is wrong: the command does not run."""
    made = tmp_path / "made"
    refused("run", "-o", str(tmp_path), "--", "touch", str(made))
    refused("run", "-o", str(tmp_path / "absent" / "p"), "--", "touch", str(made))
    refused("run", "--user", "no such user", "--", "touch", str(made))
    assert not made.exists() and list(tmp_path.iterdir()) == []
