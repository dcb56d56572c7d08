"""The files that the page lists one by one, in columns, and what is left, added up by directory.

Which files those are is known before their figures come: the busiest, as many as `MOST` and `BUDGET` let in. So memory
is bounded, whatever the profile holds.
"""

from __future__ import annotations

import hashlib
import heapq
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Tuple

from iotrace.page import words
from iotrace.profile.activity import Activity
from iotrace.profile.metrics import FileStats
from iotrace.profile.rows import FileRow, Sums

MOST = 100_000
BUDGET = 64 << 20
"""Files that are listed, and the sum of what `_cost` says of them."""

TEXT = 16 << 20
"""Characters of all names: three times what 100,000 files have that are not made to fill the memory."""

_ENTRY = 50  # as many are worth one more name

COLUMNS: Dict[str, Callable[[FileStats, Activity], int]] = {
    "read": lambda file, found: file.bytes_read,
    "written": lambda file, found: file.bytes_written,
    "calls": lambda file, found: sum(found.calls.values()),
    "errors": lambda file, found: sum(found.errors.values()),
    "syncs": lambda file, found: found.syncs.calls,
    "busy": lambda file, found: found.busy_ns,
    "random": lambda file, found: _permille(found),
    "sync_p99": lambda file, found: found.syncs.latencies.quantile(0.99) or 0,
    "slowest": lambda file, found: max(
        part.most for part in (found.read.latencies, found.written.latencies, found.syncs.latencies, found.lifetime)
    ),
}
"""The figures of a file. Those of SUMS add up."""

SUMS = ("read", "written", "calls", "errors", "syncs", "busy")
_DEEPEST = 64  # directories in each other; what is deeper is one name


def _permille(found: Activity) -> int:
    """The share of transfers that began elsewhere than where the one before had ended; -1 without any."""
    moved = found.read.moved + found.written.moved
    return round(1000 * (found.read.jumps + found.written.jumps) / moved) if moved else -1


def _brief(name: bytes) -> bytes:
    """What tells a name from others, in few bytes."""
    return name if len(name) <= 64 else hashlib.blake2b(name, digest_size=32).digest()


def _cost(path: bytes) -> int:
    """Bytes that a listed file takes in memory, about."""
    return 100 + 40 * min(path.count(b"/"), _DEEPEST) + min(len(path), _DEEPEST * words.LONGEST_NAME)


class Choice(NamedTuple):
    """The files that are listed."""

    places: Dict[int, int]  # a hash of what a file is known by -> its place, the busiest first
    files: int  # all, listed or not
    middle: bytes  # a name below which about half of them are


def key_of(file: FileStats) -> int:
    """What a file is known by in `Choice.places`."""
    return hash((file.path, file.mnt_ns, file.unreachable, file.host or ""))


def key_of_row(row: FileRow) -> int:
    """The same, of its row."""
    return hash((row.path, row.mnt_ns, bool(row.marks.unreachable), row.host))


def choose(rows: Iterable[FileRow], total: Sums, number: int, most: int = MOST, budget: int = BUDGET) -> Choice:
    """Choose the files that matter most: by their share of all bytes, calls, syncs or time, whichever is largest.

    The rows are in order of path; there are `number` of them, or fewer where several profiles have the same.
    """
    moved = total.bytes_read + total.bytes_written

    def rank(row: FileRow) -> float:
        own = row.sums
        parts = (
            (own.bytes_read + own.bytes_written, moved),
            (own.calls, total.calls),
            (own.syncs, total.syncs),
            (own.busy_ns, total.busy_ns),
            (own.errors, total.errors),
        )
        return max(part / whole if whole else 0.0 for part, whole in parts)

    kept: List[Tuple[float, int, int, int]] = []  # rank, its number from the end, key, cost
    files, middle = 0, b""
    for files, row in enumerate(rows, 1):
        if files == number // 2:
            middle = row.path
        cost = _cost(row.path)
        heapq.heappush(kept, (rank(row), -files, key_of_row(row), cost))
        budget -= cost
        while kept and (len(kept) > most or budget < 0):
            budget += heapq.heappop(kept)[3]
    kept.sort(reverse=True)
    return Choice({key: place for place, (_, _, key, _) in enumerate(kept)}, files, middle)


