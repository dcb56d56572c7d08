"""Opens that failed, by path and errno: the most frequent ones, and what is left of each errno."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from iotrace.profile.values import (
    MAYBE_PATH,
    Kind,
    check_counts,
    check_names,
    check_path,
    check_range,
    check_text,
    text_of,
)

MOST = 1000
"""Paths that are kept."""


class FailedOpen(NamedTuple):
    """Opens of one path that failed with one errno.

    A path without a slash in front is relative to a directory that is not known. Without a path it stands for all
    others that failed with this errno. `cut`: the path that was asked for has more bytes.
    """

    path: Optional[bytes]
    errno: str
    cut: bool
    times: int


def most_frequent(counts: Mapping[Tuple[bytes, str, bool], int], totals: Mapping[str, int]) -> List[FailedOpen]:
    """The most frequent of the failed opens that were counted by path, errno and `cut`; the rest of each of `totals`.

    `totals` has all of them by errno, so that the sums are these.
    """
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST]
    kept = [FailedOpen(*what, count) for what, count in order]
    rest = dict(totals)
    for failed in kept:
        rest[failed.errno] = rest.get(failed.errno, 0) - failed.times
    return kept + [FailedOpen(None, errno, False, count) for errno, count in sorted(rest.items()) if count > 0]


def totals_of(opens: Iterable[FailedOpen]) -> Dict[str, int]:
    """How many there are of each errno."""
    totals: Dict[str, int] = {}
    for failed in opens:
        totals[failed.errno] = totals.get(failed.errno, 0) + failed.times
    return totals


def added(a: List[FailedOpen], b: List[FailedOpen]) -> List[FailedOpen]:
    """Those of two runs together. What one of them has among the rest is missing from the count of a path."""
    counts: Dict[Tuple[bytes, str, bool], int] = {}
    for path, errno, cut, count in (*a, *b):
        if path is not None:
            counts[path, errno, cut] = counts.get((path, errno, cut), 0) + count
    return most_frequent(counts, totals_of((*a, *b)))


def from_row(row: Tuple[Any, ...]) -> FailedOpen:
    """From a row of the table `failed_open`. Raises ValueError."""
    path, errno, cut, count = row
    if path is not None:
        check_path(path)
    check_text(errno)
    check_names({errno: count})
    check_counts((cut, count))
    check_range((count,))
    return FailedOpen(path, errno, bool(cut), count)


def _objects(opens: List[FailedOpen]) -> List[Dict[str, object]]:
    """For the JSON document."""
    return [
        {"path": None if path is None else text_of(path), "errno": errno, "cut": cut, "count": times}
        for path, errno, cut, times in opens
    ]


def _of_objects(value: Any) -> List[FailedOpen]:
    try:
        rows = [(MAYBE_PATH.parsed(each["path"]), each["errno"], int(each["cut"]), each["count"]) for each in value]
    except (KeyError, TypeError):
        raise ValueError("failed opens are not what they should be") from None
    return [from_row(row) for row in rows]


FAILED_OPENS = Kind("", _of_objects, dump=_objects)
"""They have a table of their own."""
