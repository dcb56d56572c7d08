"""Directories that appear whole or not at all, and in the place of nothing that anybody could miss.

A directory of files, without directories in it, is made beside its place under a name that nobody can guess. At the end
it is forced to disk and renamed. One that is there already is replaced only if each of its files is of iotrace's own
making, and only for those who ask for it: the two exchange their names, and the old one is removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import BinaryIO, Callable, Iterator, List, NamedTuple

from iotrace.atomic import RENAME_EXCHANGE, RENAME_NOREPLACE, Hidden, both_ends, refusing, renameat2, sync
from iotrace.errors import Failure, UserError
from iotrace.places import PathLike, Place, Spot

_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MANY = 1000  # files: more than a directory of ours has
_NOT_THERE = (errno.EINVAL, errno.ENOSYS)  # what renameat2 says where a file system, or a kernel, cannot


class Kind(NamedTuple):
    """A kind of directory that may be replaced by another one of its kind."""

    name: str  # as a message has it: "an export"
    holds: Callable[
        [str, bytes, bytes], bool
    ]  # whether a file with this name, beginning and end may be one of its files
    has: Callable[[List[str]], bool]  # whether files of these names may be all of them


class _HiddenDirectory(Hidden):
    """The same for a directory with files in it."""

    _IN_SHELL = b'rm -f "$0"/* && rmdir "$0"'

    def _remove(self) -> None:
        opened = os.open(self.name, _READ, dir_fd=self._directory)
        try:
            for name in os.listdir(opened):
                os.unlink(name, dir_fd=opened)
        finally:
            os.close(opened)
        os.rmdir(self.name, dir_fd=self._directory)


class Directory:
    """A directory that is being filled."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._streams: List[BinaryIO] = []

    def create(self, name: str) -> BinaryIO:
        """A new file in it, open for writing until the directory is complete. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        stream = os.fdopen(os.open(name, flags, 0o666, dir_fd=self._descriptor), "wb")
        self._streams.append(stream)
        return stream

    def _finish(self) -> None:
        for stream in self._streams:
            stream.flush()
            os.fsync(stream.fileno())

    def _close(self) -> None:
        for stream in self._streams:
            with contextlib.suppress(OSError):
                stream.close()


@contextlib.contextmanager
def _beside(place: Place) -> Iterator[Spot]:
    """The directory in which the directory is to be, and its name there. Raises UserError, OSError."""
    path = place.shown.rstrip("/")
    above, _, name = path.rpartition("/")
    if name in ("", ".", ".."):
        raise UserError(f"{place.shown}: not the name of a directory that could be made: choose another name")
    with Place(f"{above}/." if "/" in path else ".").opened() as spot:
        yield Spot(spot.directory, os.fsencode(name))


def _replaceable(spot: Spot, kind: Kind, shown: str, *, force: bool) -> bool:
    """Whether a directory is at a spot that may be replaced. Raises UserError if what is there may not, OSError."""
    try:
        mode = os.stat(spot.name, dir_fd=spot.directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(mode):
        raise UserError(f"{shown}: there is something already that is not a directory: choose another name")
    if not _recognised(spot, kind):
        raise UserError(f"{shown}: there is a directory already that is not {kind.name}: choose another name")
    if not force:
        raise UserError(f"{shown}: there is {kind.name} already: choose another name, or replace it with --force")
    return True


def _recognised(spot: Spot, kind: Kind) -> bool:
    try:
        directory = os.open(spot.name, _READ, dir_fd=spot.directory)
    except OSError:
        return False
    try:
        names: List[str] = []
        for name in os.listdir(directory):
            names.append(name)
            if len(names) > _MANY or not _is_file_of(kind, name, directory):
                return False
        return kind.has(names)
    finally:
        os.close(directory)


def _is_file_of(kind: Kind, name: str, directory: int) -> bool:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=directory)
        try:
            return stat.S_ISREG(os.fstat(descriptor).st_mode) and kind.holds(name, *both_ends(descriptor))
        finally:
            os.close(descriptor)
    except OSError:
        return False


def _publish(spot: Spot, hidden: bytes, replace: bool) -> None:
    """Give it its name. If it replaces another, the hidden name is the other's then. Raises OSError."""
    try:
        renameat2(spot.directory, hidden, spot.name, RENAME_EXCHANGE if replace else RENAME_NOREPLACE)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
        if replace:
            raise OSError(
                error.errno, "a directory cannot be replaced on this file system: choose another name"
            ) from None
        # This replaces no file, and no directory that has anything in it.
        os.rename(hidden, spot.name, src_dir_fd=spot.directory, dst_dir_fd=spot.directory)


@contextlib.contextmanager
def writing(path: PathLike, kind: Kind, *, force: bool = False) -> Iterator[Directory]:
    """A directory to be filled, which is at `path` when the block has ended well; else nothing has changed.

    Raises `UserError` if something is there already, other than a directory of this kind with `force`; `Failure` for
    what the system refuses, and for any OSError from the block.
    """
    place = Place(path)
    try:
        with refusing(place), _beside(place) as spot:
            _replaceable(spot, kind, place.shown, force=force)
        with _beside(place) as spot, _HiddenDirectory(spot.directory) as hidden:
            os.mkdir(hidden, dir_fd=spot.directory)
            descriptor = os.open(hidden, _READ, dir_fd=spot.directory)
            try:
                filled = Directory(descriptor)
                try:
                    yield filled
                    filled._finish()
                finally:
                    filled._close()
                sync(descriptor)
            finally:
                os.close(descriptor)
            _publish(spot, hidden, _replaceable(spot, kind, place.shown, force=force))
            sync(spot.directory)
    except OSError as error:
        raise Failure(f"{place.shown}: not written: {error.strerror or error}") from error
