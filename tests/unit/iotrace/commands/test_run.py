"""`iotrace run` before it traces: requests that make no sense are turned down in one line, with exit status 125."""

from __future__ import annotations

import argparse
import os
import threading
from pathlib import Path
from typing import Callable, Iterator, List

import pytest

from iotrace.commands import run


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
        (["--light", "--attach", "perf", "--all"], "--light takes raw tracepoints: no --attach perf"),
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
        (["--duration", "0", "--all"], "'0' is not a time, such as"),
        (["--duration", "nan", "--all"], "'nan' is not a time"),
        (["--duration", "-1", "--all"], "is not a time"),
        (["--duration=-3s", "--all"], "'-3s' is not a time, such as 90, 30s, 5m or 1.5h"),
        (["--duration", "1w", "--all"], "'1w' is not a time, such as 90, 30s, 5m or 1.5h"),
        (
            ["ls", "-la", "/"],
            "put -- before the command, so that its options are its own: iotrace run [OPTION...] -- ls -la /",
        ),
        (["-q", "cp", "-q", "a b", "c"], "iotrace run [OPTION...] -- cp -q 'a b' c"),
        (["sort", "file", "-o", "sorted"], "[OPTION...] -- sort file -o sorted"),
        (["ls", "--all"], "[OPTION...] -- ls --all"),
        (["sh", "--", "-c", "true"], "[OPTION...] -- sh -c true"),
        (["--frobnicate", "ls"], "unrecognized arguments: --frobnicate"),
        (["--frobnicate", "--", "ls"], "unrecognized arguments: --frobnicate"),
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


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["true"], ["true"]),
        (["-q", "cat", "a", "b"], ["cat", "a", "b"]),
        (["-q", "--", "sh", "-c", "x", "--", "-o", "y"], ["sh", "-c", "x", "--", "-o", "y"]),
        (["--comm", "x", "--"], []),
        (["--", "--", "x"], ["--", "x"]),
    ],
)
def test_where_the_command_begins(arguments: List[str], command: List[str]) -> None:
    parser = argparse.ArgumentParser()
    run.setup(parser)
    assert run.parse(parser, arguments).command == command
