"""What a profile says of io_uring."""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

import pytest

from iotrace.kernel import uring
from programs.facts.kernel import URING_MEMBERS, Uring
from programs.facts.records import NOTE_ABSENT, NOTE_SILENT, OTHER, OWN, Pending, PendingKey

SHOWN = Uring({}, {}, dict.fromkeys(URING_MEMBERS, 0))


def without(*parts: str) -> Uring:
    return Uring({}, {}, {name: at for name, at in SHOWN.offsets.items() if not name.startswith(parts)})


@pytest.mark.parametrize(
    ("shown", "in_flight", "rings", "expected"),
    [
        (SHOWN, 0, 4, "full"),
        (SHOWN, 7, 4, "partial: 7 requests were not seen to complete"),
        (without("splice"), 0, 4, "partial: no splices"),
        (without("open", "close"), 3, 4, "partial: no opens, no closes, 3 requests were not seen to complete"),
        (without("node", "ring.completing", "request.list", "task", "worker"), 0, 4, "full"),
        (None, 0, None, "none: this kernel does not show its requests"),
        (None, 0, 0, "none: this kernel does not show its requests; no rings made"),
        (None, 0, 1, "none: this kernel does not show its requests; 1 ring made"),
    ],
)
def test_coverage(shown: Optional[Uring], in_flight: int, rings: Optional[int], expected: str) -> None:
    assert uring.coverage(shown, in_flight, rings) == expected


def noted(*requests: Tuple[int, int, int, int]) -> List[Tuple[bytes, bytes]]:
    """Keys and notes of requests in flight."""
    empty = dict.fromkeys(Pending.fields, 0)
    return [
        (PendingKey.pack(space=space, request=request, owner=owner), Pending.pack(**{**empty, "marks": marks}))
        for space, request, owner, marks in requests
    ]


def test_requests_in_flight_are_counted_once() -> None:
    """A splice has two notes, or one of its own that stands for nothing; Linux AIO's belong to a process."""
    notes = noted(
        (OWN, 10, 0, 0),
        (OWN, 20, 0, 0),
        (OTHER, 20, 0, 0),
        (OWN, 30, 0, NOTE_ABSENT),
        (OTHER, 30, 0, 0),
        (OWN, 40, 0, NOTE_ABSENT),
        (5, 50, 1234, 0),
    )
    assert uring.settle(notes, []) == 3


def test_silent_requests_are_done() -> None:
    class Settler:
        name = "uring_unseen"
        ran: Dict[int, int] = {}

        def run(self, request: int) -> None:
            self.ran[request] = self.ran.get(request, 0) + 1

    settler = Settler()
    notes = noted((OWN, 10, 0, NOTE_SILENT), (OWN, 20, 0, 0))
    assert uring.settle(notes, [settler]) == 1  # type: ignore[list-item]
    assert settler.ran == {10: 1}
