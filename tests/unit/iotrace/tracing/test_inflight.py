"""What becomes of requests that are in flight when tracing ends."""

from __future__ import annotations

from typing import List, Tuple

from iotrace.tracing.inflight import Left, settle
from programs.facts.records import NOTE_ABSENT, NOTE_SILENT, OTHER, OWN, Pending, PendingKey

AIO = (5, 50, 1234)  # space, request and owner of one of Linux AIO: it belongs to a process


def noted(*requests: Tuple[int, int, int, int]) -> List[Tuple[bytes, bytes]]:
    """Keys and notes of requests in flight, by space, request, owner and marks."""
    empty = dict.fromkeys(Pending.fields, 0)
    return [
        (PendingKey.pack(space=space, request=request, owner=owner), Pending.pack(**{**empty, "marks": marks}))
        for space, request, owner, marks in requests
    ]


class Settler:
    """The program that accounts for a silent request."""

    name = "uring_unseen"

    def __init__(self) -> None:
        self.ran: List[int] = []

    def run(self, request: int) -> None:
        self.ran.append(request)


def test_requests_in_flight_are_counted_once() -> None:
    """A splice has two notes, or one of its own that stands for nothing."""
    notes = noted(
        (OWN, 10, 0, 0),
        (OWN, 20, 0, 0),
        (OTHER, 20, 0, 0),
        (OWN, 30, 0, NOTE_ABSENT),
        (OTHER, 30, 0, 0),
        (OWN, 40, 0, NOTE_ABSENT),
        (*AIO, 0),
    )
    assert settle(notes, []) == Left(aio=1, uring=3)


def test_silent_requests_are_done() -> None:
    settler = Settler()
    notes = noted((OWN, 10, 0, NOTE_SILENT), (OWN, 20, 0, 0), (*AIO, NOTE_SILENT))
    assert settle(notes, [settler]) == Left(aio=1, uring=1)  # type: ignore[list-item]  # a stand-in
    assert settler.ran == [10]


def test_silent_requests_that_no_program_can_settle_are_left() -> None:
    assert settle(noted((OWN, 10, 0, NOTE_SILENT)), []) == Left(uring=1)
