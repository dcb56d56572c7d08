"""Where a file is to be written: a directory that is held open, and a name in it.

A path is walked name by name, so that nobody can plant a symbolic link on the way. In a directory that others can write
to, as /tmp, a link is followed only if root or this user owns it. That is what fs.protected_symlinks has the kernel do
for the last name of a path (`may_follow_link` in fs/namei.c), here for every name, and wherever it is switched off.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import weakref
from typing import Callable, Iterator, List, NamedTuple, Union

from iotrace.errors import UserError

PathLike = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]

_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_GO = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_MOST_LINKS = 40  # as in the kernel


class Spot(NamedTuple):
    """A name in a directory; "." where the path is that of a directory."""

    directory: int  # a descriptor, of O_PATH
    name: bytes


class Place:
    """The path of a file to be written, which is walked anew each time. It means the same after a change of directory.

    A path that leads through a link which is not trusted is a UserError; every other problem is an OSError.
    """

    shown: str
    """The path as it was given."""

    def __init__(self, path: PathLike, *, follow: bool = True) -> None:
        """Without `follow` a link as the last name is not followed: it stands for itself.

        Raises OSError if there is no current directory to which the path would be relative.
        """
        self.shown, self._follow = os.fsdecode(path), follow
        self._path = os.fsencode(path)
        if not self._path.startswith(b"/"):
            self._base = os.open(b".", _GO)
            weakref.finalize(self, os.close, self._base)

    @contextlib.contextmanager
    def opened(self, approved: Callable[[os.stat_result], bool] = lambda _: True) -> Iterator[Spot]:
        """Walk to the directory of the file, and hold it open within the block.

        PermissionError if a directory or a link on the way is not `approved`, the directory of the file included.
        """
        walk = _Walk(self.shown, os.open(b"/", _GO) if self._path.startswith(b"/") else os.dup(self._base), approved)
        try:
            yield walk.to(self._path, self._follow)
        finally:
            os.close(walk.here)


class _Walk:
    """On the way; `here` is a descriptor of the directory that has been reached."""

    def __init__(self, shown: str, here: int, approved: Callable[[os.stat_result], bool]) -> None:
        self._shown = shown
        self._approved = approved
        self.here = here

    def to(self, path: bytes, follow: bool) -> Spot:
        if not path:
            raise UserError("the name of a file cannot be empty")
        self._check(self.here)
        ahead, links = _names(path), 0
        while ahead:
            name, last = ahead.pop(0), not ahead
            try:
                found = os.open(name, _LOOK, dir_fd=self.here)
            except FileNotFoundError:
                if last:
                    return Spot(self.here, name)
                raise
            try:
                kind = os.fstat(found).st_mode
                if stat.S_ISLNK(kind) and (follow or not last):
                    links += 1
                    if links > _MOST_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                    ahead = self._follow(name, found) + ahead
                elif stat.S_ISDIR(kind):
                    found = self._enter(found)
                elif last:
                    return Spot(self.here, name)
                else:
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            finally:
                os.close(found)
        return Spot(self.here, b".")

    def _check(self, descriptor: int) -> os.stat_result:
        state = os.fstat(descriptor)
        if not self._approved(state):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return state

    def _enter(self, directory: int) -> int:
        """Be there; the descriptor of where we were."""
        self._check(directory)
        before, self.here = self.here, directory
        return before

    def _follow(self, name: bytes, link: int) -> List[bytes]:
        """Where a link leads: the names that it stands for. One of proc's leads to what no text says."""
        state = self._check(link)
        if is_exposed(os.fstat(self.here)) and state.st_uid not in (0, os.geteuid()):
            raise UserError(
                f"{self._shown}: {os.fsdecode(name)} is a symbolic link of another user's (uid {state.st_uid}) in a "
                "directory that anybody can write to: give the path without it"
            )
        if state.st_dev == _device_of_proc():
            try:
                os.close(self._enter(os.open(name, _GO, dir_fd=self.here)))
            except NotADirectoryError:
                raise UserError(f"{self._shown}: not the name of a file: choose another name") from None
            return []
        text = os.readlink(b"", dir_fd=link)
        if text.startswith(b"/"):
            os.close(self._enter(os.open(b"/", _GO)))
        return _names(text)


def _names(path: bytes) -> List[bytes]:
    """The names in a path, with "." at the end where it can only be that of a directory."""
    names = [name for name in path.split(b"/") if name not in (b"", b".")]
    return [*names, b"."] if path.endswith((b"/", b"/.")) or not names else names


def _device_of_proc() -> int:
    try:
        return os.stat("/proc").st_dev
    except OSError:
        return -1


def is_exposed(directory: os.stat_result) -> bool:
    """Whether users other than its owner can plant something in a directory."""
    return bool(directory.st_mode & stat.S_IWOTH)


def spares() -> List[str]:
    """Directories for what cannot be written where it should be, the best first: TMPDIR, /var/tmp, /tmp."""
    chosen = [os.environ.get("TMPDIR", ""), "/var/tmp", "/tmp"]
    return [place for number, place in enumerate(chosen) if os.path.isabs(place) and place not in chosen[:number]]


def numbered(name: bytes) -> Iterator[bytes]:
    """The name, and then names for what finds it taken: a.iotrace, a-2.iotrace, a-3.iotrace ..."""
    yield name
    stem, dot, kind = name.rpartition(b".")
    stem, ending = (stem, dot + kind) if stem else (name, b"")
    for number in range(2, 1000):
        yield b"%s-%d%s" % (stem, number, ending)
