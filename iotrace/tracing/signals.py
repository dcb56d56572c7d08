"""What wakes a run from its wait: signals that end it, the end of its command, another thread."""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType
from typing import Any, Dict, List, Optional

ENDING = (signal.SIGINT, signal.SIGTERM)


class Wakeup:
    """Something that `select` waits for, and the reasons to end that it brings; a context manager."""

    def __init__(self) -> None:
        self.signals: List[int] = []  # that ask for the end
        self.stopped = False

    def fileno(self) -> int:
        """Readable when somebody has woken us."""
        return self._reader

    def clear(self) -> None:
        """Take what the wakers left, as it would end every later wait at once."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)

    def stop(self) -> None:
        """Have the run end; any thread may call it."""
        self.stopped = True
        self.wake()

    def wake(self) -> None:
        """Have the loop look around; any thread may call it."""
        with contextlib.suppress(BlockingIOError):  # it is full, and so readable
            os.write(self._writer, b"!")

    def __enter__(self) -> Wakeup:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._reader)
        os.close(self._writer)


class Signals(Wakeup):
    """The same, woken by signals: those in ENDING are noted instead of ending this process, and the end of a child
    wakes. For the main thread of a process that does nothing else."""

    def __enter__(self) -> Signals:
        super().__enter__()
        self._before: Dict[int, Any] = {number: signal.signal(number, self._note) for number in ENDING}
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        self._old = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        return self

    def __exit__(self, *error: object) -> None:
        signal.set_wakeup_fd(self._old)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        super().__exit__(*error)

    def _note(self, number: int, _frame: Optional[FrameType]) -> None:
        self.signals.append(number)


def from_terminal(number: int) -> bool:
    """Whether the command has had the signal itself: Ctrl-C goes to the whole foreground process group."""
    if number != signal.SIGINT:
        return False
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
