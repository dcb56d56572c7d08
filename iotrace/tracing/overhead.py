"""What a run costs, measured while it goes on: time in the programs, and iotrace's own.

The kernel can time every run of a program, but that alone takes about as long as the run: two readings of a clock that
is slower than the programs' own (on a virtual machine 145 ns a run, where both programs of a pread64 take 220). So the
kernel is asked to do it only in windows, which are short and become rarer. The time between two windows is estimated
from them: so much for each data call, which the programs count anyway, or so much a second, where few data calls are
made. The estimate by calls is better where there are some, since a measured process is slower inside a window.

The kernel's figures include the readings of its clock. How long these take is measured with an empty program, and
subtracted. Time in programs is not the whole cost, since an event costs something even where no program wants it:
that is measured with system calls of iotrace's own, with the programs attached and without.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from itertools import repeat
from typing import Callable, Dict, NamedTuple, Optional, Sequence, Tuple

from asm import ProgramType
from pybpf import programs
from pybpf.descriptor import Descriptor
from pybpf.programs import Program
from pybpf.syscalls import BpfError
from pybpf.types.binary import Binary

FIRST, WINDOW = 0.05, 0.01  # seconds that the kernel keeps time, at first and later
SHORTEST, LONGEST = 0.05, 2.0  # pause between two windows; a quarter of the run so far lies in between
FEW = 10  # with fewer data calls than one in so many runs, time tells more
# r0 = 0; exit
NOTHING = Binary(
    "nothing", ProgramType.SOCKET_FILTER, "Dual BSD/GPL", bytes.fromhex("b700000000000000 9500000000000000"), ()
)
_RUNS = 1000  # of the program that does nothing
_BLOCKS, _CALLS = 20, 100  # of system calls; the quickest block counts


class Look(NamedTuple):
    """What is known at an instant, each since some beginning."""

    ns: int
    calls: int  # data calls of targets
    runs: int  # of programs, and
    spent: int  # nanoseconds in them, both while the kernel keeps time


def system_call_ns() -> float:
    """How long a system call of this process takes that iotrace never traces."""
    best, call = float("inf"), os.getppid
    for _ in range(_BLOCKS):
        start = time.perf_counter_ns()
        for _ in repeat(None, _CALLS):
            call()
        best = min(best, time.perf_counter_ns() - start)
    return best / _CALLS


def reading_ns() -> float:
    """The run time that the kernel reports for an empty program. Raises BpfError."""
    with programs.load(NOTHING, {}) as nothing, programs.enable_stats():
        nothing.repeat(_RUNS)
        status = nothing.info()
    return status.run_time_ns / max(status.run_cnt, 1)


class Along:
    """What a run came to along something that can always be measured: time, or the number of calls."""

    def __init__(self) -> None:
        self._rates: Optional[Tuple[float, float]] = None
        self._totals = [0.0, 0.0]

    def window(self, gap: int, length: int, runs: int, spent: int) -> None:
        """What grew in a window that is `length` long, after a `gap` in which it grew as in the windows beside."""
        if length:
            rates = (runs / length, spent / length)
            before, self._rates = self._rates or rates, rates
            self._totals = [total + gap * (a + b) / 2 for total, a, b in zip(self._totals, before, rates)]
        self._totals = [self._totals[0] + runs, self._totals[1] + spent]

    def totals(self, rest: int) -> Tuple[float, float]:
        """Both, if `rest` comes after the last window."""
        runs, spent = self._rates or (0.0, 0.0)
        return self._totals[0] + runs * rest, self._totals[1] + spent * rest


def _jitter() -> float:
    """From 0 to 1, anything. The module random would have all of hashlib imported before tracing begins."""
    return int.from_bytes(os.urandom(4), "little") / (1 << 32)


class Sampler:
    """Has the kernel time programs in windows, and estimates the whole run from them.

    `enable` has it do so until the result is closed; `look` tells what was counted.
    """

    def __init__(
        self,
        enable: Callable[[], Descriptor],
        look: Callable[[], Look],
        clock: Callable[[], int] = time.monotonic_ns,
        jitter: Callable[[], float] = _jitter,
    ) -> None:
        self._enable, self._look, self._clock, self._jitter = enable, look, clock, jitter
        self._by_time, self._by_calls = Along(), Along()
        self._window: Optional[Descriptor] = None
        self._due = 0
        self._calls = self._runs = 0  # in windows
        self.sampled = 0  # nanoseconds in windows
        self.problem: Optional[BpfError] = None

    def begin(self) -> None:
        """The run begins, with a window."""
        self.started = self.ended = self._opened = self._closed = self._look()
        self._open(FIRST)

    def wait(self, most: float) -> float:
        """Seconds until `step` has something to do, at most `most`."""
        return most if self.problem else max(0.0, min(most, (self._due - self._clock()) / 1e9))

    def step(self) -> None:
        """Open or close a window if it is time."""
        if self.problem or self._clock() < self._due:
            return
        if self._window is None:
            self._open(WINDOW)
            return
        self._close()
        pause = min(max((self._closed.ns - self.started.ns) / 4e9, SHORTEST), LONGEST)
        self._due = self._clock() + int(pause * (0.5 + self._jitter()) * 1e9)

    def end(self) -> None:
        """The run has ended."""
        if self._window is not None:
            self._close()
        self.ended = self._look()

    def close(self) -> None:
        """Close a window that is open, without looking."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def totals(self) -> Tuple[float, float]:
        """How often programs ran in the whole run, and the nanoseconds in them, as estimated."""
        if self._calls * FEW >= self._runs:
            return self._by_calls.totals(self.ended.calls - self._closed.calls)
        return self._by_time.totals(self.ended.ns - self._closed.ns)

    def _open(self, seconds: float) -> None:
        try:
            self._window = self._enable()
        except BpfError as error:
            self.problem = error
            return
        self._opened = self._look()
        self._due = self._opened.ns + int(seconds * 1e9)

    def _close(self) -> None:
        assert self._window is not None
        last, begin, end = self._closed, self._opened, self._look()
        self._window.close()
        self._window = None
        runs, spent = end.runs - begin.runs, end.spent - begin.spent
        self._by_time.window(begin.ns - last.ns, end.ns - begin.ns, runs, spent)
        self._by_calls.window(begin.calls - last.calls, end.calls - begin.calls, runs, spent)
        self._closed = end
        self._calls += end.calls - begin.calls
        self._runs += runs
        self.sampled += end.ns - begin.ns


