"""What the page shows, made of profiles in one pass over their files, and in memory that does not grow with them."""

from __future__ import annotations

import heapq
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence

from iotrace.findings.engine import Finder
from iotrace.globs import EVERYTHING, Selection
from iotrace.page import details, summary
from iotrace.page.details import Details, packed
from iotrace.page.listing import Choice, Listing, choose, key_of
from iotrace.page.moments import Series, busiest
from iotrace.profile.activity import Activity, Sizes, add_histogram, of_files
from iotrace.profile.combined import combined_header, combined_rows, every_file
from iotrace.profile.metrics import FileStats, Header
from iotrace.profile.reader import Profile
from iotrace.profile.rows import FileRow, Sums, add_sums
from iotrace.profile.values import Histogram

ROOM = 4_600_000
"""Bytes that the listing and the histograms of single files may take together."""

_LISTED = 12  # bytes of a listed file, at least, once packed
_EXACT_SIZES = 20_000  # exact sizes that are kept while there are more files to come


class Document(NamedTuple):
    """The data of the page: what is read at once, and what is packed until somebody wants it."""

    summary: Dict[str, Any]
    listing: str
    details: Dict[str, Any]


class _Pass:
    """The files of profiles, one after the other."""

    def __init__(self, header: Header, choice: Choice, lines: Sequence[int], room: int) -> None:
        self.finder, self.listing, self.details = Finder(), Listing(), Details(room - _LISTED * len(choice.places))
        self.runs: List[Histogram] = [{}, {}]
        self.series = Series(header, lines) if header.interval_ns is not None else None
        self.files = 0
        self._choice = choice
        self._last: Optional[FileStats] = None
        self._activity = Activity()

    def seen(self, record: FileStats) -> None:
        """Look at a record, which may be a part of a file."""
        self._last, self._activity = record, self.finder.add(record)
        for part in (self.finder.whole.read, self.finder.whole.written):
            if len(part.sizes.counts) > 2 * _EXACT_SIZES:
                _prune(part.sizes)

    def take(self, file: FileStats) -> None:
        """Take in a file whose records have all been seen."""
        self.files += 1
        activity = self._activity if file is self._last else of_files([file])
        add_histogram(self.runs[0], file.sequential_read)
        add_histogram(self.runs[1], file.sequential_write)
        if self.series is not None:
            self.series.add(file)
        place = self._choice.places.get(key_of(file))
        if place is None:
            self.listing.leave(file, activity)
        else:
            self.details.add(place, self.listing.add(file, activity), file, activity)


def _prune(sizes: Sizes) -> None:
    """Keep the most frequent sizes alone; what is dropped counts as not known."""
    kept = dict(heapq.nlargest(_EXACT_SIZES, sizes.counts.items(), key=lambda item: item[1]))
    sizes.missing += sum(sizes.counts.values()) - sum(kept.values())
    sizes.counts.clear()
    sizes.counts.update(kept)


def collect(
    profiles: Sequence[Profile], selection: Selection = EVERYTHING, *, room: int = ROOM, **bounds: int
) -> Document:
    """Read one or more profiles together; `bounds` are those of `choose`."""
    header = combined_header(profiles)
    total = Sums()
    for profile in profiles:
        total = add_sums(total, profile.totals(selection, folded=True).sums)

    def rows() -> Iterator[FileRow]:
        return combined_rows(profiles, selection, folded=True)

    choice = choose(rows(), total, **bounds)
    lines = busiest(rows()) if header.interval_ns is not None else []
    found = _Pass(header, choice, lines, room)
    for file in every_file(profiles, selection, found.seen):
        found.take(file)
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
