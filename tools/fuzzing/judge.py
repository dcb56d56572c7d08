"""What the commands make of a damaged profile: run in worker processes, measured, and judged.

A worker runs many commands, one after the other, without a process for each. When one takes too long, or too much
memory, the worker is ended and another goes on behind it.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from iotrace import cli
from iotrace.page import library
from iotrace.views import chosen, columns
from tools.fuzzing import mutate

SECONDS, MEMORY = 10.0, 200 << 20
"""What is promised: for each command, of CPU time here, since workers share the machine."""

_HUNG = 120.0  # seconds by the clock until a worker that says nothing, and does nothing, is ended
_BUSY = 3 * SECONDS  # of CPU time, until one that says nothing is
_INTERPRETER = 20 << 20  # bytes of a process that has imported iotrace
_FRESH = 60  # inputs that a worker takes, so that what one leaves in memory is not blamed on another


def commands(path: str) -> Iterator[Tuple[str, ...]]:
    """Every subcommand that reads a profile, in the ways that take different paths through the reader."""
    yield "report", path
    yield "report", path, "--details"
    yield "report", path, "--file", mutate.KNOWN
    yield "report", path, "--file", "*known*"
    yield "report", path, "--limit", "0", "--sort", "latency"
    yield "report", path, "--path", "*a*", "--exclude", "*zz*"
    yield "report", path, path
    yield "report", path, path, "--file", mutate.KNOWN
    for by in chosen.BY:
        yield "report", path, "--by", by
    yield "report", path, path, "--by", "tree", "--columns", ",".join(columns.BY_COLUMN), "--sort", "times-read"
    yield "report", path, "--errors", "--format", "json"
    yield "browse", path
    yield "report", path, "--histograms"
    yield "report", path, "--over-time"
    yield "findings", path
    yield "findings", path, "--format", "json"
    yield "diff", path, path
    yield "diff", path, path, "--by", "directory", "--format", "json", "--limit", "0", "--fail-on", "p99(read)>1s"
    yield "html", path, "--force", "-o", path + ".html"
    yield "html", path, "--against", path, "--force", "-o", path + ".html"
    yield "merge", path, path, "--allow-duplicates", "--force", "-o", path + ".merged"
    yield "fio", path, "--directory", "bench"
    yield "fio", path, "--directory", "bench", "--iolog", "--force", "-o", path + ".fio"
    for form in ("json", "jsonl", "openmetrics"):
        yield "export", path, "--format", form
    yield "export", path, "--format", "csv", "--table", "histogram"
    yield "export", path, "--sort", "path", "--limit", "5"
    if importlib.util.find_spec("pyarrow"):
        yield "export", path, "--format", "parquet", "--force", "-o", path + ".parquet"


class Violation(NamedTuple):
    """A promise that was not kept."""

    seed: int
    command: Tuple[str, ...]
    what: str
    damage: Sequence[str]

    def __str__(self) -> str:
        return f"seed {self.seed}: {' '.join(self.command)}: {self.what} [{', '.join(self.damage)}]"


class Outcome(NamedTuple):
    """All that was run."""

    inputs: int
    runs: int
    statuses: Dict[int, int]
    slowest: Tuple[float, int]  # seconds of CPU time, seed
    largest: Tuple[int, int]  # bytes, seed
    violations: List[Violation]


def _peak() -> int:
    """The most memory that this process has had since the last time, in bytes."""
    with open("/proc/self/status", encoding="ascii") as file:
        peak = int(file.read().partition("VmHWM:")[2].split()[0]) << 10
    with suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    return peak


def _address_space() -> int:
    """Bytes of this process's, which may have been forked from one that has gigabytes of libraries mapped."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def fault(status: Optional[int], stderr: str, seconds: float, memory: int) -> Optional[str]:
    """What is wrong with how a command ended, if anything."""
    if status is None:
        return "traceback: " + " / ".join(line.strip() for line in stderr.strip().split("\n")[-3:])
    if seconds > SECONDS:
        return f"{seconds:.1f} s"
    if memory > MEMORY:
        return f"{memory >> 20} MB"
    lines = stderr.count("\n")
    if "Traceback" in stderr or "\x1b" in stderr or len(stderr) > 2000:
        return f"said {stderr[-300:]!r}"
    nothing = status == 1 and "no file matches" in stderr  # of what is selected
    if (2 if nothing else status, lines) not in ((0, 0), (2, 1)):
        return f"status {status} with {lines} lines: {stderr[:300]!r}"
    return None


