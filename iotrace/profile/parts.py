"""A file, or a part of one, as the rows of a profile: what the collector makes and the writer adds up."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional, Tuple

from iotrace.profile.model import MAX_COUNTER, Histogram


class Edges(NamedTuple):
    """What is at the ends of a part, needed to add it to the parts before and after it."""

    order: int  # parts of a file are added up in this order
    generation: int = 0  # of its inode, whose number may have been used before
    first_write: int = 0  # offset of the first write, plus one; 0: none
    last_write: int = 0
    first_sync: int = 0  # bytes that the first sync covered, plus one; 0: none
    changes: int = 0  # of names, which the part had seen already: see `Writer.change`


class Part(NamedTuple):
    """A file, or a part of one, as its rows."""

    columns: Tuple[Any, ...]  # of `file`, without the id
    by_syscall: str
    edges: Edges

    @property
    def path(self) -> bytes:
        """The file's, as of its first traced I/O."""
        path: bytes = self.columns[1]
        return path


def encode(table: Histogram) -> Optional[str]:
    """A histogram as JSON: what `json.dumps` makes of it, in a third of the time."""
    if not table:
        return None
    if len(table) == 1:
        ((key, count),) = table.items()
        return f'{{"{key}":{count}}}'
    return "{" + ",".join([f'"{key}":{count}' for key, count in sorted(table.items())]) + "}"


def signed(inode: int) -> int:
    """An inode number as SQLite's signed 64 bits: NFS and FUSE use the upper half too."""
    return inode if inode <= MAX_COUNTER else inode - (1 << 64)
