"""Requests in flight, of Linux AIO and io_uring, as the programs have noted them."""

from __future__ import annotations

from typing import Any, Iterator, List, Mapping, Tuple

from programs.facts.records import NOTE_BUSY, Note, Pending, PendingKey
from pybpf.maps import Array, Map

_WORDS = Note.size // 8


def requests(maps: Mapping[str, Map[Any]]) -> Iterator[Tuple[bytes, bytes]]:
    """PendingKey and Pending of each."""
    yield from maps["pending"].items()
    for place in _taken(maps):
        values = Note.struct.unpack_from(place)
        key = (values[Note.space.index], values[Note.request.index], values[Note.owner.index])
        if values[Note.request.index] != NOTE_BUSY:
            at = Note.pending.offset
            yield PendingKey.struct.pack(*key), place[at : at + Pending.size]


def in_places(maps: Mapping[str, Map[Any]]) -> Iterator[int]:
    """The files of those that are not in `pending`, while others come and go: who is there throughout is among them."""
    for place in _taken(maps):
        yield Note.struct.unpack_from(place)[Note.pending[Pending.id].index]


def _taken(maps: Mapping[str, Map[Any]]) -> List[bytes]:
    """The places that are not free, where the programs use any."""
    notes = maps.get("notes")
    if not isinstance(notes, Array):
        return []
    with memoryview(notes.mmap()) as view, view.cast("Q") as words:
        owners = words[Note.request.offset // 8 : notes.max_entries * _WORDS : _WORDS].tolist()
        return [bytes(view[index * Note.size : (index + 1) * Note.size]) for index, owner in enumerate(owners) if owner]
