"""Run a command under iotrace, under strace, or under both at once so that each sees exactly the same system calls."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Type

from . import gate, strace

ROOT = Path(__file__).resolve().parents[2]
DISK = "/var/tmp"  # a disk file system nearly everywhere, where /tmp may be a tmpfs

# iotrace from this checkout, whatever the working directory and without PYTHONPATH, which the command would inherit.
_IOTRACE = (
    f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); "
    "runpy.run_module('iotrace', run_name='__main__', alter_sys=True)"
)

if TYPE_CHECKING:
    Process = subprocess.Popen[bytes]

Document = Dict[str, Any]
During = Callable[[int], None]  # called with the command's PID while it runs


def iotrace(*arguments: str) -> List[str]:
    """The command line that runs this checkout's iotrace.

    With PRETEND_KERNEL=4.14 in the environment it traces as on that kernel, so that all of these tests hold the old
    path too.
    """
    pretended = os.environ.get("PRETEND_KERNEL")
    options = ["--pretend-kernel", pretended] if pretended and arguments[:1] == ("run",) else []
    return [sys.executable, "-c", _IOTRACE, *options, *arguments]


class HarnessError(Exception):
    """The observers themselves failed; the message holds what they said."""


@dataclass(frozen=True)
class Command:
    """What to run: a program found on PATH with its arguments, started in `cwd`."""

    argv: Sequence[str]
    cwd: Path
    env: Optional[Mapping[str, str]] = None
    during: Optional[During] = None
    timeout: float = 600

    @property
    def resolved(self) -> List[str]:
        """The arguments with the program as a path: the gate does not search PATH."""
        program = shutil.which(self.argv[0])
        if program is None:
            raise HarnessError(f"no such program: {self.argv[0]}")
        return [program, *self.argv[1:]]

    def attend(self, pid: int) -> None:
        """Let the stopped gate go, and do what is to be done while the command runs."""
        os.kill(pid, signal.SIGCONT)
        if self.during is not None:
            self.during(pid)


@dataclass
class Observation:
    """One run: iotrace's exit status and profile, strace's totals, and what the command printed."""

    status: int
    document: Document
    strace: strace.Totals
    stdout: bytes
    stderr: str


def missing(*programs: str) -> Optional[str]:
    """Why a test that needs these programs cannot run here; None if it can."""
    if os.geteuid() != 0:
        return "needs root"
    absent = [name for name in programs if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


def kernel() -> Tuple[int, ...]:
    """The version of this kernel, or of the one that iotrace is to take it for."""
    version = os.environ.get("PRETEND_KERNEL") or os.uname().release
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def admitted(document: Document) -> int:
    """Requests of Linux AIO that iotrace says it has missed."""
    unseen = re.search(r"(\d+) requests were not seen to complete", document["coverage"]["aio"])
    return int(document["lost"]["calls"]) + (int(unseen.group(1)) if unseen else 0)


def export(profile: Path) -> Document:
    """The profile as the JSON document of the public contract."""
    out = subprocess.run(iotrace("export", str(profile), "--format", "json"), stdout=subprocess.PIPE, check=True)
    document: Document = json.loads(out.stdout.decode("utf-8", "surrogateescape"))
    return document


def path_of(file: Mapping[str, Any]) -> bytes:
    """The path of one of the document's files, as bytes."""
    return str(file["path"]).encode("utf-8", "surrogateescape")


