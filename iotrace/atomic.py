"""Files that appear whole or not at all, and in the place of nothing that anybody could miss.

What is being written has no name, so that nothing is left behind, however this process ends. At the end it is forced to
disk and given its name, unless there is something of that name already. Only a file of iotrace's own making is
replaced, and only for those who ask for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from typing import BinaryIO, Callable, Iterator, NamedTuple, Optional, Tuple

from iotrace.errors import Failure, UserError
from iotrace.places import PathLike, Place, Spot

PRIVATE = 0o600  # what a profile says is for its owner
_HEAD = 4096  # bytes at either end in which a file must be recognised
_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS)
_RENAMEAT2 = {"x86_64": 316, "aarch64": 276}
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2  # of renameat2, Linux 3.15


class Kind(NamedTuple):
    """A kind of file that may be replaced by another one of its kind."""

    name: str  # as a message has it: "a profile"
    begins: Callable[[bytes], bool]  # whether a file that begins with these bytes is one
    has: Callable[[bytes, bytes], bool] = lambda head, tail: True  # and one that begins and ends with these


class Hidden:
    """A name in a directory that nobody can guess, for what must have one for a moment; a context manager.

    What has it at the end is removed; if this process is killed before, by a shell that waits for either.
    """

    _IN_SHELL = b'rm -f "$0"'

    def __init__(self, directory: int) -> None:
        self._directory = directory
        self.name = b".iotrace-" + os.urandom(8).hex().encode()
        self._waiting, self._signal = 0, -1
        there = 3 if directory != 3 else 4  # before glibc 2.29 a descriptor that stays where it is was closed
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            actions = [
                (os.POSIX_SPAWN_DUP2, reader, 0),
                (os.POSIX_SPAWN_DUP2, directory, there),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ]
            words = [b"sh", b"-c", b"read ended || { cd /proc/self/fd/%d && %s; }" % (there, self._IN_SHELL), self.name]
            # A session of its own, so that what kills this process's group or terminal does not reach it.
            self._waiting = os.posix_spawn("/bin/sh", words, {"PATH": os.defpath}, file_actions=actions, setsid=True)
            self._signal = writer
        except (OSError, NotImplementedError):  # no shell, or no process more: then a kill may leave the name
            os.close(writer)
        finally:
            os.close(reader)

    def __enter__(self) -> bytes:
        return self.name

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove what has the name."""
        removed = False
        with contextlib.suppress(OSError):
            with contextlib.suppress(FileNotFoundError):
                self._remove()
            removed = True
        if self._signal < 0:
            return
        if removed:  # or else the shell tries
            with contextlib.suppress(BrokenPipeError):
                os.write(self._signal, b"\n")
        os.close(self._signal)
        self._signal = -1
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._waiting, 0)

    def _remove(self) -> None:
        os.unlink(self.name, dir_fd=self._directory)


class Fresh:
    """A file in a directory that has no name yet; a context manager, at whose end it is gone unless it was published.

    Where the file system cannot have that (O_TMPFILE: Linux 3.11, not NFS nor FAT), it has a hidden name until then.
    """

    def __init__(self, directory: int, mode: Optional[int] = PRIVATE) -> None:
        """Without `mode` it is the umask's. Raises OSError."""
        self.directory = directory
        self._hidden: Optional[Hidden] = None
        flags = os.O_RDWR | os.O_CLOEXEC
        try:
            self.descriptor = os.open(b".", flags | os.O_TMPFILE, 0o666, dir_fd=directory)
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
            self._hidden = Hidden(directory)
            flags |= os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            try:
                self.descriptor = os.open(self._hidden.name, flags, 0o666, dir_fd=directory)
            except OSError:
                self._hidden.close()
                raise
        if mode is not None:
            with contextlib.suppress(PermissionError):  # FAT has no modes
                os.fchmod(self.descriptor, mode)

    def __enter__(self) -> Fresh:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let it go; twice does nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        self.vanish()

    def vanish(self) -> None:
        """Give up the hidden name too: it can still be written and read, but not be published."""
        if self._hidden is not None:
            hidden, self._hidden = self._hidden, None
            hidden.close()

    def publish(self, name: bytes, allowed: Callable[[], bool] = lambda: False, *, durable: bool = True) -> None:
        """Give it its name, once it is on disk if `durable`. Raises OSError, FileExistsError if the name is taken.

        `allowed` is asked at the last moment whether there may be something that is to be replaced.
        """
        if durable:
            os.fsync(self.descriptor)
        if allowed():
            self._replace(name)
        else:
            self._link(name)
        if durable:
            sync(self.directory)

    def _link(self, name: bytes) -> None:
        try:
            os.link(f"/proc/self/fd/{self.descriptor}", name, dst_dir_fd=self.directory, follow_symlinks=True)
        except FileExistsError:
            raise
        except OSError:
            if self._hidden is None:
                raise
            _rename_to_nothing(self.directory, self._hidden.name, name)  # a file system without hard links

    def _replace(self, name: bytes) -> None:
        if self._hidden is None:
            hidden = Hidden(self.directory)
            try:
                self._link(hidden.name)
            finally:
                self._hidden = hidden
        os.rename(self._hidden.name, name, src_dir_fd=self.directory, dst_dir_fd=self.directory)


