"""The errors that end a command with one line on standard error instead of a traceback.

A message says what happened, on what, and what to do about it. It need not be escaped: `iotrace.cli` makes
whatever it prints safe for a terminal.
"""

from __future__ import annotations

import os


class IotraceError(Exception):
    """What every error meant for the user derives from; `status` is the exit status it leads to."""

    status = 1


class Failure(IotraceError):
    """Something went wrong although the request was good: the kernel refused, the disk is full. Exit status 1."""


class CommandError(Failure):
    """The command of a run cannot be executed. Exit status as in a shell: 127 if there is no such program, else 126."""

    def __init__(self, message: str, *, found: bool) -> None:
        super().__init__(message)
        self.status = 126 if found else 127


class UserError(IotraceError):
    """The request itself cannot be served: a wrong option, a file that is not a profile. Exit status 2."""

    status = 2


def words(error: Exception) -> str:
    """What an error says, as a part of a message: of one of the system's, on what and why, without its number."""
    if not isinstance(error, OSError) or type(error).__str__ is not OSError.__str__ or not error.strerror:
        return str(error)
    named = isinstance(error.filename, (str, bytes))
    return f"{os.fsdecode(error.filename)}: {error.strerror}" if named else error.strerror
