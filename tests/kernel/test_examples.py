"""The worked examples, and the one in the package's docstring, against what is known from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator, List, Tuple

import pybpf
from tests import needs

ROOT = Path(__file__).resolve().parents[2]
CALLS, TURNS = 23_003, 997


class Example:
    """An example, run as a stranger runs it, from when it says that it has begun until Ctrl-C."""

    def __init__(self, name: str, *arguments: object) -> None:
        command = [sys.executable, "-m", f"pybpf.examples.{name}", *map(str, arguments)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.begun = self.process.stdout.readline()

    def end(self) -> List[str]:
        """What it prints at the end, line by line."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate()
        assert (self.process.returncode, err) == (0, "")
        return out.splitlines()

    def __enter__(self) -> Example:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def child(work: Callable[[Callable[[], None], Callable[[], None]], None]) -> Iterator[Tuple[int, Callable[[], None]]]:
    """A process that does `work(wait, tell)`; its number, and what lets it go on and waits until it tells something.

    `wait` returns when it is to begin, `tell` says that it is done.
    """
    go_out, go_in = os.pipe()
    told_out, told_in = os.pipe()

    def wait() -> None:
        if not os.read(go_out, 1):
            os._exit(0)

    def tell() -> None:
        os.write(told_in, b".")

    pid = os.fork()
    if pid == 0:
        try:
            os.close(go_in)
            work(wait, tell)
        finally:
            os._exit(1)

    def go_on() -> None:
        os.write(go_in, b".")
        assert os.read(told_out, 1) == b"."

    try:
        yield pid, go_on
    finally:
        for fd in (go_out, go_in, told_out, told_in):
            os.close(fd)
        os.waitpid(pid, 0)


def call_often(wait: Callable[[], None], tell: Callable[[], None]) -> None:
    """Makes CALLS system calls, one more to tell, and one to wait for nothing more."""
    call = os.getppid
    wait()
    for _call in range(CALLS):
        call()
    tell()
    wait()


def test_system_calls_are_counted_exactly() -> None:
    """The child makes CALLS calls between two waits, and one or two besides: it tells, and perhaps waits again."""
    with child(call_often) as (pid, go_on), Example("syscalls_by_process", "--top", 1 << 20) as example:
        assert example.begun.startswith("Counting")
        go_on()
        lines = example.end()
    assert lines[0].split() == ["calls", "pid", "process"]
    rows = [line.split(None, 2) for line in lines[1:]]
    (counted,) = (int(calls) for calls, number, _name in rows if int(number) == pid)
    assert counted - CALLS in (1, 2)
    assert [int(calls) for calls, *_rest in rows] == sorted((int(calls) for calls, *_rest in rows), reverse=True)


def times_run(pid: int) -> int:
    """How often the scheduler has given the process a CPU, as it counts itself (CONFIG_SCHED_INFO)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[2])


def test_each_turn_of_two_threads_on_a_cpu_is_a_wait() -> None:
    """Two processes on one CPU pass a byte to and fro: neither can go on before the other has had the CPU.

    So each turn takes two waits at least, and no wait is there that the scheduler does not count. Half of that must be
    found: the kernel leaves a program out while an interrupt has come in the midst of another one.
    """
    there, back = os.pipe(), os.pipe()
    cpu = min(os.sched_getaffinity(0))

    def ping(wait: Callable[[], None], tell: Callable[[], None]) -> None:
        os.sched_setaffinity(0, {cpu})
        wait()
        for _turn in range(TURNS):
            os.write(there[1], b".")
            os.read(back[0], 1)
        tell()
        wait()

    def pong(_wait: Callable[[], None], _tell: Callable[[], None]) -> None:
        os.sched_setaffinity(0, {cpu})
        os.close(there[1])
        while os.read(there[0], 1):
            os.write(back[1], b".")
        os._exit(0)

    with child(pong) as (other, _), child(ping) as (one, go_on):
        os.close(there[1])
        before = times_run(one) + times_run(other)
        with Example("scheduler_latency", one, other) as example:
            assert example.begun.startswith("Measuring")
            go_on()
            *lines, last = example.end()
        after = times_run(one) + times_run(other)
    for fd in (there[0], *back):
        os.close(fd)
    total = int(last.split()[0])
    assert TURNS <= total <= after - before
    buckets = [re.fullmatch(r" *[\d.]+ [num]?s to [\d.]+ [num]?s +(\d+)(  #+)?", line) for line in lines]
    assert sum(int(bucket[1]) for bucket in buckets if bucket) == total
    assert all(buckets)


def test_without_privileges_an_example_says_what_is_missing() -> None:
    """In one line, for a root whose capabilities are gone."""
    command = [needs.program("setpriv"), "--bounding-set", "-all", "--inh-caps", "-all", sys.executable]
    command += ["-m", "pybpf.examples.syscalls_by_process", "1"]
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert re.fullmatch(r"map counts .*EPERM.* lacks CAP_BPF and CAP_PERFMON\b.*\n", done.stderr)


def test_the_example_of_the_package_runs() -> None:
    assert pybpf.__doc__ is not None
    code = "\n".join(line[4:] for line in pybpf.__doc__.splitlines() if line.startswith("    ") or not line)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    match = re.fullmatch(r"(\d+) context switches in a second\n", done.stdout)
    assert match is not None
    assert int(match[1]) > 1  # its own, into sleep and out of it
