"""What is exported: runs, and their files as they are read."""

from __future__ import annotations

import hashlib
import json
from typing import Iterable, Iterator, NamedTuple, Optional, Tuple

from iotrace.globs import EVERYTHING, Selection
from iotrace.profile.metrics import FileStats, Header
from iotrace.profile.reader import Profile
from iotrace.views.formats._document import header_object

ID = "r[0-9a-f]{12}"
"""What the id of a run looks like, as a regular expression. With a letter in front nobody takes it for a number."""


class Run(NamedTuple):
    """A run to be exported, or several that were merged into one profile."""

    id: str
    """The same whenever and wherever the profile is exported, and that of no other run."""
    header: Header
    files: Iterable[Tuple[int, FileStats]]
    """Its files with their ids, to be read once."""


def run_id(header: Header) -> str:
    """The id of a run: what is known about it, hashed."""
    known = json.dumps(header_object(header), sort_keys=True)
    return "r" + hashlib.sha256(known.encode()).hexdigest()[:12]


def run_of(profile: Profile, sort: Optional[str] = None, limit: int = 0, selection: Selection = EVERYTHING) -> Run:
    """The run of a profile, with the files that `Profile.files` has for these arguments."""
    return Run(run_id(profile.header), profile.header, profile.numbered(sort, limit, selection))


def first_of(profile: Profile, sort: str, count: int, selection: Selection = EVERYTHING) -> Run:
    """The run of a profile, with all its files, the first `count` by `sort` in front: the others need no sorting."""
    return Run(run_id(profile.header), profile.header, _first(profile, sort, count, selection))


def _first(profile: Profile, sort: str, count: int, selection: Selection) -> Iterator[Tuple[int, FileStats]]:
    first = set()
    if count:
        for number, file in profile.numbered(sort, count, selection):
            first.add(number)
            yield number, file
    yield from (each for each in profile.numbered(selection=selection) if each[0] not in first)
