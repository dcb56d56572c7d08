"""Ownership of file descriptors: one object owns one descriptor and closes it exactly once."""

from __future__ import annotations

import fcntl
import os
import weakref
from types import TracebackType
from typing import List, Optional, Type, TypeVar

__all__ = ["Descriptor"]

Self = TypeVar("Self", bound="Descriptor")


class Descriptor:
    """The owner of an open file descriptor, which must have no other owner.

    It is closed by `close`, by leaving a `with` block, or, as a safety net, when the object is collected. Descriptor 0
    is moved away, because bpf(2) reads a 0 in most fields as "none".
    """

    _open: weakref.WeakSet[Descriptor] = weakref.WeakSet()

    def __init__(self, fd: int) -> None:
        if fd < 0:
            raise ValueError(f"not a file descriptor: {fd}")
        if fd == 0:
            fd = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3)
            os.close(0)
        self._fd = fd
        Descriptor._open.add(self)

    def fileno(self) -> int:
        """The number of the descriptor. Raises ValueError once it is closed, as a Python file does."""
        if self._fd < 0:
            raise ValueError(f"{type(self).__name__} is closed")
        return self._fd

    @property
    def closed(self) -> bool:
        """Whether the descriptor has been closed."""
        return self._fd < 0

    def close(self) -> None:
        """Close the descriptor. Closing it again does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            Descriptor._open.discard(self)
            os.close(fd)

    @staticmethod
    def opened() -> List[Descriptor]:
        """Every descriptor that is open now, for a check that nothing is left open."""
        return [descriptor for descriptor in Descriptor._open if not descriptor.closed]

    @staticmethod
    def open_count() -> int:
        """How many of these descriptors are open in this process."""
        return len(Descriptor.opened())

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # A constructor that raised leaves no _fd behind.
        if getattr(self, "_fd", -1) >= 0:
            self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'closed' if self.closed else f'fd {self._fd}'}>"
