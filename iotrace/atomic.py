"""Files that appear whole or not at all: written beside their target, forced to disk, renamed over it."""

from __future__ import annotations

import contextlib
import os
from typing import Iterator, Union

from iotrace.errors import Failure, UserError

PathLike = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]


def _sync(path: bytes, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[str]:
    """The name of an empty temporary file that becomes `path` when the block ends well, and goes when it does not.

    What was at `path` stays until the new file is on disk. A symbolic link is followed. The mode is the umask's.
    Raises `UserError` if something other than a regular file is there, `Failure` for what the system refuses; an
    `OSError` from the block counts as such.
    """
    name, target = os.fsdecode(path), os.path.realpath(os.fsencode(path))
    if os.path.exists(target) and not os.path.isfile(target):
        raise UserError(f"{name}: not a regular file, so it cannot be replaced; choose another name")
    directory = os.path.dirname(target)
    # Short, so that a base name of 255 bytes still works; in the same directory, so that a rename suffices.
    temporary = os.path.join(directory, b".iotrace-" + os.urandom(8).hex().encode())
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
        try:
            yield os.fsdecode(temporary)
            _sync(temporary, os.O_RDONLY)
            os.rename(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise Failure(f"{name}: not written: {error.strerror or error}") from error


@contextlib.contextmanager
def standard_output() -> Iterator[None]:
    """Turn a failure of standard output into a Failure that names it; a reader that has gone is not a failure."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failure(f"standard output: not written: {error.strerror or error}") from error
