"""Processes that assemble, one for each half of a plan, where there are two CPUs for them.

They are forked before anything is known of the kernel, while this process has no threads, and import what assembles
while this one asks the kernel. They get what that is, answer with what they have made, and are gone. Whatever goes
wrong with them, this process can assemble itself.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import socket
from dataclasses import asdict
from typing import Dict, Optional

from iotrace.forked import Forked, receive, send
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
            self._workers = {half: self._stack.enter_context(_worker(half)) for half in plan.HALVES}
        except BaseException:
            self._stack.close()
            raise

    def ask(self, order: plan.Order) -> None:
        """Have all forms assembled, a half of them by each."""
        request = asdict(order.kernel), asdict(order.options), order.preallocate, order.raw
        for worker in self._workers.values():
            with contextlib.suppress(OSError):  # which the answer shows
                send(worker.socket, request)

    def answer(self, half: str) -> Optional[Dict[str, Optional[plan.Form]]]:
        """The forms of a half by their names in `plan`, once they are there; None if something went wrong."""
        raw = self._workers[half].answer()
        try:
            return None if raw is None else {name: form and plan.form_of(form) for name, form in raw.items()}
        except (ValueError, TypeError):
            return None

    def __enter__(self) -> Assemblers:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()


def _worker(half: str) -> Forked:
    return Forked(lambda connection: _serve(connection, half), _PATIENCE)


def _serve(connection: socket.socket, half: str) -> None:
    """In the child: nothing of what this process has open is kept."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd != connection.fileno():
            with contextlib.suppress(OSError):  # that of the directory itself
                os.close(fd)
    from iotrace.kernel import assembly  # noqa: PLC0415 - while the other process does something else

    request = receive(connection)
    if not request:  # nobody wants anything
        return
    kernel, options, preallocate, raw = marshal.loads(request)
    made = assembly.assemble(plan.Order(plan.kernel_of(kernel), Options(**options), preallocate, raw), half)
    send(connection, {name: form and plan.form_as_tuple(form) for name, form in made.items()})