def _rename_to_nothing(directory: int, old: bytes, new: bytes) -> None:
    """Rename, but replace nothing."""
    renameat2(directory, old, new, RENAME_NOREPLACE)


def renameat2(directory: int, old: bytes, new: bytes, flag: int) -> None:
    """Rename in a directory as the flag has it. Raises OSError, EINVAL where the file system cannot."""
    number = _RENAMEAT2.get(os.uname().machine, -1)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, directory, old, directory, new, flag) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def sync(directory: int) -> None:
    """Force a directory to disk, if it can be read at all."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replaceable(spot: Spot, kind: Kind, shown: str, *, force: bool) -> bool:
    """Whether something is at a spot that may be replaced. Raises UserError if it may not, OSError."""
    try:
        found = os.open(spot.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=spot.directory)
    except FileNotFoundError:
        return False
    try:
        mode = os.fstat(found).st_mode
        if stat.S_ISDIR(mode):
            raise UserError(f"{shown}: that is a directory")
        if not stat.S_ISREG(mode):
            raise UserError(f"{shown}: not a regular file, so it cannot be replaced; choose another name")
        try:
            head, tail = _both_ends(found)
            recognised = kind.begins(head) and kind.has(head, tail)
        except OSError:
            recognised = False
    finally:
        os.close(found)
    if not recognised:
        raise UserError(f"{shown}: there is a file already that is not {kind.name}: choose another name")
    if not force:
        raise UserError(f"{shown}: there is {kind.name} already: choose another name, or replace it with --force")
    return True


def _both_ends(found: int) -> Tuple[bytes, bytes]:
    """The first and the last bytes of a regular file that was opened by O_PATH."""
    descriptor = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return both_ends(descriptor)
    finally:
        os.close(descriptor)


def both_ends(descriptor: int) -> Tuple[bytes, bytes]:
    """The first and the last bytes of a file, by which it is recognised. Raises OSError."""
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, _HEAD, 0), os.pread(descriptor, _HEAD, max(size - _HEAD, 0))


def check(place: Place, kind: Optional[Kind], *, force: bool = False) -> None:
    """Check whether a file can be written there, before work is done for it. Raises UserError.

    Without `kind` only whether the directory can be written to.
    """
    with refusing(place), place.opened() as spot:
        if kind is not None:
            replaceable(spot, kind, place.shown, force=force)
        try:
            Fresh(spot.directory).close()
        except OSError as error:
            directory = os.path.dirname(place.shown) or "."
            raise UserError(f"{place.shown}: {directory} cannot be written to: {error.strerror}") from None


@contextlib.contextmanager
def refusing(place: Place) -> Iterator[None]:
    """Within the block, a path that does not lead anywhere is a UserError."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{place.shown}: there is no directory {os.path.dirname(place.shown) or '.'}") from None
    except OSError as error:
        raise UserError(f"{place.shown}: {error.strerror or error}") from None


@contextlib.contextmanager
def writing(path: PathLike, kind: Kind, *, force: bool = False, mode: Optional[int] = None) -> Iterator[BinaryIO]:
    """A stream, open for writing, whose content is at `path` when the block has ended well; else nothing has changed.

    Without `mode` the file's mode is the umask's. Raises `UserError` if something is there already, other than a file
    of this kind with `force`; `Failure` for what the system refuses, and for any OSError from the block.
    """
    shown = os.fsdecode(path)
    try:
        with Place(path).opened() as spot:
            replaceable(spot, kind, shown, force=force)
            with Fresh(spot.directory, mode) as fresh:
                with open(fresh.descriptor, "wb", closefd=False) as stream:
                    yield stream
                fresh.publish(spot.name, lambda: replaceable(spot, kind, shown, force=force))
    except OSError as error:
        raise Failure(f"{shown}: not written: {error.strerror or error}") from error


@contextlib.contextmanager
def standard_output() -> Iterator[None]:
    """Turn a failure of standard output into a Failure that names it; a reader that has gone is not a failure."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failure(f"standard output: not written: {error.strerror or error}") from error
