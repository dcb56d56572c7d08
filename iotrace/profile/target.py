"""Where a profile goes: to its place, or, if that cannot be, to a place that is named."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from typing import List, Optional

from iotrace import atomic
from iotrace.atomic import Fresh
from iotrace.errors import Failure, UserError
from iotrace.places import PathLike, Place, numbered, spares
from iotrace.profile.schema import APPLICATION_ID

_CHUNK = 1 << 24  # bytes copied at a time
_FULL = (errno.ENOSPC, errno.EDQUOT)


def _begins(head: bytes) -> bool:
    return head.startswith(b"SQLite format 3\0") and head[68:72] == struct.pack(">I", APPLICATION_ID)


PROFILE = atomic.Kind("a profile of iotrace", _begins)


class Source:
    """The file of which the profile becomes a copy. It has no name, so its space is free once it is closed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = os.dup(descriptor)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._descriptor)

    def become(self, descriptor: int) -> None:
        """From now on it is another file with the same content."""
        os.dup2(descriptor, self._descriptor, inheritable=False)

    def copy_to(self, descriptor: int) -> None:
        """Copy everything to an empty file. Raises OSError."""
        size, done = os.fstat(self._descriptor).st_size, 0
        while done < size:
            more = os.sendfile(descriptor, self._descriptor, done, min(_CHUNK, size - done))
            if more == 0:
                raise OSError(errno.EIO, "what was written cannot be read")
            done += more


class Target:
    """Where a profile is to be, and where it is in the end."""

    path: str
    """Where it should be; once it has been written, where it is."""
    trouble: Optional[str]
    """Why it is not where it should be, in words for the user, if it is somewhere else."""

    def __init__(self, path: PathLike, *, force: bool = False, own_name: bool = False, elsewhere: bool = False) -> None:
        """`force` replaces a profile that is there. With `own_name` the name was made up, so that it gets a number
        if it is taken. With `elsewhere` it goes to a spare place if it cannot be written there. Raises UserError."""
        self.path, self.trouble = os.fsdecode(path), None
        self._force, self._own_name, self._elsewhere = force, own_name, elsewhere
        try:
            self._place = Place(path, follow=not own_name)
        except OSError as error:
            raise UserError(f"{self.path}: the current directory: {error.strerror}") from None

    def check(self) -> None:
        """Check before a run whether the profile can be written after it. Raises UserError."""
        if not self._own_name:
            atomic.check(self._place, PROFILE, force=self._force)
            return
        first: Optional[UserError] = None
        for place in self.places():
            try:
                atomic.check(place, None)
                return
            except UserError as error:
                first = first or error
        assert first is not None
        raise first

    def places(self) -> List[Place]:
        """Where it may go, best first."""
        name = os.path.basename(self._place.shown)
        others = spares() if self._elsewhere else []
        return [self._place, *(Place(os.path.join(directory, name), follow=False) for directory in others)]

    def put(self, source: Source) -> None:
        """Have it written. Raises Failure, UserError."""
        place, *others = self.places()
        try:
            self._put(place, source)
            return
        except UserError as error:
            if not others:
                raise
            trouble, full = str(error), False
        except OSError as error:
            trouble, full = f"{place.shown}: {error.strerror or error}", error.errno in _FULL
        for other in others:
            with contextlib.suppress(OSError, UserError), other.opened() as spot, Fresh(spot.directory) as fresh:
                source.copy_to(fresh.descriptor)
                if full:  # by the source, it may be, which has stood there until now
                    source.become(fresh.descriptor)
                    with contextlib.suppress(OSError, UserError):
                        self._put(place, source)
                        return
                self.path = _named(other, fresh, spot.name)
                self.trouble = trouble
                return
        raise Failure(f"{trouble}; profile not written")

    def _put(self, place: Place, source: Source) -> None:
        with place.opened() as spot, Fresh(spot.directory) as fresh:
            source.copy_to(fresh.descriptor)
            if self._own_name:
                self.path = _named(place, fresh, spot.name)
                return
            fresh.publish(spot.name, lambda: atomic.replaceable(spot, PROFILE, place.shown, force=self._force))


def _named(place: Place, fresh: Fresh, name: bytes) -> str:
    """Publish it under a name that is free; its path."""
    for candidate in numbered(name):
        with contextlib.suppress(FileExistsError):
            fresh.publish(candidate)
            return os.path.join(os.path.dirname(place.shown), os.fsdecode(candidate))
    raise FileExistsError(errno.EEXIST, "too many profiles of this name")
