"""Rows apart by who does the I/O (`--by`): whom a row of the programs' is of, and what is left of it to be worked out.

A row has counters of its own, while what belongs to the file as such, like the last write, is in the file's record.
"""

from __future__ import annotations

import struct
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

from iotrace.profile.whose import Who
from iotrace.tracing.settings import Settings
from programs.facts.records import FILE_MAPPED, FileState, RowKey
from pybpf.maps import Map

_KEY = struct.Struct("<Q16s")  # RowKey
assert _KEY.size == RowKey.size
_NUMBER = struct.Struct("<Q8x")
_UNSYNCED, _EPOCH, _SYNCS = FileState.unsynced.index, FileState.synced.index, FileState.closes.index


class Row(NamedTuple):
    """A row of a file: its id, and whose it is."""

    id: int
    who: bytes


class Whose:
    """Says in words whose a row is."""

    def __init__(self, settings: Settings) -> None:
        """Raises Failure and UserError where there are no cgroups to be told apart."""
        self._by = settings.by
        self._paths = None
        if self._by == "cgroup":
            from iotrace.kernel import cgroups  # noqa: PLC0415 - most runs do not ask

            self._paths = cgroups.Paths(settings.hierarchy().mounted)

    def learn(self) -> None:
        """Take note of what may be gone soon."""
        if self._paths is not None:
            self._paths.learn()

    def close(self) -> None:
        """Give up what this holds; twice does nothing."""
        if self._paths is not None:
            self._paths.close()

    def of(self, row: Row) -> Who:
        """The process, user or cgroup; one that is gone, and was too short to be seen, by its number."""
        if self._by == "process":
            return Who(self._by, row.who.split(b"\0")[0])
        (number,) = _NUMBER.unpack(row.who)
        if self._paths is None:
            return Who(self._by, number)
        path = self._paths.get(number)
        return Who(
            self._by, b"/.../unresolved:%d" % number if path is None else path.encode("utf-8", "surrogateescape")
        )


def rows(maps: Mapping[str, Map[Any]]) -> Dict[int, List[Row]]:
    """The rows of each file, by the file's id. Raises BpfError."""
    found: Dict[int, List[Row]] = {}
    if "rows" in maps:
        for key, row in maps["rows"].items():
            file_id, who = _KEY.unpack(key)
            found.setdefault(file_id, []).append(Row(int.from_bytes(row, "little"), who))
    return found


def key(file_id: int, row: Row) -> bytes:
    """The RowKey of a row."""
    return _KEY.pack(file_id, row.who)


State = Tuple[int, ...]
"""The words of a FileState."""


def states(file: State, found: List[Tuple[Row, State, int]]) -> List[State]:
    """The states of the rows of a file as if each were a file's, so that their sums are what the file's own would be.

    `found` has each row with its own record and the bytes that it wrote. Of these, what was written since the file's
    last sync is not synced; the rest is, whoever synced it.
    """
    unsynced = [row[_UNSYNCED] if row[_EPOCH] == file[_SYNCS] else 0 for _, row, _ in found]
    _settle(unsynced, file[_UNSYNCED], [written for _, _, written in found])
    whole = []
    for left, (_, row, written) in zip(unsynced, found):
        words = dict(zip(FileState.fields, row))
        words["last_write"], words["seen"] = file[FileState.last_write.index], file[FileState.seen.index]
        words["threads"] = file[FileState.threads.index]
        words["unsynced"], words["synced"] = left, max(written - left, 0)
        words["flags"] = file[FileState.flags.index] & ~FILE_MAPPED | row[FileState.flags.index] & FILE_MAPPED
        whole.append(tuple(words.values()))
    return whole


def _settle(parts: List[int], total: int, most: List[int]) -> None:
    """Makes the parts add up: between CPUs that write and sync at once a few of them may have gone astray."""
    off = total - sum(parts)
    for index in sorted(range(len(parts)), key=lambda index: -most[index]):
        change = min(off, most[index] - parts[index]) if off > 0 else max(off, -parts[index])
        parts[index] += change
        off -= change


def by_row(files: Mapping[int, List[Row]]) -> Dict[int, int]:
    """The file of each row, by their ids."""
    return {row.id: file_id for file_id, found in files.items() for row in found}