@contextmanager
def _apart() -> Iterator[IO[str]]:
    """Standard output goes nowhere, standard error into a text."""
    before, text = sys.stdout, io.StringIO()
    with open(1, "w", encoding="utf-8", closefd=False) as nowhere:
        sys.stdout, sys.stderr = nowhere, text
        try:
            yield text
        finally:
            sys.stdout, sys.stderr = before, sys.__stderr__


def one(command: Sequence[str]) -> Tuple[Optional[int], str, float, int]:
    """Run a command in this process: status (None for an exception), standard error, CPU time, memory."""
    _peak()
    begun, status = time.process_time(), None
    with _apart() as text:
        try:
            status = cli.main(list(command))
        except SystemExit as leaving:
            status = int(leaving.code or 0)
        except BaseException:
            traceback.print_exc(file=text)
    return status, text.getvalue(), time.process_time() - begun, _peak()  # type: ignore[attr-defined]


def _stand_in() -> None:
    """What `iotrace html` draws with is not in question here, and takes seconds to make."""
    library.available, library.bundle = lambda: True, lambda: " " * (1 << 17)


def _work(seeds: Sequence[int], place: Path, bases: Sequence[Path], out: IO[str]) -> None:
    """Say one line before each command, and one about how it ended."""
    target = place / "profile"
    _stand_in()
    _peak()
    inherited = max(0, _peak() - _INTERPRETER)  # from a large process that forked us, such as that of the tests
    for seed in seeds:
        damage = mutate.damaged(seed, bases, target)
        for command in commands(str(target)):
            print(json.dumps([seed, command, damage]), file=out, flush=True)
            status, stderr, seconds, memory = one(command)
            memory -= inherited
            print(json.dumps([status, fault(status, stderr, seconds, memory), seconds, memory]), file=out, flush=True)


