"""The command that a run starts: forked at once, and released when everything is ready to trace it."""

from __future__ import annotations

import errno
import os
import signal
import struct
from typing import Callable, List, Optional

from iotrace.errors import CommandError, UserError

_ERROR = struct.Struct("<i")


class Command:
    """A command that is forked at once and waits until `release`: its first system call is the exec."""

    def __init__(self, argv: List[str], user: Optional[str] = None) -> None:
        """Fork the process that will become the command. Raises UserError for a user that does not exist."""
        become = _become(user)
        go_read, self._go = os.pipe()
        self._failed, failed_write = os.pipe()
        self.argv = argv
        self.status: Optional[int] = None
        self.released = False
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._go)
            os.close(self._failed)
            _child(argv, become, go_read, failed_write)
        os.close(go_read)
        os.close(failed_write)

    def release(self) -> None:
        """Let it exec. Raises CommandError."""
        self.released = True
        os.write(self._go, b"!")
        os.close(self._go)
        problem = os.read(self._failed, _ERROR.size)
        os.close(self._failed)
        if not problem:
            return
        self.wait()
        number = _ERROR.unpack(problem)[0]
        raise CommandError(f"cannot run {self.argv[0]}: {os.strerror(number)}", found=number != errno.ENOENT)

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


def _child(argv: List[str], become: Callable[[], None], go: int, failed: int) -> None:
    """In the child: wait, then exec. Nothing between the two may touch a file, as it would be counted."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        become()
        if os.read(go, 1):
            os.execvp(argv[0], argv)
    except OSError as error:
        os.write(failed, _ERROR.pack(error.errno or 0))
    finally:
        os._exit(127)
