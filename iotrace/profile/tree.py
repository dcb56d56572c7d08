"""The tree of directories of a profile's files, as a browser shows it: of each the sums of all that is below.

Directories are kept as long as they fit, and files of each by their names and sums. What does not fit is summed in the
directory that it is in: a profile comes from anybody, and its paths may be long, deep and many.
"""

from __future__ import annotations

import itertools
from operator import add
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

from iotrace.profile.rows import FileRow, Marks, Sums

MEMORY = 110 << 20
"""Bytes that all nodes may take together: 250,000 files with names of usual length."""

DEPTH = 64  # of directories: deeper ones are in one that has all the other names
_DIRECTORY, _FILE = 900, 430  # bytes, as measured, besides the name

NOTHING: Tuple[int, ...] = (0,) * len(Sums._fields)


def shared_directory(a: bytes, b: bytes) -> bytes:
    """The directory that two directories share."""
    if b.startswith(a + b"/"):
        return a
    names = zip(a.split(b"/"), b.split(b"/"))
    return b"/".join([name for name, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], names)])


class Leaf(NamedTuple):
    """A file in a directory."""

    name: bytes
    row: Tuple[int, ...]  # Sums
    marks: Marks
    mnt_ns: int
    host: str


class Directory:
    """A directory, or what stands for one."""

    __slots__ = ("directories", "files", "leaves", "name", "others", "parent", "sums", "unlisted")

    def __init__(self, name: bytes, parent: Optional[Directory]) -> None:
        self.name, self.parent = name, parent
        self.directories: Dict[bytes, Directory] = {}
        self.leaves: List[Leaf] = []
        self.unlisted = 0  # files for which there was no room
        self.others: Tuple[int, ...] = NOTHING  # their sums
        self.files = 0  # in it and below
        self.sums: Tuple[int, ...] = NOTHING  # of these

    @property
    def path(self) -> bytes:
        """Absolute."""
        names: List[bytes] = []
        at: Optional[Directory] = self
        while at is not None and at.parent is not None:
            names.append(at.name)
            at = at.parent
        return b"/" + b"/".join(reversed(names))

    def path_of(self, leaf: Leaf) -> bytes:
        """That of a file in it."""
        return self.path.rstrip(b"/") + b"/" + leaf.name


class Tree:
    """All directories of the rows of a profile."""

    def __init__(self, rows: Iterable[FileRow], memory: int = MEMORY) -> None:
        """Rows in order of path take the least time. Raises what the rows raise."""
        self.root = Directory(b"", None)
        self._left = memory
        self.hosts: Set[str] = set()  # the first two
        last, home, prefix = b"", self.root, b""
        for row in rows:
            directory, _, name = row.path.rpartition(b"/")
            if directory != last:
                last, (home, prefix) = directory, self._find(directory)
            self._put(home, prefix + name, row)
            if len(self.hosts) < 2:
                self.hosts.add(row.host)
        self._add_up()

    def _find(self, directory: bytes) -> Tuple[Directory, bytes]:
        """The directory of that path, or the deepest above it that there is room for, and what is missing."""
        at = self.root
        names = directory.split(b"/")[1:]
        for number, name in enumerate(names):
            found = at.directories.get(name)
            if found is None:
                needed = _DIRECTORY + len(name)
                if number >= DEPTH or self._left < needed:
                    return at, b"/".join(names[number:]) + b"/"
                self._left -= needed
                found = at.directories[name] = Directory(name, at)
            at = found
        return at, b""

    def _put(self, home: Directory, name: bytes, row: FileRow) -> None:
        needed = _FILE + len(name)
        home.files += 1
        home.sums = tuple(map(add, home.sums, row.sums))
        if self._left < needed:
            home.unlisted += 1
            home.others = tuple(map(add, home.others, row.sums))
            return
        self._left -= needed
        home.leaves.append(Leaf(name, row.sums, row.marks, row.mnt_ns, row.host))

    def _add_up(self) -> None:
        """Each directory gets what is below it too."""
        for directory in reversed(list(self.directories())):
            parent = directory.parent
            if parent is not None:
                parent.files += directory.files
                parent.sums = tuple(map(add, parent.sums, directory.sums))

    def directories(self) -> Iterator[Directory]:
        """All of them, each before those that are in it."""
        todo = [self.root]
        while todo:
            found = todo.pop()
            yield found
            todo.extend(found.directories.values())

    def search(self, words: bytes, most: int = 0) -> Iterator[Tuple[Directory, Optional[Leaf]]]:
        """The directories and files whose names have this in them, in any case, at most so many (0: all)."""
        small, found = words.lower(), 0
        for directory in self.directories():
            if small in directory.name.lower() and directory.parent is not None:
                yield directory, None
                found += 1
            for leaf in directory.leaves:
                if small in leaf.name.lower():
                    yield directory, leaf
                    found += 1
                if most and found >= most:
                    return
            if most and found >= most:
                return
