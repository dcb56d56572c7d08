"""Work that is done in a process of its own."""

from __future__ import annotations

import os
from typing import Callable


def in_child(work: Callable[[], None]) -> None:
    """Do the work in a child of this process, and wait for it."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
