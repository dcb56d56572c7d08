"""The measured processes, and whether the machine is quiet enough to measure on."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Callable, ContextManager, Dict, List, Mapping, NamedTuple, Optional, Sequence
from typing import Counter as Counts

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BLOCK = 512  # calls.c does that many at a time
QUIET = 1.10  # times the best call: what still counts as a quiet machine
QUIET_CALLS = 40 * BLOCK
PATIENCE = 600.0  # seconds that a command may take


class BenchError(Exception):
    """Something that the benchmark needs is not there or did not start."""


class Skipped(Exception):
    """A row that cannot be measured here; the text says why."""


def compile_helpers(directory: Path) -> None:
    """Build the measured processes. Raises BenchError."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise BenchError("needs a C compiler (gcc, or clang) for the measured processes")
    for name in ("calls", "files", "measure", "names"):
        command = [compiler, "-O2", "-pthread", str(HERE / f"{name}.c"), "-o", str(directory / name)]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise BenchError(f"cannot compile {name}.c: {done.stderr.strip()[:300]}")


class Loop:
    """The process that makes the calls: calls.c."""

    def __init__(self, program: Path, file: Path, cpu: int) -> None:
        self._process = subprocess.Popen(
            [str(program), str(file), str(cpu)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid
        self.made: Counts[str] = Counter()
        self.share = 1.0  # of the time of the last measurement, in which each of its threads had a CPU

    def ns(self, what: str, count: int, threads: int = 1) -> float:
        """Nanoseconds for each of `count`, the median over blocks. Raises OSError where it cannot be done."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{what} {count} {threads}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise BenchError(f"the measured process ended with status {self._process.wait()}")
        ns, self.share = map(float, answer.split())
        if ns < 0:
            raise OSError(-int(ns), f"{what}: {os.strerror(-int(ns))}")
        self.made[what] += (count if what == "process" else count // BLOCK * BLOCK) * threads
        return ns

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Quiet:
    """Watches the machine by what a call takes, and waits for it to be quiet as long as patience lasts.

    A `tracer` that does nothing is attached meanwhile. Without one nothing would show that somebody has programs timed
    (BPF_ENABLE_STATS), and hardly that the tracepoints serve a perf event as well, of whatever system call: such an
    event alone costs an untraced call 5 ns and a traced one 45.
    """

    def __init__(self, loop: Loop, patience: float, tracer: Callable[[Loop], ContextManager[object]]) -> None:
        self._loop, self._tracer = loop, tracer
        self._patience = patience
        self._best = float("inf")
        for _ in range(20):
            self.now()

    def now(self) -> bool:
        """Whether the machine is as quick as it has been at its best, nearly."""
        with self._tracer(self._loop):
            ns = self._loop.ns("pread64", QUIET_CALLS)
        self._best = min(ns, self._best)
        return ns <= self._best * QUIET

    def wait(self) -> bool:
        """The same, after waiting for it."""
        while not self.now():
            if self._patience <= 0:
                return False
            time.sleep(0.2)
            self._patience -= 0.2
        return True


class Measured(NamedTuple):
    """What a command took, and printed."""

    started_ns: int
    ended_ns: int
    peak_kib: int
    cpu_ns: int
    status: int
    stdout: str
    stderr: str

    @property
    def seconds(self) -> float:
        return (self.ended_ns - self.started_ns) / 1e9


def environment() -> Dict[str, str]:
    """This process's, without what changes how Python runs: byte code is kept and output buffered as by default."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def iotrace_command(*arguments: object) -> List[str]:
    """iotrace of this checkout."""
    return [sys.executable, "-m", "iotrace", *map(str, arguments)]


def measured(
    directory: Path,
    command: Sequence[str],
    stdout: Optional[int] = subprocess.PIPE,
    terminal: bool = False,
    variables: Optional[Mapping[str, str]] = None,
) -> Measured:
    """Run a command from this checkout to its end; with a terminal as its standard error if `terminal`.

    `variables` are added to its environment.
    """
    result, shown = directory / "measured", bytearray()
    result.unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        stderr: int = subprocess.PIPE
        if terminal:
            master, stderr = pty.openpty()
            stack.callback(os.close, master)
            threading.Thread(target=_keep_reading, args=(master, shown), daemon=True).start()
        process = subprocess.Popen(
            [str(directory / "measure"), str(result), *command],
            cwd=ROOT,
            env={**environment(), **(variables or {})},
            stdout=stdout,
            stderr=stderr,
        )
        if terminal:
            os.close(stderr)
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except BaseException:
            process.kill()
            raise
    started, ended, peak, cpu, status = map(int, result.read_text().split())
    said = (err or bytes(shown)).decode("utf-8", "replace")
    return Measured(started, ended, peak, cpu, status, (out or b"").decode(), said)


def iotrace(
    directory: Path, *arguments: object, terminal: bool = False, variables: Optional[Mapping[str, str]] = None
) -> Measured:
    """Run iotrace to its end, in the same way. Raises BenchError if it fails."""
    done = measured(directory, iotrace_command(*arguments), terminal=terminal, variables=variables)
    if done.status:
        raise BenchError(f"iotrace {arguments[0]} ended with status {done.status}: {done.stderr.strip()[-300:]}")
    return done


def _keep_reading(terminal: int, shown: bytearray) -> None:
    with contextlib.suppress(OSError):
        while True:
            shown += os.read(terminal, 65536)