class Worker:
    """A process at work on some seeds."""

    def __init__(self, seeds: Sequence[int], place: Path, bases: Sequence[Path]) -> None:
        self.seeds, self.place = list(seeds), place
        self.now: Optional[Tuple[int, Tuple[str, ...], List[str]]] = None
        self.heard, self._cpu = time.monotonic(), -1.0
        reading, writing = os.pipe()
        self.process = os.fork()
        if not self.process:
            with suppress(BaseException):
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_DFL)
                os.close(reading)
                null = os.open(os.devnull, os.O_RDWR)
                os.dup2(null, 1)
                most = _address_space() + (2 << 30)  # the machine survives what is found
                resource.setrlimit(resource.RLIMIT_AS, (most, most))
                with open(writing, "w", encoding="utf-8") as out:
                    _work(self.seeds, place, bases, out)
                os._exit(0)
            os._exit(1)
        os.close(writing)
        os.set_blocking(reading, False)
        self.descriptor, self._rest = reading, b""

    def lines(self) -> Optional[List[Any]]:
        """What it has said since the last time; None at its end."""
        self.heard, self._cpu = time.monotonic(), -1.0
        data = os.read(self.descriptor, 1 << 16)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def hangs(self) -> bool:
        """Whether it has been busy for too long since it said something, or idle. Others may keep it from the CPU."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        if self._cpu < 0:
            self._cpu = cpu
        return cpu - self._cpu > _BUSY or (fields[0] != "R" and time.monotonic() - self.heard > _HUNG)

    def end(self, kill: bool = True) -> bool:
        """End it, or see it end; whether it had done all its work."""
        if kill:
            os.kill(self.process, signal.SIGKILL)
        _, status = os.waitpid(self.process, 0)
        os.close(self.descriptor)
        return status == 0


class Judge:
    """Hands out seeds to workers, and keeps what they say."""

    def __init__(self, seeds: Sequence[int], workers: int, progress: Optional[IO[str]] = None) -> None:
        self._left, self._workers, self._progress = list(seeds), workers, progress
        self.runs, self.statuses, self.violations = 0, dict.fromkeys((0, 2), 0), []  # type: ignore[var-annotated]
        self.slowest, self.largest, self._total = (0.0, -1), (0, -1), len(seeds)
        self._shown = time.monotonic()

    def judge(self) -> Outcome:
        """Run all; interruptible."""
        with tempfile.TemporaryDirectory(dir=mutate.scratch(), prefix="fuzz-profiles-") as place:
            bases = mutate.make_bases(Path(place))
            at_work: Dict[int, Worker] = {}
            try:
                while self._left or at_work:
                    while self._left and len(at_work) < self._workers:
                        chunk, self._left = self._left[:_FRESH], self._left[_FRESH:]
                        worker = Worker(chunk, Path(tempfile.mkdtemp(dir=place)), bases)
                        at_work[worker.descriptor] = worker
                    ready, _, _ = select.select(list(at_work), [], [], 1)
                    for worker in list(at_work.values()):
                        if worker.descriptor in ready:
                            if not self._heard(worker):
                                del at_work[worker.descriptor]
                        elif worker.hangs():
                            self._gone(worker, "hung, and was ended", kill=True)
                            del at_work[worker.descriptor]
                    self._show()
            finally:
                for worker in at_work.values():
                    worker.end()
        return Outcome(self._total, self.runs, self.statuses, self.slowest, self.largest, self.violations)

    def _heard(self, worker: Worker) -> bool:
        """Take in what a worker says; whether it goes on."""
        lines = worker.lines()
        if lines is None:
            self._gone(worker, "the process died", kill=False)
            return False
        for line in lines:
            if len(line) == 3:
                worker.now = (line[0], tuple(line[1]), line[2])
                worker.seeds = [seed for seed in worker.seeds if seed >= line[0]]
            elif worker.now is not None:
                self._ended(worker.now, *line)
                worker.now = None
        return True

    def _ended(
        self, now: Tuple[int, Tuple[str, ...], List[str]], status: Optional[int], what: Optional[str], seconds: float,
        memory: int,
    ) -> None:  # fmt: skip
        seed, command, damage = now
        self.runs += 1
        if status is not None:
            self.statuses[status] = self.statuses.get(status, 0) + 1
        self.slowest, self.largest = max(self.slowest, (seconds, seed)), max(self.largest, (memory, seed))
        if what is not None:
            self._found(Violation(seed, command, what, damage))

    def _gone(self, worker: Worker, why: str, *, kill: bool) -> None:
        """A worker has ended, or is to; what it has left goes to another."""
        if worker.now is not None:
            seed, command, damage = worker.now
            self._found(Violation(seed, command, why, damage))
            self._left += [other for other in worker.seeds if other > seed]
        if not worker.end(kill) and worker.now is None:
            self._found(Violation(worker.seeds[0], (), f"{why}, between two commands", []))
            self._left += worker.seeds[1:]

    def _found(self, violation: Violation) -> None:
        self.violations.append(violation)
        if self._progress is not None:
            print(violation, file=self._progress, flush=True)

    def _show(self) -> None:
        if self._progress is not None and time.monotonic() - self._shown > 60:
            self._shown = time.monotonic()
            print(f"{self.runs:,} runs, {len(self.violations)} violations", file=self._progress, flush=True)
