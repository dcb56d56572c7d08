"""Tracing from Python: `iotrace.trace`, and the run that it starts."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Generic, Iterable, List, Optional, Sequence, TypeVar, Union

from iotrace.errors import UserError
from iotrace.places import PathLike
from iotrace.profile.target import Target
from iotrace.profile.whose import WHOSE
from iotrace.tracing import output as outputs
from iotrace.tracing import processes
from iotrace.tracing.command import Command
from iotrace.tracing.loop import Loop
from iotrace.tracing.session import Session, Settings
from iotrace.tracing.signals import Wakeup
from iotrace.tracing.snapshots import Snapshot

if TYPE_CHECKING:
    from iotrace.profile.metrics import FileStats
    from iotrace.tracing.glances import Glance

Answer = TypeVar("Answer")
Text = Union[str, bytes]


def trace(
    command: Sequence[str] = (),
    *,
    output: Optional[PathLike] = None,
    force: bool = False,
    pids: Iterable[int] = (),
    comms: Iterable[Text] = (),
    cgroups: Iterable[PathLike] = (),
    everything: bool = False,
    follow: Optional[bool] = None,
    user: Optional[str] = None,
    paths: Iterable[Text] = (),
    excludes: Iterable[Text] = (),
    include_pseudo: bool = False,
    by: str = "",
    duration: Optional[float] = None,
    max_files: int = 0,
    attach: str = "auto",
    light: bool = False,
    interval: Union[float, str, None] = None,
) -> Run:
    """Begin to trace, in a thread, and leave a profile at `output` when the run ends.

    Whom: `command`, which is started, is traced from its first system call; `pids` are running processes, `comms` globs
    of the names of processes that run now or later, `cgroups` directories of cgroups, with what is below them,
    `everything` is all but this process. They add up. `follow` also traces descendants, which is the default for a
    command. `user` is the name of the user that runs the command.

    What: `paths` and `excludes` are globs of the files that are wanted and of those that are not; `include_pseudo`
    has files of proc, sysfs and the like too. With `by`, which is "process", "cgroup" or "user", each file has a record
    for each of those that did I/O on it (`FileStats.who`).

    How: `output` is by default a name in the current directory, which `Run.output` gives. Nothing that is there already
    is replaced, but a profile with `force`. A profile that cannot be written there in the end goes to another place
    (TMPDIR, /var/tmp), which `Run.output` gives too. `duration` is in seconds. `max_files` bounds the kernel memory: so
    many files are counted for at once; 0 is what suits the kernel. `attach` is "raw", "perf", "fentry", or the best of
    them. `light` costs half as much: of reads and writes one in 25 is timed (`SyscallStats.untimed_calls`). With
    `interval`, what each file does in every interval of so many seconds is counted too; "auto" has 200 of
    them at most, which grow with the run.

    Long because of all that can be asked for.

    Everything that happens after it has returned is counted; where this process traces itself, that includes its work
    for the profile. Raises UserError for a request that makes no sense, and Failure for what the kernel refuses:
    without privileges, everything.
    """
    settings = Settings(
        pids=sorted(set(pids)),
        comms=[os.fsencode(name) for name in comms],
        cgroups=[os.path.abspath(os.fsdecode(path)) for path in cgroups],
        by=by,
        everything=everything,
        follow=bool(command) if follow is None else follow,
        attach=attach,
        light=light,
        include_pseudo=include_pseudo,
        max_files=max_files,
        interval=interval if interval is None else 0 if interval == "auto" else round(float(interval) * 1e9) or 1,
        paths=[os.fsencode(glob) for glob in paths],
        excludes=[os.fsencode(glob) for glob in excludes],
    )
    if not (command or settings.pids or settings.comms or settings.cgroups or everything):
        raise UserError("nothing to trace: give a command, pids, comms, cgroups or everything=True")
    if by and by not in WHOSE:
        raise UserError(f"by={by!r}: rows can be apart by {', '.join(WHOSE)}")
    settings.check()
    if user is not None and not command:
        raise UserError("user needs a command to run")
    processes.check(settings.pids)
    target = outputs.target(output, settings, command, force=force)
    return Run(settings, target, list(command), user, duration)


class Run:
    """A run that goes on in a thread of its own until it ends by itself or is stopped.

    It ends with its command, with the last of the processes that were chosen by number, or after its duration. As a
    context manager it is stopped at the end of the block, whatever ends that, and its profile is in place then.
    """

    files: Optional[int]
    """How many files the profile has; None before the end."""

    begun_ns: int
    """When tracing began, by the clock of glances."""
    last_glance: Optional[Glance]
    """What changed between the last glance and the end of the tracing; None before, and in a run without."""

    def __init__(
        self,
        settings: Settings,
        target: Target,
        command: List[str],
        user: Optional[str],
        duration: Optional[float],
        *,
        wait: bool = False,
        kept: bool = True,
        glances: bool = False,
        streams: Optional[int] = None,
    ) -> None:
        """Load the programs and begin; `trace` has checked what is asked for. Raises UserError, Failure.

        `wait` also waits for descendants that outlive the command. Unless the profile is to be `kept`, there is none at
        the end. With `glances` there is a last one, too. `streams` is where the command's output and errors go, and
        then it has no input.
        """
        self._target, self.files, self.last_glance, self._kept = target, None, None, kept
        self._settings = settings
        self._error: Optional[BaseException] = None
        self._looks: List[_Look[Any]] = []
        self._lock = threading.Lock()  # of the list, and of whether it is still served
        self._served, self._glanced = True, glances
        # Not `Thread.join`: once Ctrl-C has interrupted that, the thread counts as ended (3.8 to 3.12).
        self._begun, self._ended = threading.Event(), threading.Event()
        before = time.process_time_ns()
        with contextlib.ExitStack() as stack:
            self._command = Command(command, user, streams) if command else None
            if self._command is not None:
                stack.callback(_abandon, self._command)
            session = stack.enter_context(Session(settings))
            self._wakeup = stack.enter_context(Wakeup())
            loop = stack.enter_context(
                Loop(session, self._wakeup, command=self._command, duration=duration, wait=wait, before=before)
            )
            self._stack = stack.pop_all()
        self._thread = threading.Thread(target=self._work, args=(session, loop), name="iotrace")
        self._thread.start()
        try:
            self._begun.wait()
        except BaseException:  # Ctrl-C
            self.stop()
            raise
        if self._error is not None:
            self.wait()

    def _work(self, session: Session, loop: Loop) -> None:
        """The thread. Everything that a session has is used here alone."""
        try:
            with self._stack:
                try:
                    self.begun_ns = time.monotonic_ns()
                    loop.begin()
                    self._begun.set()
                    self._trace(session, loop)
                finally:
                    self._refuse()
        except BaseException as error:  # raised where it can be seen
            self._error = error
        self._begun.set()
        self._ended.set()

    def _trace(self, session: Session, loop: Loop) -> None:
        from iotrace.profile.writer import Writer  # noqa: PLC0415 - while it traces already

        session.write_to(Writer(self._target))
        if self._glanced:
            session.watch()
        loop.run(lambda: self._serve(session))
        self._serve(session, last=True)
        if self._glanced:
            self.last_glance = session.glance()
        if self._kept:
            self.files = loop.finish()

    @property
    def output(self) -> str:
        """Where the profile is once the run has ended; before, where it is to be."""
        return self._target.path

    @property
    def ended(self) -> bool:
        """Whether the run has ended, and its profile is in place."""
        return self._ended.is_set()

    @property
    def exit_status(self) -> Optional[int]:
        """The command's, as a shell has it: 128 + N if signal N ended it. None without a command, or while it runs."""
        command = self._command
        if command is None or (command.status is None and not (self._ended.is_set() and command.poll())):
            return None
        return command.exit_status

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Wait until the run has ended by itself and its profile is in place; whether it has, after `timeout` seconds.

        Raises Failure if the profile could not be written, or whatever else has gone wrong.
        """
        if not self._ended.wait(timeout):
            return False
        self._thread.join()
        if self._error is not None:
            raise self._error
        return True

    def stop(self) -> None:
        """End the run, and wait for its profile; the command goes on. Raises what `wait` does."""
        with self._lock:
            if self._served:  # or it is ending already, and nobody is there to be woken
                self._wakeup.stop()
        self.wait()

    def snapshot(self) -> Snapshot:
        """What changed since the last snapshot, the first time everything: see `Snapshot`.

        Raises ValueError when the run has ended, and BpfError if the tables cannot be read.
        """
        return self._asked(lambda session: session.snapshot())

    def glance(self) -> Glance:
        """What changed since the last glance, the first time everything, in a few numbers: see `Glance`.

        Raises what `snapshot` does.
        """
        return self._asked(lambda session: session.glance())

    def look(self, path: bytes) -> List[FileStats]:
        """What is known about the files of this path that are in the tables now. Raises what `snapshot` does."""
        return self._asked(lambda session: session.look(path))

    def save(self, output: Optional[PathLike] = None, *, force: bool = False) -> str:
        """Write a profile of all that has been counted so far, while tracing goes on; where it is.

        Raises what `snapshot` does, and what `trace` raises for an output that cannot be.
        """
        words = [] if self._command is None else self._command.argv
        target = outputs.target(output, self._settings, words, force=force)
        self._asked(lambda session: session.save(target, words))
        return target.path

    def _asked(self, question: Callable[[Session], Answer]) -> Answer:
        """What the thread that has the session says."""
        look = _Look(question)
        with self._lock:
            if not self._served:
                raise ValueError("the run has ended: open its profile instead")
            self._looks.append(look)
            self._wakeup.wake()
        return look.result()

    def _serve(self, session: Session, *, last: bool = False) -> None:
        with self._lock:
            looks, self._looks = self._looks, []
            self._served = not last
        for look in looks:
            look.answer(session)

    def _refuse(self) -> None:
        with self._lock:
            looks, self._looks, self._served = self._looks, [], False
        for look in looks:
            look.refuse(ValueError("the run ended before the snapshot was taken"))

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()


class _Look(Generic[Answer]):
    """A question to the thread that has the session, whose answer another thread waits for."""

    def __init__(self, question: Callable[[Session], Answer]) -> None:
        self._question = question
        self._done = threading.Event()
        self._found: List[Answer] = []
        self._error: Optional[Exception] = None

    def answer(self, session: Session) -> None:
        """Ask it."""
        try:
            self._found.append(self._question(session))
        except Exception as error:  # raised where it is waited for
            self._error = error
        self._done.set()

    def refuse(self, error: Exception) -> None:
        """There will be none."""
        self._error = error
        self._done.set()

    def result(self) -> Answer:
        """What was found, once it has been."""
        self._done.wait()
        if not self._found:
            assert self._error is not None
            raise self._error
        return self._found[0]


def _abandon(command: Command) -> None:
    """End a command that has not begun."""
    if command.status is None and not command.released:
        command.abandon()
