"""A process forked for one answer. Whatever goes wrong with it, there is none, and this process makes it by itself."""

from __future__ import annotations

import contextlib
import gc
import marshal
import os
import signal
import socket
from typing import Any, Callable, List, NoReturn, Optional, TypeVar

Self = TypeVar("Self", bound="Forked")


class Forked:
    """The process, and the socket to it; a context manager, which ends it."""

    def __init__(self, serve: Callable[[socket.socket], None], patience: Optional[float] = None) -> None:
        """Fork it. It runs `serve` with the other end of `socket`, and is gone; this end waits `patience` seconds.

        Raises OSError where no process may be made. This process must not have threads.
        """
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(patience)
        with theirs:
            try:
                self.pid = os.fork()
            except OSError:
                self.socket.close()
                raise
            if self.pid == 0:
                self.socket.close()
                _run(theirs, serve)

    def answer(self) -> Any:
        """What it has given to `send`; None if there is nothing."""
        try:
            return marshal.loads(receive(self.socket))
        except (OSError, EOFError, ValueError, TypeError):
            return None

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.socket.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)  # it has answered, or is not wanted any more
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def send(connection: socket.socket, message: Any) -> None:
    """Send what `marshal` takes, and nothing more. Raises OSError, ValueError."""
    connection.sendall(marshal.dumps(message))
    connection.shutdown(socket.SHUT_WR)


def receive(connection: socket.socket) -> bytes:
    """All that comes until the other end has sent everything. Raises OSError."""
    pieces: List[bytes] = []
    while not pieces or pieces[-1]:
        pieces.append(connection.recv(1 << 20))
    return b"".join(pieces)


def _run(connection: socket.socket, serve: Callable[[socket.socket], None]) -> NoReturn:
    """In the child: signals are for the other process, which ends this one."""
    try:
        gc.disable()  # there will not be much, and it would write to every page that the two share
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGXCPU, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        serve(connection)
    finally:
        os._exit(0)
