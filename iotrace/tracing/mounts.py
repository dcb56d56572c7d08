"""What is mounted in a mount namespace, to tell whether a path may lead to something else than the file it was.

A file keeps its dentry and its name when something is mounted over it, or over a directory above it. Its path leads to
what was mounted then.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import Dict, Optional, Tuple


class Mounts:
    """What is mounted in a namespace now."""

    def __init__(self, pid: Optional[int]) -> None:
        """`pid` is a process that is in the namespace. Without one, nothing is known to be mounted there."""
        self._points: Dict[bytes, Tuple[bytes, bytes]] = {}  # path -> device and root of what is mounted there
        self._on: Dict[bytes, Tuple[bytes, bytes]] = {}  # the same for directories
        with contextlib.suppress(OSError, ValueError):
            for line in [] if pid is None else _read(f"/proc/{pid}/mountinfo").splitlines():
                _id, _parent, device, root, point, *_ = line.split(b" ")
                self._points[_unescaped(point)] = device, root  # a later one covers an earlier one

    def may_hide(self, path: bytes, device: bytes) -> bool:
        """Whether `path` leads through a mount of another file system than `device`, or to some place within one."""
        if path in self._points:
            return True
        on, root = self._over(os.path.dirname(path))
        return bool(on) and (on != device or root != b"/")

    def _over(self, directory: bytes) -> Tuple[bytes, bytes]:
        passed = []
        while directory not in self._on:
            if directory in self._points or directory in (b"/", b""):
                self._on[directory] = self._points.get(directory, (b"", b""))
                break
            passed.append(directory)
            directory = os.path.dirname(directory)
        found = self._on[directory]
        self._on.update((each, found) for each in passed)
        return found


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def _unescaped(text: bytes) -> bytes:
    """A path as mountinfo has it: space, tab, newline and backslash are octal numbers."""
    return re.sub(rb"\\(\d{3})", lambda match: bytes([int(match.group(1), 8)]), text)
