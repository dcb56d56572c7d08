"""Parts of a profile on disk before there is a database: appended to files that have no name.

A database on a disk that fills up is lost. Here what has been written stays, and what comes next goes to another place,
or stays in memory where there is none.
"""

from __future__ import annotations

import contextlib
import marshal
import os
from typing import Iterator, List, Optional, Sequence, Tuple

from iotrace.atomic import Fresh
from iotrace.errors import UserError
from iotrace.places import Place
from iotrace.profile.parts import Edges, Part


class Spool:
    """Batches of parts, in the order in which they came; `close` gives them up."""

    def __init__(self, places: Sequence[Place]) -> None:
        """The files are in the directories of `places`, the first that has room."""
        self._left = list(places)
        self._files = contextlib.ExitStack()
        self._open: Optional[int] = None  # the descriptor of the one that is written to
        self._end = 0  # of that
        self._batches: List[Tuple[int, int, int]] = []  # descriptor, offset, bytes
        self._kept: List[bytes] = []  # in memory

    def close(self) -> None:
        """Free their room; twice does nothing."""
        self._files.close()

    def add(self, parts: Sequence[Part]) -> None:
        """Append a batch."""
        raw = marshal.dumps([(part.columns, part.by_syscall, tuple(part.edges), part.series) for part in parts])
        while self._open is None or not self._append(self._open, raw):
            if not self._left:
                self._kept.append(raw)
                return
            with contextlib.suppress(OSError, UserError), self._left.pop(0).opened() as spot:
                fresh = self._files.enter_context(Fresh(spot.directory))
                fresh.vanish()
                self._open, self._end = fresh.descriptor, 0

    def _append(self, descriptor: int, raw: bytes) -> bool:
        """Whether there was room; else this file is not written to any more."""
        done, data = 0, memoryview(raw)
        try:
            while done < len(data):
                done += os.pwrite(descriptor, data[done:], self._end + done)
        except OSError:
            self._open = None
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, self._end)
            return False
        self._batches.append((descriptor, self._end, len(raw)))
        self._end += len(raw)
        return True

    def places(self) -> List[Tuple[int, int, int]]:
        """Where its batches are: descriptor, offset, bytes. Raises OSError if there was no room on disk for one."""
        if self._kept:
            raise OSError("a part is in memory")
        return self._batches

    def adopt(self, pid: int, places: Sequence[Tuple[int, int, int]]) -> None:
        """Append batches of another process, which has them where its `places` says. Raises OSError, and takes none."""
        with contextlib.ExitStack() as stack:
            opened = {}
            for descriptor in {descriptor for descriptor, _, _ in places}:
                opened[descriptor] = os.open(f"/proc/{pid}/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
                stack.callback(os.close, opened[descriptor])
            self._batches += [(opened[descriptor], offset, size) for descriptor, offset, size in places]
            self._files.push(stack.pop_all())

    def batches(self) -> Iterator[List[Part]]:
        """All of them. Raises OSError."""
        for descriptor, offset, size in self._batches:
            raw = os.pread(descriptor, size, offset)
            if len(raw) < size:
                raise OSError(f"{size - len(raw)} bytes are missing")
            yield _parts(raw)
        yield from map(_parts, self._kept)


def _parts(raw: bytes) -> List[Part]:
    return [Part(columns, calls, Edges(*edges), series) for columns, calls, edges, series in marshal.loads(raw)]
