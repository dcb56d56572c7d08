"""A signal that comes while the interpreter still imports: it ends this process with a word, and not with a traceback.

Nothing has been done by then that would have to be undone.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType
from typing import Any, Dict, Optional

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_before: Dict[int, Any] = {}


def begin() -> None:
    """From now on until `over`. What is ignored, as nohup(1) has it, stays ignored."""
    for number in _ENDING:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            _before[number] = signal.signal(number, _end)


def over() -> None:
    """Signals do what they did before `begin`; twice does nothing."""
    while _before:
        signal.signal(*_before.popitem())


def _end(number: int, _frame: Optional[FrameType]) -> None:
    with suppress(OSError):
        os.write(2, b"iotrace: %s before anything had begun\n" % signal.Signals(number).name.encode())
    os._exit(128 + number)