class Run:
    """A directory of its own with the gate, the profile and strace's files, and the processes started in it.

    Leaving the context kills what is still running, by PID, and removes the directory.
    """

    def __init__(self, timeout: float = 300) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="observe-", dir=DISK))
        self.directory.chmod(0o755)  # commands may run as another user
        self.profile = self.directory / "profile.iotrace"
        self.trace = self.directory / "trace"
        self._deadline = time.monotonic() + timeout
        self._children: List[Process] = []
        self._gates: List[Path] = []
        self._commands: Dict[int, str] = {}  # PID -> when it was started, which no later process of that number shares

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        for child in self._children:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # each leads a session of its own
            child.wait()
        for pid, born in self._commands.items():
            if gate.start_time(pid) == born:
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def gate(self) -> str:
        """A new gate's path; each is used once, so that its process can be told by its executable."""
        path = self.directory / f"gate{len(self._gates)}"
        gate.write(path)
        self._gates.append(path)
        return str(path)

    def start(self, name: str, command: Sequence[str], **popen: Any) -> Process:
        """Start a process with its output in NAME.out and NAME.err of the run's directory."""
        with open(self.directory / (name + ".out"), "ab") as out, open(self.directory / (name + ".err"), "ab") as err:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True, **popen
            )
        self._children.append(child)
        return child

    def said(self, name: str) -> str:
        return (self.directory / (name + ".err")).read_text(errors="replace")

    def printed(self, name: str) -> bytes:
        return (self.directory / (name + ".out")).read_bytes()

    def until(self, what: str, condition: Callable[[], Optional[int]], child: Process, name: str) -> int:
        """Poll `condition` until it gives a non-zero number; HarnessError if `child` ends or time runs out before."""
        while True:
            found = condition()
            if found:
                return found
            if child.poll() is not None:
                raise HarnessError(f"{name} exited with {child.returncode} before {what}: {self.said(name)}")
            if time.monotonic() > self._deadline:
                raise HarnessError(f"timed out waiting until {what}")
            time.sleep(0.005)

    def stopped_gate(self, path: str, child: Process, name: str) -> int:
        pid = self.until("its command had started", lambda: gate.stopped(Path(path)), child, name)
        self._commands[pid] = gate.start_time(pid)
        return pid

    def attach_strace(self, pid: int, prefix: Optional[Path] = None, follow: bool = True) -> Process:
        """Have strace watch a stopped process and all its descendants from here on."""
        chosen = strace.options(prefix or self.trace)
        tracer = self.start("strace", ["strace", *(chosen if follow else _alone(chosen)), "-p", str(pid)])
        self.until("it had attached", lambda: int(gate.tracer(pid) == tracer.pid), tracer, "strace")
        return tracer

    def finish(self, child: Process, name: str) -> int:
        """Wait for a process; its exit status, 128+N for signal N."""
        try:
            status = child.wait(max(0.1, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise HarnessError(f"{name} did not end: {self.said(name)}") from None
        return status if status >= 0 else 128 - status


def _alone(options: List[str]) -> List[str]:
    """strace's options with one process watched instead of all descendants; the file is then PREFIX itself."""
    return ["--output-separately" if option == "-ff" else option for option in options]


def both(command: Command, options: Sequence[str] = ()) -> Observation:
    """Run the command as `iotrace run OPTIONS -- COMMAND`, watched by strace from its exec on."""
    with Run(command.timeout) as run:
        tool, pid = _under_iotrace(run, command, options)
        tracer = run.attach_strace(pid)
        command.attend(pid)
        status = run.finish(tool, "iotrace")
        run.finish(tracer, "strace")
        return _observation(run, status, strace.parse(run.trace, command.cwd, pid))


def both_by_selector(command: Command, selector: Callable[[int], Sequence[str]]) -> Observation:
    """Watch a command that iotrace did not start: `selector(PID)` gives the options that choose it.

    The command waits in a gate.  iotrace's own command is a second gate: that it has stopped tells that tracing is on,
    and continuing it ends the run.  Neither gate does any file I/O.
    """
    with Run(command.timeout) as run:
        process, pid = _in_a_gate(run, command)
        switch = run.gate()
        tool = run.start("iotrace", iotrace("run", "-o", str(run.profile), *selector(pid), "--", switch))
        waiting = run.stopped_gate(switch, tool, "iotrace")
        tracer = run.attach_strace(pid)
        command.attend(pid)
        run.finish(process, "command")
        run.finish(tracer, "strace")
        os.kill(waiting, signal.SIGCONT)
        return _observation(run, run.finish(tool, "iotrace"), strace.parse(run.trace, command.cwd, pid))


def both_with_strace_inside(command: Command) -> Observation:
    """`iotrace run -- strace COMMAND`: strace's own I/O counts too, so a second strace watches the first."""
    with Run(command.timeout) as run:
        inner, outer = run.directory / "inner", run.directory / "outer"
        tool, pid = _under_iotrace(
            run, replace(command, argv=["strace", *strace.options(inner), *command.resolved]), ()
        )
        tracer = run.attach_strace(pid, outer, follow=False)
        command.attend(pid)
        status = run.finish(tool, "iotrace")
        run.finish(tracer, "strace")
        totals = strace.parse(outer, command.cwd, pid)
        totals.add(strace.parse(inner, command.cwd))
        return _observation(run, status, totals)


def alone(command: Command, options: Sequence[str] = ()) -> Observation:
    """Run the command under iotrace alone, at its natural speed."""
    with Run(command.timeout) as run:
        tool, pid = _under_iotrace(run, command, options)
        command.attend(pid)
        return _observation(run, run.finish(tool, "iotrace"), strace.Totals())


def strace_alone(command: Command) -> strace.Totals:
    """Run the command under strace alone, attached the same way: what proves the yardstick."""
    with Run(command.timeout) as run:
        process, pid = _in_a_gate(run, command)
        tracer = run.attach_strace(pid)
        command.attend(pid)
        status = run.finish(process, "command")
        run.finish(tracer, "strace")
        if status != 0:
            raise HarnessError(f"{command.argv[0]} exited with {status}: {run.said('command')}")
        return strace.parse(run.trace, command.cwd, pid)


def _under_iotrace(run: Run, command: Command, options: Sequence[str]) -> Tuple[Process, int]:
    """Start iotrace with the command in a gate; the tool's process and the stopped command's PID."""
    stop = run.gate()
    arguments = ["run", "-o", str(run.profile), *options, "--", stop, *command.resolved]
    tool = run.start("iotrace", iotrace(*arguments), cwd=command.cwd, env=command.env)
    return tool, run.stopped_gate(stop, tool, "iotrace")


def _in_a_gate(run: Run, command: Command) -> Tuple[Process, int]:
    stop = run.gate()
    process = run.start("command", [stop, *command.resolved], cwd=command.cwd, env=command.env)
    return process, run.stopped_gate(stop, process, "command")


def _observation(run: Run, status: int, totals: strace.Totals) -> Observation:
    if not run.profile.exists():
        raise HarnessError(f"no profile, exit status {status}: {run.said('iotrace')}")
    return Observation(status, export(run.profile), totals, run.printed("iotrace"), run.said("iotrace"))
