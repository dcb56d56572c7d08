"""The command that a run starts: forked at once, and released when everything is ready to trace it.

It begins with what it would have had without iotrace: descriptors, limits, umask, priority, signals that are blocked or
ignored. It is forked before iotrace changes any of that for itself. Two things cannot be handed on as they came, since
the interpreter has replaced them by then: whether SIGPIPE and SIGXFSZ were ignored. Both are at their default for the
command. And the ambient capabilities that only tracing is for stay here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import struct
from typing import Callable, List, Optional

from iotrace.errors import CommandError, Failure, UserError
from pybpf.privileges import Capability
from pybpf.syscalls import lower_ambient

_PROBLEM = struct.Struct("<ii")  # which step failed, and its errno
_BECOMING, _EXECUTING = range(2)
_REPLACED = (signal.SIGPIPE, signal.SIGXFSZ)  # that the interpreter ignores, whatever was before
_OURS = (Capability.BPF, Capability.PERFMON)  # who has them for another purpose does not use iotrace for it


class Command:
    """A command that is forked at once and waits until `release`: its first system call is the exec."""

    def __init__(self, argv: List[str], user: Optional[str] = None, streams: Optional[int] = None) -> None:
        """Fork the process that will become the command. Raises UserError for a user that does not exist.

        `streams` is where its output and errors go, if not where ours do; then it has no input.
        """
        become = _become(user)
        go_read, self._go = os.pipe()
        self._failed, failed_write = os.pipe()
        self.argv = argv
        self._user = user
        self.status: Optional[int] = None
        self.released = False
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._go)
            os.close(self._failed)
            if streams is not None:
                _redirect(streams)
            _child(argv, become, go_read, failed_write)
        os.close(go_read)
        os.close(failed_write)

    def release(self) -> None:
        """Let it exec. Raises CommandError if that fails, and Failure if it could not become its user."""
        self.released = True
        with contextlib.suppress(BrokenPipeError):  # it has ended already: by a signal, or it says why
            os.write(self._go, b"!")
        os.close(self._go)
        problem = os.read(self._failed, _PROBLEM.size)
        os.close(self._failed)
        if not problem:
            return
        self.wait()
        step, number = _PROBLEM.unpack(problem)
        if step == _BECOMING:
            hint = "; it takes root, or CAP_SETUID and CAP_SETGID" if number == errno.EPERM else ""
            raise Failure(f"--user {self._user}: cannot become that user: {os.strerror(number)}{hint}")
        raise CommandError(f"cannot run {self.argv[0]}: {os.strerror(number)}", found=number != errno.ENOENT)

    def doomed(self) -> bool:
        """Whether `release` is going to fail, as far as can be told before: there is no such program, or no such user
        to become."""
        name = self.argv[0]
        places = [name] if "/" in name else [os.path.join(place, name) for place in os.get_exec_path()]
        found = any(os.access(place, os.X_OK) and not os.path.isdir(place) for place in places)
        return not found or bool(select.select([self._failed], [], [], 0)[0])

    def abandon(self) -> None:
        """End it before it has begun."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()
        os.close(self._go)
        os.close(self._failed)

    def poll(self) -> bool:
        """Whether it has ended."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
        return self.status is not None

    def wait(self) -> None:
        """Wait for its end."""
        if self.status is None:
            self.status = os.waitpid(self.pid, 0)[1]

    @property
    def exit_status(self) -> int:
        """As a shell gives it: 128 + N for one that signal N ended."""
        status = self.status or 0
        return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _become(name: Optional[str]) -> Callable[[], None]:
    """What turns a process into one of that user. Raises UserError."""
    if name is None:
        return lambda: None
    import pwd  # noqa: PLC0415 - only needed with --user

    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise UserError(f"--user {name}: there is no such user") from None
    groups = os.getgrouplist(name, user.pw_gid)

    def become() -> None:
        os.setgroups(groups)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        os.environ.update(HOME=user.pw_dir, USER=name, LOGNAME=name)

    return become


def _redirect(streams: int) -> None:
    """Have the standard streams of this process lead there, and nowhere for its input."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in ((0, nowhere), (1, streams), (2, streams)):
        os.dup2(descriptor, number)
    if nowhere > 2:
        os.close(nowhere)


def _child(argv: List[str], become: Callable[[], None], go: int, failed: int) -> None:
    """In the child: wait, then exec. Nothing between the two may touch a file, as it would be counted."""
    step = _BECOMING
    try:
        for number in signal.valid_signals():
            # An exec does so too with what is not ignored, but our handlers are not to run here until then.
            if number in _REPLACED or callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        become()
        for capability in _OURS if os.geteuid() != 0 else ():
            lower_ambient(capability)
        step = _EXECUTING
        if os.read(go, 1):
            os.execvp(argv[0], argv)
    except OSError as error:
        os.write(failed, _PROBLEM.pack(step, error.errno or 0))
    finally:
        os._exit(127)
