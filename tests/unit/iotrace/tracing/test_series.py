"""Intervals out of the programs' map: longer ones as time goes on, phases, bounds, and what is in no interval."""

from __future__ import annotations

import struct
import time
from typing import Any, Callable, Dict, List, Tuple

import pytest

from iotrace.profile import series as rows_of
from iotrace.tracing import series
from iotrace.tracing.series import Series
from programs.facts.catalogue import BY_NAME
from programs.facts.records import SERIES_LEVELS, TALLY_ERROR, Interval, OpHead, SeriesClock, SeriesKey
from tests.unit.iotrace.tracing.tables import Table

SECOND = 10**9


class Programs:
    """The maps as the programs use them."""

    def __init__(self, max_entries: int = 1000) -> None:
        self.maps: Dict[str, Any] = {
            "series": Table(SeriesKey.size, Interval.size, max_entries),
            "series_clock": Table(4, SeriesClock.size, 1),
        }

    @property
    def stamp(self) -> int:
        raw = self.maps["series_clock"][bytes(4)]
        return int(SeriesClock.struct.unpack(raw)[SeriesClock.stamp.index])

    def read(self, file: int, at: int, length: int, size: int = 10) -> None:
        """A read that ended `at` ns after the begin; intervals at level 0 are of that length."""
        level = self.stamp & (1 << SERIES_LEVELS) - 1
        key = SeriesKey.pack(id=file, index=at // length >> level, stamp=self.stamp)
        before = struct.unpack("<7Q", self.maps["series"].get(key, bytes(Interval.size)))
        self.maps["series"][key] = struct.pack("<7Q", before[0] + 1, before[1] + size, 0, 0, 0, 0, before[6] + 3)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    now = [1000 * SECOND]
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _which: now[0])

    def to(seconds: int) -> None:
        now[0] = (1000 + seconds) * SECOND

    return to


def stats(calls: int, size: int, busy: int) -> bytes:
    return OpHead.pack(calls=calls, bytes=size, busy=busy)


def found(kept: Series, file: int, calls: int) -> List[Tuple[Any, ...]]:
    raw = kept.whole(file, {BY_NAME["read"]: stats(calls, 10 * calls, 3 * calls)}, [])
    return [row[:3] for row in rows_of.numbered(raw, kept.interval_ns)]


def test_intervals_double_as_the_run_goes_on(clock: Callable[[int], None]) -> None:
    programs = Programs()
    kept = Series(programs.maps, 0)
    kept.begin()
    for second in range(100):
        clock(second)
        kept.step(1)
        programs.read(5, second * SECOND, 10**8)
    assert kept.interval_ns == 8 * 10**8, "200 of them are 160 s"
    kept.finish()
    expected: Dict[int, int] = {}
    for second in range(100):
        number = second * 10 // 8
        expected[number] = expected.get(number, 0) + 1
    assert found(kept, 5, 100) == [(number, n, 10 * n) for number, n in sorted(expected.items())]
    assert kept.account() == "full"


def test_a_length_that_was_asked_for_stays(clock: Callable[[int], None]) -> None:
    programs = Programs()
    kept = Series(programs.maps, SECOND)
    kept.begin()
    clock(series.INTERVALS - 1)
    kept.step(1)
    assert kept.interval_ns == SECOND and kept.account() == "full"
    clock(series.INTERVALS)
    kept.step(1)
    assert kept.interval_ns == 2 * SECOND and kept.account().startswith("partial: each is 2 s long")


def test_only_what_nobody_writes_to_any_more_is_taken(clock: Callable[[int], None]) -> None:
    programs = Programs()
    kept = Series(programs.maps, SECOND)
    kept.begin()
    programs.read(5, 0, SECOND)
    kept.drain()
    assert len(programs.maps["series"]) == 1, "nobody can be waited for"

    def wait() -> None:
        assert programs.stamp >> SERIES_LEVELS == 1, "programs that begin from now on write elsewhere"
        programs.read(5, 0, SECOND)

    kept.wait = wait
    kept.drain()
    assert [struct.unpack("<QII", key)[2] >> SERIES_LEVELS for key in programs.maps["series"]] == [1]
    clock(1)
    kept.step(160)
    assert len(programs.maps["series"]) == 1, "it cannot be half full yet"
    kept.finish()
    assert found(kept, 5, 2) == [(0, 2, 20)]


def test_what_has_no_room_is_in_no_interval() -> None:
    kept = Series(Programs().maps, SECOND)
    operations = {
        BY_NAME["read"]: stats(3, 30, 9),
        BY_NAME["pwrite64"]: stats(2, 5, 1),
        BY_NAME["fsync"]: stats(4, 0, 8),
    }
    errors = [(BY_NAME["read"].code, TALLY_ERROR, 5, 2), (BY_NAME["close"].code, TALLY_ERROR, 5, 7)]
    raw = kept.whole(5, operations, errors)
    assert rows_of.numbered(raw, SECOND) == [(None, 3, 30, 2, 5, 4, 2, 10)]
    assert kept.account() == "full"
    kept.forget(5)
    assert kept.account() == "partial: 9 calls are in none, for which there was no room"


def test_rows_of_very_many_files_have_a_bound(monkeypatch: pytest.MonkeyPatch, clock: Callable[[int], None]) -> None:
    monkeypatch.setattr(series, "ROOM", 64 * 1000)
    programs = Programs(1 << 20)
    kept = Series(programs.maps, SECOND)
    kept.wait = lambda: None
    kept.begin()
    for second in range(50):
        clock(second)
        for file in range(100):
            programs.read(file, second * SECOND, SECOND)
        kept.drain()
    assert kept.interval_ns > SECOND and kept.account().startswith("partial: each is")
    kept.finish()
    for file in range(100):
        assert sum(row[1] for row in found(kept, file, 50)) == 50
