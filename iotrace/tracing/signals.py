"""What wakes a run from its wait: signals that end it, the end of its command, another thread."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from types import FrameType
from typing import Any, Callable, Dict, Iterator, List, Optional

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU)
DELIBERATE = 0.25  # seconds: signals that follow one another faster are one request, as from a key that is held down


class Interrupted(Exception):
    """Somebody does not want to wait for what goes on after the tracing."""


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
    wakes. For the main thread of a process that does nothing else.

    What was ignored before, as nohup(1) has it, stays ignored.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        super().__init__()
        self._clock = clock
        self._last: Optional[float] = None
        self._warn: Optional[Callable[[], None]] = None
        self._impatient: Optional[int] = None  # how many more deliberate signals interrupt; None: however many, none

    def __enter__(self) -> Signals:
        super().__enter__()
        heeded = [number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN]
        self._before: Dict[int, Any] = {number: signal.signal(number, self._note) for number in heeded}
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        self._old = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        return self

    def __exit__(self, *error: object) -> None:
        signal.set_wakeup_fd(self._old)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        super().__exit__(*error)

    @contextlib.contextmanager
    def interruptible(self, warn: Optional[Callable[[], None]] = None) -> Iterator[None]:
        """While this goes on a deliberate signal raises Interrupted; with `warn` the first one calls that instead."""
        self._warn, self._impatient = warn, 1 if warn is not None else 0
        try:
            yield
        finally:
            self._impatient = None

    def _note(self, number: int, _frame: Optional[FrameType]) -> None:
        now, last = self._clock(), self._last
        self._last = now
        if last is not None and now - last < DELIBERATE:
            return
        self.signals.append(number)
        if self._impatient is None:
            return
        if self._impatient and self._warn is not None:
            self._impatient -= 1
            self._warn()
            return
        self._impatient = None  # once is enough: cleaning up is not to be interrupted
        raise Interrupted


def from_terminal(number: int) -> bool:
    """Whether the command has had the signal itself: Ctrl-C and Ctrl-\\ go to the whole foreground process group."""
    if number not in (signal.SIGINT, signal.SIGQUIT):
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