class Listing:
    """The listed files, in the order in which they come, and the directories that they are in."""

    def __init__(self) -> None:
        self.directories: List[Tuple[int, str]] = [(-1, "")]  # number of the one above, name
        self.names: List[str] = []
        self.directory: List[int] = []
        self.place: List[int] = []
        self.columns: Dict[str, List[int]] = {name: [] for name in COLUMNS}
        self.places: Dict[Tuple[str, int], int] = {}  # host and mount namespace -> its number
        self.rest: Dict[int, List[int]] = {}  # directory -> files that are not listed, and the sums over them
        self._known: Dict[Tuple[int, bytes], int] = {}
        self._text = 0

    @property
    def full(self) -> bool:
        """Whether names have taken all the room that there is for them: no more files must be added."""
        return self._text > TEXT

    def add(self, file: FileStats, activity: Activity) -> int:
        """List a file; returns its number."""
        *above, name = _split(file.path)
        self.directory.append(self._enter(above))
        self.names.append(words.name(name))
        self._text += len(self.names[-1]) + _ENTRY
        where = (file.host or "", file.mnt_ns)
        self.place.append(self.places.setdefault(where, len(self.places)))
        for column, figure in COLUMNS.items():
            self.columns[column].append(figure(file, activity))
        return len(self.names) - 1

    def leave(self, file: FileStats, activity: Activity) -> None:
        """Add a file that is not listed to what is left in its directory, or in the next one above that is known."""
        sums = self.rest.setdefault(self._nearest(_split(file.path)[:-1]), [0] * (1 + len(SUMS)))
        sums[0] += 1
        for number, column in enumerate(SUMS, 1):
            sums[number] += COLUMNS[column](file, activity)

    def _enter(self, names: Iterable[bytes]) -> int:
        here = 0
        for name in names:
            key = _brief(name)
            below = self._known.get((here, key))
            here = self._enter_one(here, key, words.name(name)) if below is None else below
        return here

    def _enter_one(self, above: int, key: bytes, shown: str) -> int:
        below = self._known.get((above, key))
        if below is None:
            below = self._known[above, key] = len(self.directories)
            self.directories.append((above, shown))
            self._text += len(shown) + _ENTRY
        return below

    def _nearest(self, names: Iterable[bytes]) -> int:
        here = 0
        for name in names:
            below = self._known.get((here, _brief(name)))
            if below is None:
                break
            here = below
        return here

    def join(self, other: Listing) -> None:
        """Add the files of another listing behind these."""
        new = {0: 0}  # its directories, and its places, by the numbers that they have here
        for (above, key), number in other._known.items():
            new[number] = self._enter_one(new[above], key, other.directories[number][1])
        places = [self.places.setdefault(place, len(self.places)) for place in other.places]
        self.names += other.names
        self.directory += [new[number] for number in other.directory]
        self.place += [places[number] for number in other.place]
        for column, figures in other.columns.items():
            self.columns[column] += figures
        for directory, sums in other.rest.items():
            mine = self.rest.setdefault(new[directory], [0] * len(sums))
            mine[:] = map(sum, zip(mine, sums))

    def document(self) -> Dict[str, object]:
        """All of it, for JSON."""
        return {
            "directories": {
                "above": [above for above, _ in self.directories],
                "name": [n for _, n in self.directories],
            },
            "name": self.names,
            "directory": list(_steps(self.directory)),
            "place": self.place if len(self.places) > 1 else [],
            "places": [[words.words(host, 200), mnt_ns] for host, mnt_ns in self.places],
            "columns": self.columns,
            "rest": [[directory, *sums] for directory, sums in self.rest.items()],
            "rest_columns": ["files", *SUMS],
        }


def _split(path: bytes) -> List[bytes]:
    """The directories of a file, and its name; not more than so many."""
    names = path.lstrip(b"/").split(b"/", _DEEPEST)
    return names if path.startswith(b"/") else [b"(no path)", path]


def _steps(numbers: Iterable[int]) -> Iterator[int]:
    """The difference of each number from the one before, which packs better."""
    before = 0
    for number in numbers:
        yield number - before
        before = number
