"""Standard streams as they may come: closed, on a terminal that has gone, or a pipe that nobody reads any more.

What iotrace has to say on standard error is never worth a profile or an exit status: what cannot be written there is
dropped. Standard output is what other commands are for, so a failure to write it is an error as usual.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any


class _Dropping(io.RawIOBase):
    """Standard error's descriptor; what cannot be written is dropped, and nothing is tried again."""

    _gone = False

    def fileno(self) -> int:
        return 2

    def isatty(self) -> bool:
        return os.isatty(2)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        size = len(data)
        done = 0
        while done < size and not self._gone:
            try:
                done += os.write(2, data[done:])
            except BlockingIOError:
                break  # somebody has set O_NONBLOCK, and the pipe is full
            except BaseException as error:
                self._gone = (
                    True  # who waited in vain for a reader, and was interrupted, does not wait again at the exit
                )
                if not isinstance(error, OSError):
                    raise
        return size


def prepare() -> None:
    """Make the standard streams safe to use; call it before any file is opened.

    A descriptor that is closed is taken by something that cannot be written (or read), since the next file opened would
    get its number. It is closed again where the command of a run begins.
    """
    for number, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, flags | os.O_CLOEXEC)  # the lowest number that is free, which is this one
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Dropping()), encoding=encoding, errors="backslashreplace", line_buffering=True
    )


def columns_of_terminal() -> int:
    """How wide the terminal is, as shutil.get_terminal_size has it, which imports every kind of compression."""
    with contextlib.suppress(KeyError, ValueError):
        columns = int(os.environ["COLUMNS"])
        if columns > 0:
            return columns
    with contextlib.suppress(AttributeError, ValueError, OSError):
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80  # type: ignore[union-attr,unused-ignore]
    return 80
