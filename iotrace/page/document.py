"""What the page shows, made of profiles in one pass over their files, and in memory that does not grow with them."""

from __future__ import annotations

from typing import Any, Dict, Iterator, NamedTuple, Sequence

from iotrace.globs import EVERYTHING, Selection
from iotrace.page import details, passes, summary
from iotrace.page.details import packed
from iotrace.page.listing import choose
from iotrace.page.moments import busiest
from iotrace.page.passes import Task
from iotrace.profile.combined import combined_header, combined_rows
from iotrace.profile.reader import Profile
from iotrace.profile.rows import FileRow, Sums, add_sums

ROOM = 4_600_000
"""Bytes that the listing and the histograms of single files may take together."""

_LISTED = 12  # bytes of a listed file, at least, once packed


class Document(NamedTuple):
    """The data of the page: what is read at once, and what is packed until somebody wants it."""

    summary: Dict[str, Any]
    listing: str
    details: Dict[str, Any]


def collect(
    profiles: Sequence[Profile], selection: Selection = EVERYTHING, *, room: int = ROOM, **bounds: int
) -> Document:
    """Read one or more profiles together; `bounds` are those of `choose`."""
    header = combined_header(profiles, selection)
    total, files = Sums(), 0
    for profile in profiles:
        own = profile.totals(selection, folded=True)
        total, files = add_sums(total, own.sums), files + own.files

    def rows() -> Iterator[FileRow]:
        return combined_rows(profiles, selection, folded=True)

    choice = choose(rows(), total, files, **bounds)
    lines = busiest(rows()) if header.interval_ns is not None else None
    found = passes.run(profiles, Task(selection, choice, lines, room - _LISTED * len(choice.places)))
    listing = packed(found.listing.document())
    pieces, with_details = found.details.document(room - len(listing))
    whole = found.finder.whole
    made: Dict[str, Any] = {
        "run": summary.run(header, [profile.name for profile in profiles], whole),
        "cards": summary.cards(whole, found.files),
        "findings": summary.found(found.finder.findings(header)),
        "about": summary.about(header),
        "whole": details.whole(whole, (found.runs[0], found.runs[1])),
        "files": found.files,
        "listed": len(found.listing.names),
        "with_details": with_details,
        "series": None if found.series is None else found.series.document(),
        "against": None,
    }
    return Document(made, listing, pieces)
