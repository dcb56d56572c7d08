"""Requests in flight, of Linux AIO and io_uring, as the programs have noted them; what becomes of them at the end."""

from __future__ import annotations

from typing import Any, Iterable, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from programs.facts.records import NOTE_ABSENT, NOTE_BUSY, NOTE_SILENT, Note, OwnedPending, Pending, PendingKey
from pybpf.maps import Array, Map
from pybpf.programs import Program

_UNSEEN = "uring_unseen"  # the program that accounts for a silent request


class Left(NamedTuple):
    """How many requests were not seen to complete: still in flight, or reaped where no program looks."""

    aio: int = 0
    uring: int = 0


NOTHING_LEFT = Left()


def requests(maps: Mapping[str, Map[Any]]) -> Iterator[Tuple[bytes, bytes]]:
    """PendingKey and Pending, or OwnedPending, of each request in flight."""
    yield from maps["pending"].items()
    for place in _taken(maps):
        values = Note.struct.unpack_from(place)
        key = (values[Note.space.index], values[Note.request.index], values[Note.owner.index])
        if values[Note.request.index] != NOTE_BUSY:
            at = Note.pending.offset
            yield PendingKey.struct.pack(*key), place[at:]


def in_places(maps: Mapping[str, Map[Any]]) -> Iterator[int]:
    """The files of the requests that are not in `pending`, while others come and go: a request that is there
    throughout is among them."""
    for place in _taken(maps):
        yield Note.struct.unpack_from(place)[Note.pending[Pending.id].index]


def counted_for(raw: bytes) -> int:
    """The id that a request is counted under: its file's, or its row's where it is an OwnedPending."""
    if len(raw) == OwnedPending.size:
        return int(OwnedPending.struct.unpack(raw)[OwnedPending.row.index])
    return int(Pending.struct.unpack(raw)[Pending.id.index])


def _taken(maps: Mapping[str, Map[Any]]) -> List[bytes]:
    """The places that are not free, where the programs use any."""
    notes = maps.get("notes")
    if not isinstance(notes, Array):
        return []
    with memoryview(notes.mmap()) as view, view.cast("Q") as words:
        size, step = notes.value_size, notes.value_size // 8
        owners = words[Note.request.offset // 8 : notes.max_entries * step : step].tolist()
        return [bytes(view[index * size : (index + 1) * size]) for index, owner in enumerate(owners) if owner]


def settle(noted: Iterable[Tuple[bytes, bytes]], programs: Sequence[Program]) -> Left:
    """Account for the silent requests of io_uring, of which the kernel shows only failures: one that has not failed by
    now has done everything that was asked. Returns how many others are left.

    `noted` is what `requests` finds; `programs` are those of the run. Call it once, when nothing is traced any more.
    """
    settler = next((program for program in programs if program.name == _UNSEEN), None)
    aio, uring = 0, set()
    for raw_key, raw in list(noted):
        key, note = PendingKey.unpack(raw_key), Pending.unpack(raw[: Pending.size])
        if key["owner"]:
            aio += 1
        elif note["marks"] & NOTE_SILENT and settler is not None:
            settler.run(key["request"])
        elif not note["marks"] & NOTE_ABSENT:
            uring.add(key["request"])  # a splice has two notes
    return Left(aio, len(uring))
