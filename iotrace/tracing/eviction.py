"""Idle files move to the profile while tracing, so that any number of files passes through tables of a fixed size.

Only a file that nobody has open can go, as only then are its runs complete. A file's counters are found by its id, and
its id in `files`, by its name; in `opens`, by its open file description; in `ring_files`, the notes of requests in
flight and a close's `Call` record, by a request. An id is passed on in this order only. So

1. the name is taken out of `files`: nobody who opens the file from now on finds the id, but makes another;
2. one after the other, those tables are searched for the id, and before each of them every program that was running
   is waited for: what it had taken from the table before has by then arrived in this one, or has been accounted for;
3. if the id was nowhere, nobody will ever count for it: its records are read and deleted.

Where it was found somewhere, the name is put back, and the file waits for another time.

When the file is opened again it has another id; its parts are added up at the end (`iotrace.profile.writer`).
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import struct
import time
from typing import Any, Callable, ContextManager, Dict, Generator, Iterator, List, Mapping, Set, Tuple

from iotrace.tracing import inflight, who
from iotrace.tracing.collector import Collector, Rest, shards_in
from iotrace.tracing.gathering import Gathering
from iotrace.tracing.names import Names
from programs.facts.catalogue import Kind
from programs.facts.records import ID_NAMED, Call, FileId, FileState, OpenFile, Pending, RingFile, TallyKey, ThreadKey
from pybpf.maps import NOEXIST, Map
from pybpf.syscalls import BpfError

FULL, LEFT = 0.5, 0.25  # of a table: so much in use makes files move, until so much is
_PAUSE = 1.0  # seconds
_OF_THE_TIME = 0.02  # at most, for looks that nothing but time asks for
_HURRY = 10  # steps of niceness, each of which makes a tenth of a CPU's time
_SLICE = 200  # files between two looks at the events: some hundredths of a second
_ID = struct.Struct("<Q")
_CALL = 8 * (Call.call.offset % 8)  # the shift of Call.call, whose lowest byte is the kind, in its word


def _nothing() -> Generator[None, None, None]:
    yield from ()


class Eviction:
    """Watches how full the tables are; `step` is to be called often."""

    def __init__(
        self,
        maps: Mapping[str, Map[Any]],
        collector: Collector,
        names: Names,
        max_files: int,
        *,
        gathering: Gathering,
        wait: Callable[[], None],
        ask: Callable[[List[int]], None],
        together: Callable[[], ContextManager[None]] = contextlib.nullcontext,
        last_words: Callable[[], None] = lambda: None,
    ) -> None:
        """Files go to `gathering`; `wait` returns when every program that is running has ended.

        `ask` finds out what has become of the names of files before they are forgotten, many times within `together`;
        `last_words` is called when nobody counts for those any more that are about to be moved.
        """
        self._last_words = last_words
        self._ask, self._together = ask, together
        self._wait = wait
        self._maps = maps
        self._collector = collector
        self._names = names
        self._max_files = max_files
        self._gathering = gathering
        self._steps: Generator[None, None, None] = _nothing()
        self._pace = max(1, max_files // 16)  # files between two looks: with 16 records each a table is half full then
        self._next_look = self._pace  # names
        self._look_at = math.inf  # or when this time has come
        self.moved = 0
        self._nice = os.getpriority(os.PRIO_PROCESS, 0)
        self._hurrying = False

    def step(self) -> bool:
        """Do a little of what is to be done; whether there is more. Events must be taken between two steps."""
        for _ in self._steps:
            self._hurry(8 * len(self._names) > 5 * self._max_files)
            return True
        self._hurry(False)
        now = time.monotonic()
        if len(self._names) < self._next_look and now < self._look_at:
            return False
        used = self._used()
        self._next_look, self._look_at = len(self._names) + self._pace, math.inf
        if "rows" in self._maps:  # which become more without any file that is new
            spent = time.monotonic() - now
            self._look_at = now + max(_PAUSE, spent / _OF_THE_TIME)
        if used < FULL:
            return False
        self._steps = self._round(used)
        return True

    def stop(self) -> None:
        """Give up what is under way: whatever is in the tables is for somebody else to read now."""
        self._steps.close()

    def _hurry(self, wanted: bool) -> None:
        """Take precedence over processes that create files faster than they can be moved, where CPUs are short."""
        if wanted != self._hurrying:
            self._hurrying = wanted
            with contextlib.suppress(OSError):  # raising the priority may take root
                os.setpriority(os.PRIO_PROCESS, 0, self._nice - _HURRY * wanted)

    def _used(self) -> float:
        """How much of the fullest table is in use. A file is in `files` and `states` once, in others several times."""
        of_files = len(self._names) / self._max_files
        if of_files >= FULL:
            return of_files
        counted = "row_states" if "row_states" in self._maps else "states"
        step, at = self._maps[counted].value_size // 8, FileState.operations.offset // 8
        masks = (memoryview(values).cast("Q")[at::step].tobytes() for _, values in self._maps[counted].blocks())
        records = sum(bin(int.from_bytes(mask, "little")).count("1") for mask in masks)
        tallies = sum(len(keys) for keys, _ in self._maps["tallies"].blocks()) // TallyKey.size
        counts = {"operations": records, "tallies": tallies}
        if "threads" in self._maps:
            counts["threads"] = sum(len(keys) for keys, _ in self._maps["threads"].blocks()) // ThreadKey.size
        if "rows" in self._maps:
            counts["rows"] = sum(1 for _ in self._words("rows", 0))
        return max(of_files, *(count / self._maps[name].max_entries for name, count in counts.items()))

    def _round(self, used: float) -> Generator[None, None, None]:
        """Moves away the files that were seen first, until a quarter of the room is in use; now it is `used`."""
        first = self._names.first
        held = self._search(self._opened, set(first))
        idle = (file_id for file_id in first if file_id not in held)
        many = len(first) - int(len(first) * LEFT / used)
        keys = {file_id: first[file_id].key for file_id in itertools.islice(idle, many)}
        self._maps["files"].delete_all(list(keys.values()))
        left = set(keys)
        for holders in (self._opened, self._in_rings, self._in_flight):
            self._wait()
            left -= self._search(holders, left)
            yield
        self._put_back({file_id: key for file_id, key in keys.items() if file_id not in left})
        self._wait()
        self._last_words()
        yield  # after this, what the programs have sent of these files has arrived
        with self._together():
            yield from self._move([file_id for file_id in keys if file_id in left])
        if len(left) >= many // 4:
            # More files than there is room for may have come meanwhile: then no more names come, and nobody would look.
            self._next_look = min(len(self._names) + self._pace, int(FULL * self._max_files))
        else:  # nearly all are open, which may change
            self._look_at = time.monotonic() + _PAUSE

    # -- who holds an id --------------------------------------------------------------------------------------------

    def _words(self, name: str, *offsets: int) -> Iterator[Tuple[int, ...]]:
        """The words at these offsets of every value of a map, if the programs use it."""
        if name in self._maps:
            step = self._maps[name].value_size // 8
            for _, values in self._maps[name].blocks():
                words = memoryview(values).cast("Q")
                yield from zip(*(words[offset // 8 :: step].tolist() for offset in offsets))

    def _search(self, holders: Callable[[], Set[int]], otherwise: Set[int]) -> Set[int]:
        """The ids that a table holds; all if it changes faster than it can be read, key by key before 5.6."""
        try:
            return holders()
        except BpfError:
            return otherwise

    def _opened(self) -> Set[int]:
        return {file_id for (file_id,) in self._words("opens", OpenFile.id.offset)}

    def _in_rings(self) -> Set[int]:
        return {file_id for (file_id,) in self._words("ring_files", RingFile.id.offset)}

    def _in_flight(self) -> Set[int]:
        """Files of requests, and of closes, which delete the open file description before they return."""
        found = {file_id for (file_id,) in self._words("pending", Pending.id.offset)}
        found.update(inflight.in_places(self._maps))
        for name in ("slots", "calls"):
            calls = self._words(name, Call.call.offset, Call.id.offset)
            found.update(file_id for word, file_id in calls if word >> _CALL & 0xFF == Kind.CLOSE)
        return found

    def _put_back(self, keys: Dict[int, bytes]) -> None:
        """If the file has another id by now, it has two until the end."""
        for file_id, key in keys.items():
            record = FileId.pack(id=file_id, marks=ID_NAMED, inode=self._names.first[file_id].inode)
            try:
                self._maps["files"].update(key, record, NOEXIST)
            except BpfError:  # it is there already, or there is no room
                continue

    # -- moving -----------------------------------------------------------------------------------------------------

    def _move(self, chosen: List[int]) -> Iterator[None]:
        rest = self._sparse(set(chosen))
        threads = self._threads(set(chosen))
        for start in range(0, len(chosen), _SLICE):
            states: List[bytes] = []
            operations: List[bytes] = []
            depths: List[bytes] = []
            gone: List[bytes] = []
            shards: List[bytes] = []
            counted: List[bytes] = []
            some = chosen[start : start + _SLICE]
            self._ask(some)
            for file_id in some:
                records = self._collector.records(file_id, rest, operations)
                self._collector.forget(file_id, rest)
                if records:
                    self._gathering.take(records)
                states.append(_ID.pack(file_id))
                numbers = [file_id]
                if rest.rows:
                    numbers += [row.id for row in rest.rows.get(file_id, ())]
                for number in numbers:
                    if number in rest.tallies:
                        gone += rest.tally_keys(number)
                    if number in rest.shards:
                        shards += [key for key, _ in rest.shards[number]]
                if any(each.depth for each in records):
                    depths += map(_ID.pack, numbers)
                if file_id in threads:
                    counted += threads[file_id]
            self._collector.delete_rows(some, rest)
            self._maps["states"].delete_all(states)
            for name, keys in (("tallies", gone), ("depths", depths), ("threads", counted), ("shards", shards)):
                if keys:
                    self._maps[name].delete_all(keys)
            self._collector.delete_operations(operations)
            self.moved += len(states)
            yield
        self._gathering.flush()

    def _threads(self, chosen: Set[int]) -> Dict[int, List[bytes]]:
        """The keys of the threads of these files that have more than one."""
        found: Dict[int, List[bytes]] = {}
        for joined, _ in self._maps["threads"].blocks() if "threads" in self._maps else ():
            for at in range(0, len(joined), ThreadKey.size):
                file_id = _ID.unpack_from(joined, at)[0]
                if file_id in chosen:
                    found.setdefault(file_id, []).append(joined[at : at + ThreadKey.size])
        return found

    def _sparse(self, chosen: Set[int]) -> Rest:
        """The sparse counters of these files."""
        rest = Rest()
        rest.rows = {file_id: rows for file_id, rows in who.rows(self._maps).items() if file_id in chosen}
        chosen = chosen.union(row.id for rows in rest.rows.values() for row in rows)
        for keys, counts in self._maps["tallies"].blocks():
            rest.add_tallies(keys, counts, chosen)
        rest.add_shards((key, raw) for key, raw in shards_in(self._maps) if _ID.unpack_from(key)[0] in chosen)
        return rest
