"""Processes that assemble, one for each half of a plan, where there are two CPUs for them.

They are forked before anything is known of the kernel, while this process has no threads, and import what assembles
while this one asks the kernel. They get what that is, answer with what they have made, and are gone. Whatever goes
wrong with them, this process can assemble itself.
"""

from __future__ import annotations

import contextlib
import gc
import marshal
import os
import signal
import socket
from dataclasses import asdict
from typing import Dict, List, NoReturn, Optional

from iotrace.kernel import plan
from programs.facts.kernel import Options

_PATIENCE = 10.0  # seconds, some hundred times what it takes


def are_useful() -> bool:
    """Whether there is more than one CPU for this process."""
    return len(os.sched_getaffinity(0)) > 1


class Assemblers:
    """The processes; a context manager, which ends them."""

    def __init__(self) -> None:
        """Fork them. Raises OSError where no process may be made; this process must not have threads."""
        self._stack = contextlib.ExitStack()
        try:
            self._workers = {half: self._stack.enter_context(_Worker(half)) for half in plan.HALVES}
        except BaseException:
            self._stack.close()
            raise

    def ask(self, order: plan.Order) -> None:
        """Have all forms assembled, a half of them by each."""
        request = marshal.dumps((asdict(order.kernel), asdict(order.options), order.preallocate, order.raw))
        for worker in self._workers.values():
            with contextlib.suppress(OSError):  # which the answer shows
                worker.ask(request)

    def answer(self, half: str) -> Optional[Dict[str, Optional[plan.Form]]]:
        """The forms of a half by their names in `plan`, once they are there; None if something went wrong."""
        try:
            raw = marshal.loads(self._workers[half].answer())
            return {name: form and plan.form_of(form) for name, form in raw.items()}
        except (OSError, EOFError, ValueError, TypeError):
            return None

    def __enter__(self) -> Assemblers:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()


class _Worker:
    """One of them, and the socket to it."""

    def __init__(self, half: str) -> None:
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(_PATIENCE)
        with theirs:
            self._pid = os.fork()
            if self._pid == 0:
                _work(theirs, half)

    def ask(self, request: bytes) -> None:
        self._socket.sendall(request)
        self._socket.shutdown(socket.SHUT_WR)

    def answer(self) -> bytes:
        pieces: List[bytes] = []
        while not pieces or pieces[-1]:
            pieces.append(self._socket.recv(1 << 20))
        return b"".join(pieces)

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)  # it has answered, or is not wanted any more
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _work(connection: socket.socket, half: str) -> NoReturn:
    """In the child: nothing of what this process has open is kept, and no signal for it is heeded."""
    try:
        gc.disable()  # there will not be much, and not for long
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        for fd in map(int, os.listdir("/proc/self/fd")):
            if fd != connection.fileno():
                with contextlib.suppress(OSError):  # that of the directory itself
                    os.close(fd)
        _serve(connection, half)
    finally:
        os._exit(0)


def _serve(connection: socket.socket, half: str) -> None:
    from iotrace.kernel import assembly  # noqa: PLC0415 - while the other process does something else

    pieces: List[bytes] = []
    while not pieces or pieces[-1]:
        pieces.append(connection.recv(1 << 16))
    if len(pieces) == 1:  # nobody wants anything
        return
    kernel, options, preallocate, raw = marshal.loads(b"".join(pieces))
    made = assembly.assemble(plan.Order(plan.kernel_of(kernel), Options(**options), preallocate, raw), half)
    connection.sendall(marshal.dumps({name: form and plan.form_as_tuple(form) for name, form in made.items()}))
