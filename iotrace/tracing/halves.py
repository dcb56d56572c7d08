"""The end of a run with very many files, on two CPUs: another process makes the rows of half of them.

It is forked when tracing has ended, so it has the tables and all that is known of files. What it makes stays in files
without names (`Spool`), which this process opens through /proc: nothing is copied. Whatever goes wrong with it, its
half is made here.
"""

from __future__ import annotations

import contextlib
import gc
import marshal
import os
import signal
import socket
import threading
from typing import Any, Callable, List, NoReturn, Optional, Tuple

MANY = 5000  # files from which on it takes less time than to fork

Work = Callable[[], Tuple[Any, ...]]


def are_useful(files: int) -> bool:
    """Whether there is another CPU for so many files, and no thread that a forked process would lack."""
    return files >= MANY and len(os.sched_getaffinity(0)) > 1 and threading.active_count() == 1


class Helper:
    """The process; a context manager, which ends it."""

    def __init__(self, work: Work) -> None:
        """Fork it: `work` returns what `marshal` takes. Raises OSError where no process may be made."""
        self._socket, theirs = socket.socketpair()
        with theirs:
            try:
                self.pid = os.fork()
            except OSError:
                self._socket.close()
                raise
            if self.pid == 0:
                self._socket.close()
                _serve(theirs, work)

    def result(self) -> Optional[Tuple[Any, ...]]:
        """What `work` has returned; None if it failed. What it has open can be opened until the block ends."""
        pieces: List[bytes] = []
        try:
            while not pieces or pieces[-1]:
                pieces.append(self._socket.recv(1 << 16))
            found = marshal.loads(b"".join(pieces))
        except (OSError, EOFError, ValueError, TypeError):
            return None
        return found if isinstance(found, tuple) else None

    def __enter__(self) -> Helper:
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)  # it has nothing more to do
        self._socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _serve(connection: socket.socket, work: Work) -> NoReturn:
    """In the child: signals are for the other process, which ends this one."""
    try:
        gc.disable()  # it would write to every page that the two share
        signal.set_wakeup_fd(-1)
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        connection.sendall(marshal.dumps(work()))
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)  # nothing comes: until the other has opened what it wants, or is gone
    finally:
        os._exit(0)
