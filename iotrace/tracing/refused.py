"""Opens that failed, by path and errno: out of the programs' map while tracing, and the most frequent ones in the end.

Whoever is traced can ask for as many paths as he likes, so everything has its bounds: the programs' map, which is
emptied of what is rare when it is half full, and the counts that are kept here. What finds no room is in the totals by
errno all the same, which are counted elsewhere, and what no path has of them is told as a sum.
"""

from __future__ import annotations

import contextlib
import struct
import time
from typing import Any, Dict, List, Mapping, Tuple

from iotrace.profile.failed_opens import FailedOpen, most_frequent
from iotrace.tracing.decoding import errno_name
from programs.facts.records import REFUSED_ADRIFT, REFUSED_CUT, RefusedKey
from pybpf.maps import Map
from pybpf.syscalls import BpfError

_KEY = struct.Struct("<IIQ")  # RefusedKey without its text
_COUNT = struct.Struct("<Q")
_PAUSE = 0.2  # seconds between two looks at the map
_STAY = 1024  # of the most frequent ones, while the map is emptied
_MOST = 16384  # counts that are kept of others
_ROOM = 16 << 20  # bytes of the directories' paths


class Refused:
    """The failed opens of a run."""

    def __init__(self, table: Map[Any]) -> None:
        self._table = table
        self._half = table.max_entries // 2
        self._counts: Dict[bytes, int] = {}  # by RefusedKey
        self._directories: Dict[int, bytes] = {}
        self._room = _ROOM
        self._look_at = 0.0

    def found(self, number: int, path: bytes) -> None:
        """The path of the directory that has this number. The oldest are forgotten where there are very many."""
        self._room += len(self._directories.pop(number, b"")) - len(path)
        self._directories[number] = path
        while self._room < 0:
            self._room += len(self._directories.pop(next(iter(self._directories))))

    def step(self) -> None:
        """Make room in the map if need be. What is counted of a path while it is moved stays in the totals alone."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _PAUSE
        with contextlib.suppress(BpfError):  # it changes faster than it can be read, without batches (5.6)
            self._make_room()

    def _make_room(self) -> None:
        if sum(len(keys) for keys, _ in self._table.blocks()) < self._half * self._table.key_size:
            return
        found = sorted(self._table.items(), key=lambda item: _COUNT.unpack(item[1]), reverse=True)
        self._add(found[_STAY:])
        self._table.delete_all([key for key, _ in found[_STAY:]])

    def _add(self, found: List[Tuple[bytes, bytes]]) -> None:
        counts = self._counts
        for key, raw in found:
            counts[key] = counts.get(key, 0) + _COUNT.unpack(raw)[0]
        if len(counts) > _MOST:
            self._counts = dict(sorted(counts.items(), key=lambda item: item[1])[_MOST // 2 :])

    def read(self) -> None:
        """Take what the map has. To be called once, when tracing has ended."""
        self._add(list(self._table.items()))

    def most(self, totals: Mapping[str, int]) -> List[FailedOpen]:
        """The most frequent ones, and the rest of the `totals` by errno, which were read later."""
        counts: Dict[Tuple[bytes, str, bool], int] = {}
        for key, count in self._counts.items():
            number, marks, directory = _KEY.unpack_from(key)
            what = self._path(key[_KEY.size :], marks, directory), errno_name(number), marks & REFUSED_CUT != 0
            counts[what] = counts.get(what, 0) + count
        return most_frequent(counts, totals)

    def _path(self, text: bytes, marks: int, directory: int) -> bytes:
        """The path that a text stands for, as far as its directory is known."""
        text = text.partition(b"\0")[0]
        above = self._directories.get(directory) if directory else b""
        if above is None or marks & REFUSED_ADRIFT:
            return text
        return above.rstrip(b"/") + (text if text.startswith(b"/") else b"/" + text)


assert _KEY.size == RefusedKey.text.offset
