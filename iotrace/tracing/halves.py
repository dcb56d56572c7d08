"""The end of a run with very many files, on two CPUs: another process makes the rows of half of them.

It is forked when tracing has ended, so it has the tables and all that is known of files. What it makes stays in files
without names (`Spool`), which this process opens through /proc: nothing is copied. Whatever goes wrong with it, its
half is made here.
"""

from __future__ import annotations

import os
import socket
import threading
from typing import Any, Callable, Optional, Tuple

from iotrace.forked import Forked, send

MANY = 5000  # files from which on it takes less time than to fork


def are_useful(files: int) -> bool:
    """Whether there is another CPU for so many files, and no thread that a forked process would lack."""
    return files >= MANY and len(os.sched_getaffinity(0)) > 1 and threading.active_count() == 1


class Helper(Forked):
    """The process. What it has open can be opened until the block ends."""

    def __init__(self, work: Callable[[], Tuple[object, ...]]) -> None:
        """Fork it: `work` returns what `marshal` takes. Raises OSError where no process may be made."""

        def serve(connection: socket.socket) -> None:
            send(connection, work())
            connection.recv(1)  # nothing comes: until the other has opened what it wants, or is gone

        super().__init__(serve)

    def result(self) -> Optional[Tuple[Any, ...]]:
        """What `work` has returned; None if it failed."""
        found: Optional[Tuple[Any, ...]] = self.answer()
        return found
