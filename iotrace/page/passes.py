"""The pass over the files of profiles: by one process, or of many files by two at once, a half of the names each."""

from __future__ import annotations

import contextlib
import heapq
import os
import pickle
import signal
import tempfile
from typing import IO, Any, Iterator, List, NamedTuple, Optional, Sequence

from iotrace.errors import Failure, IotraceError
from iotrace.findings.engine import Finder
from iotrace.globs import Selection
from iotrace.page.details import Details
from iotrace.page.listing import Choice, Listing, key_of
from iotrace.page.moments import Series
from iotrace.profile import reader
from iotrace.profile.activity import Activity, Sizes, add_histogram, of_files
from iotrace.profile.combined import combined_header, every_file
from iotrace.profile.metrics import FileStats
from iotrace.profile.reader import Profile
from iotrace.profile.values import Histogram

MANY = 10_000
"""Files from which on a second process is worth starting."""

_EXACT_SIZES = 20_000  # exact sizes that are kept while there are more files to come


class Task(NamedTuple):
    """What is to be made of the files."""

    selection: Selection
    choice: Choice
    lines: Optional[Sequence[int]]  # keys of the files with a line of their own over time; None without a series
    room: int  # bytes for histograms of single files


class Pass:
    """What is known of the files that were taken in so far."""

    def __init__(self, profiles: Sequence[Profile], task: Task) -> None:
        self.finder, self.listing, self.details = Finder(), Listing(), Details(task.room)
        self.runs: List[Histogram] = [{}, {}]
        self.series = None if task.lines is None else Series(combined_header(profiles), task.lines)
        self.files = 0
        self._profiles, self._task = profiles, task
        self._last: Optional[FileStats] = None
        self._activity = Activity()

    def go(self, since: bytes = b"", before: bytes = b"") -> None:
        """Take in all files, or those with a name from `since` on and below `before`."""
        for file in every_file(self._profiles, self._task.selection, self._seen, since=since, before=before):
            self._take(file)

    def _seen(self, record: FileStats) -> None:
        """Look at a record, which may be a part of a file."""
        self._last, self._activity = record, self.finder.add(record)
        for part in (self.finder.whole.read, self.finder.whole.written):
            if len(part.sizes.counts) > 2 * _EXACT_SIZES:
                _prune(part.sizes)

    def _take(self, file: FileStats) -> None:
        self.files += 1
        activity = self._activity if file is self._last else of_files([file])
        add_histogram(self.runs[0], file.sequential_read)
        add_histogram(self.runs[1], file.sequential_write)
        if self.series is not None:
            self.series.add(file)
        place = self._task.choice.places.get(key_of(file))
        if place is None or self.listing.full:
            self.listing.leave(file, activity)
        else:
            self.details.add(place, self.listing.add(file, activity), file, activity)

    def state(self) -> Any:
        """All of it, for `join` in another process."""
        series = None if self.series is None else self.series.state()
        return self.files, self.finder.state(), self.runs, self.listing, self.details, series

    def join(self, state: Any) -> None:
        """Add what another pass has made of the files behind these."""
        files, finder, runs, listing, details, series = state
        self.files += files
        self.finder.join(finder)
        for mine, more in zip(self.runs, runs):
            add_histogram(mine, more)
        self.details.join(details, len(self.listing.names))
        self.listing.join(listing)
        if self.series is not None:
            self.series.join(series)


def _prune(sizes: Sizes) -> None:
    """Keep the most frequent sizes alone; what is dropped counts as not known."""
    kept = dict(heapq.nlargest(_EXACT_SIZES, sizes.counts.items(), key=lambda item: item[1]))
    sizes.missing += sum(sizes.counts.values()) - sum(kept.values())
    sizes.counts.clear()
    sizes.counts.update(kept)


def run(profiles: Sequence[Profile], task: Task) -> Pass:
    """Take in all files. Raises ProfileError, UserError, Failure."""
    found = Pass(profiles, task)
    middle = task.choice.middle
    if task.choice.files < MANY or not middle or os.cpu_count() == 1:
        found.go()
        return found
    with tempfile.TemporaryFile() as store, _other(store, profiles, task, middle) as other:
        if not other:  # no process more
            found.go()
            return found
        found.go(before=middle)
        os.waitpid(other.pop(), 0)
        store.seek(0)
        raw = store.read()
    state = pickle.loads(raw) if raw else Failure("the process that was reading the other half has ended")
    if isinstance(state, Exception):
        raise state
    found.join(state)
    return found


@contextlib.contextmanager
def _other(store: IO[bytes], profiles: Sequence[Profile], task: Task, since: bytes) -> Iterator[List[int]]:
    """A process that takes in the files from `since` on and leaves what it has made of them in a file. Its number is
    taken from the list by whoever waits for it; else it is ended with the block. Without a number there is none."""
    try:
        child = os.fork()
    except OSError:
        yield []
        return
    if not child:
        _work(store, [profile.name for profile in profiles], task, since)
    running = [child]
    try:
        yield running
    finally:
        for number in running:
            os.kill(number, signal.SIGKILL)
            os.waitpid(number, 0)


def _work(store: IO[bytes], names: Sequence[str], task: Task, since: bytes) -> None:
    """Do that, with connections of its own to the profiles, and end this process."""
    try:
        with contextlib.ExitStack() as stack:
            made: object
            try:
                found = Pass([stack.enter_context(reader.open(name)) for name in names], task)
                found.go(since=since)
                made = found.state()
            except IotraceError as error:
                made = error
            store.write(pickle.dumps(made))
            store.flush()
    finally:
        os._exit(0)