class Meter:
    """The cost of one run, for `Header.overhead`: made before the programs are attached, begun after."""

    def __init__(self, entered: Sequence[Program], calls: Callable[[], int], before: int = 0) -> None:
        """`entered` are the programs that are attached; `calls` tells how many data calls there have been.

        `before` is the CPU time, in nanoseconds, that this process had used for other things when the run was made.
        """

        def look() -> Look:
            before, made = time.monotonic_ns(), calls()
            told = [program.info() for program in entered]  # takes a while, of which the middle is meant
            return Look(
                (before + time.monotonic_ns()) // 2,
                made,
                sum(program.run_cnt for program in told),
                sum(program.run_time_ns for program in told),
            )

        self.sampler = Sampler(programs.enable_stats, look)
        self._own_call = system_call_ns()
        self._bystander = 0.0
        self._before = before
        self._start = self._began = self._own = 0

    def begin(self) -> None:
        """The programs are attached, and tracing begins. From now on this thread's time is that of tracing."""
        self._bystander = max(0.0, system_call_ns() - self._own_call)
        self._start = time.process_time_ns() - self._before
        self._began = time.thread_time_ns()
        self.sampler.begin()

    def end(self) -> None:
        """Tracing ends, in the thread in which it has begun."""
        self.sampler.end()
        self._own = time.thread_time_ns() - self._began

    def close(self) -> None:
        """Have the kernel stop timing programs, wherever the run was broken off."""
        self.sampler.close()

    def result(self) -> Dict[str, object]:
        """As SCHEMA.md has it."""
        span = max(self.sampler.ended.ns - self.sampler.started.ns, 1)
        return {
            **self._programs(span),
            "bystander_ns": round(self._bystander, 1),
            "own_ns": self._own,
            "own_share": round(self._own / span, 6),
            "start_ns": self._start,
        }

    def _programs(self, span: int) -> Dict[str, object]:
        sampler = self.sampler
        if not sampler.sampled:
            return {"not_measured": _reason(sampler.problem)}
        reading = 0.0
        with suppress(BpfError):
            reading = reading_ns()
        runs, ns = sampler.totals()
        ns = max(0.0, ns - runs * reading)
        return {
            "program_runs": round(runs),
            "program_ns": round(ns),
            "program_share": round(ns / span, 6),
            "sampled_ns": sampler.sampled,
        }


def _reason(problem: Optional[BpfError]) -> str:
    if problem is None:
        return "too short"
    if problem.errno == errno.EPERM:
        return "the kernel lets only CAP_SYS_ADMIN time programs"
    return "the kernel can do it from 5.8 on" if problem.errno == errno.EINVAL else str(problem)
