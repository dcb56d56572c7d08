"""That the page's figures are those of the profile, and what it does not show by itself is in a sum."""

from __future__ import annotations

import itertools
import os
import sqlite3
from pathlib import Path
from typing import Any, Dict, List

import pytest

from iotrace import text
from iotrace.errors import Failure
from iotrace.findings.engine import find
from iotrace.globs import Selection
from iotrace.page import details, listing, passes
from iotrace.page.document import Document, collect
from iotrace.page.words import micro
from iotrace.profile import reader
from iotrace.profile.rows import Sums
from tests.unit.iotrace.page.samples import HEADER, LONG, file, hostile, profile, sample, unpacked

SUMS = {"read": "bytes_read", "written": "bytes_written", "calls": "calls", "errors": "errors", "syncs": "syncs"}
SUMS["busy"] = "busy_ns"


def made(*paths: Path, **options: Any) -> Document:
    profiles = [reader.open(path) for path in paths]
    try:
        return collect(profiles, **options)
    finally:
        for each in profiles:
            each.close()


def totals(path: Path) -> Sums:
    with reader.open(path) as found:
        return found.totals(folded=True).sums


def sums_of(listing: Dict[str, Any]) -> Dict[str, int]:
    """The sums over the files that are listed, and those that are not."""
    rest: List[List[int]] = [row[1:] for row in listing["rest"]]
    columns = dict(zip(listing["rest_columns"], zip(*rest))) if rest else {}
    return {name: sum(listing["columns"][name]) + sum(columns.get(name, ())) for name in SUMS}


def files_of(found: Document) -> Dict[str, Any]:
    """Everything that the page has of each listed file, by its path."""
    listing = unpacked(found.listing)
    above, names = listing["directories"]["above"], listing["directories"]["name"]
    paths = [""]
    for number in range(1, len(names)):
        paths.append(f"{paths[above[number]]}/{names[number]}")
    own = dict(zip(itertools.chain(*unpacked(found.details["numbers"])), records(found)))
    directory, places, made_of = 0, listing["place"] or [0] * len(listing["name"]), {}
    for number, (name, step) in enumerate(zip(listing["name"], listing["directory"])):
        directory += step
        figures = [listing["columns"][column][number] for column in listing["columns"]]
        made_of[f"{paths[directory]}/{name}"] = [listing["places"][places[number]], figures, own.get(number)]
    return made_of


def records(found: Document) -> List[List[Any]]:
    return [record for piece in found.details["pieces"] for record in unpacked(piece)]


@pytest.mark.parametrize("bounds", [{}, {"most": 7}, {"budget": 4000}, {"most": 0}])
def test_nothing_is_dropped(tmp_path: Path, bounds: Dict[str, int]) -> None:
    path = profile(tmp_path, "p", HEADER, sample())
    found = made(path, **bounds)
    names = unpacked(found.listing)
    files = len(names["name"]) + sum(row[1] for row in names["rest"])
    assert files == found.summary["files"] == 122  # of 123 rows, of which one is of a temporary name
    assert bool(bounds) == bool(names["rest"]) and found.summary["listed"] == len(names["name"])
    assert sums_of(names) == {name: getattr(totals(path), field) for name, field in SUMS.items()}
    reads = found.summary["whole"][details.FIELDS.index("read_requested")]
    assert sum(reads[1::2]) == sum(call.calls for f in sample() for n, call in f.syscalls.items() if n == "pread64")


def test_the_busiest_are_listed(tmp_path: Path) -> None:
    files = [file(b"/small/%03d" % i, 1, 0) for i in range(50)]
    files += [file(b"/large", 1000, 0), file(b"/synced", 0, 1, syncs=9), file(b"/small/failing", 1, 0)]
    files[-1].syscalls["pread64"].errors = {"EIO": 1}
    found = made(profile(tmp_path, "p", HEADER, iter(files)), most=3)
    listing = unpacked(found.listing)
    assert sorted(listing["name"]) == ["failing", "large", "synced"]
    assert [row[:2] for row in listing["rest"]] == [[0, 1], [1, 49]] or sum(row[1] for row in listing["rest"]) == 50


def test_two_profiles_add_up(tmp_path: Path) -> None:
    a, b = (profile(tmp_path, name, HEADER, sample()) for name in "ab")
    one, two = made(a), made(a, b)
    assert {name: 2 * value for name, value in sums_of(unpacked(one.listing)).items()} == sums_of(unpacked(two.listing))
    assert one.summary["files"] == two.summary["files"]
    assert any("COUNTED MORE THAN ONCE" in words for words in two.summary["run"]["warnings"])


def test_only_what_is_selected(tmp_path: Path) -> None:
    path = profile(tmp_path, "p", HEADER, sample())
    found = made(path, selection=Selection((b"*/wal/*",), ()))
    assert found.summary["files"] == 40
    assert {name.rpartition(".")[2] for name in unpacked(found.listing)["name"]} == {"seg"}


def test_histograms_of_the_busiest_as_far_as_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(details, "IN_A_PIECE", 10)
    monkeypatch.setattr(details, "_TIER", 20)
    path = profile(tmp_path, "p", HEADER, sample())
    whole = made(path)
    assert len(records(whole)) == whole.summary["with_details"] == 122
    room = len(whole.listing) + 3 * max(map(len, whole.details["pieces"])) + 12
    few = made(path, room=room)
    assert 20 <= few.summary["with_details"] <= 60 and len(records(few)) == few.summary["with_details"]
    calls = unpacked(few.listing)["columns"]["calls"]
    numbers = unpacked(few.details["numbers"])
    assert max(range(len(calls)), key=calls.__getitem__) in itertools.chain(*numbers)
    at = details.FIELDS.index("calls")
    for own, piece in zip(numbers, few.details["pieces"]):
        assert [sum(record[at].values()) for record in unpacked(piece)] == [calls[number] for number in own]


def test_two_halves_are_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What two processes make of a half each is what one makes of all, and findings are those of the profile."""
    monkeypatch.setattr(details, "IN_A_PIECE", 10)
    a, b = profile(tmp_path, "a", HEADER, sample()), profile(tmp_path, "b", HEADER, hostile())
    bounds = {"most": 60}
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for paths in ((a,), (a, b)):
        monkeypatch.setattr(passes, "MANY", 1 << 30)
        one = made(*paths, **bounds)
        monkeypatch.setattr(passes, "MANY", 1)
        two = made(*paths, **bounds)
        assert two.summary == one.summary
        assert files_of(two) == files_of(one) and len(files_of(one)) == 60
        with reader.open(paths[0]) as first, reader.open(paths[-1]) as last:
            expected = find([first] if first.name == last.name else [first, last])
        assert [each["sentence"] for each in one.summary["findings"]] == [micro(f.sentence) for f in expected]


def test_what_ends_the_other_half_ends_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = profile(tmp_path, "p", HEADER, sample())
    database = sqlite3.connect(str(path))
    database.execute("UPDATE calls SET by_syscall = '[' WHERE file_id = (SELECT id FROM file ORDER BY path DESC)")
    database.commit()
    database.close()
    monkeypatch.setattr(passes, "MANY", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(reader.ProfileError, match="damaged profile"):
        made(path)
    monkeypatch.setattr(passes, "_work", lambda *_: os._exit(1))
    with pytest.raises(Failure, match="has ended"):
        made(profile(tmp_path, "q", HEADER, sample()))


def test_the_record_of_a_file(tmp_path: Path) -> None:
    path = profile(tmp_path, "p", HEADER, iter([file(b"/x", 8, 4, syncs=2)]))
    (values,) = records(made(path))
    found = dict(zip(details.FIELDS, values))
    assert found["read_requested"] == [13, 8] == found["read_completed"]  # 4096 is 2^12, the 13th power
    assert found["read_cached"] == [13, 6] and found["read_missed"] == [13, 2]
    assert found["written_runs"] == [15, 1] and found["between"] == [13, 2]
    assert dict(zip(details.TRANSFERS, found["written"]))["bytes"] == 4 * 4096
    assert dict(zip(details.SYNCS, found["syncs"]))["calls"] == 2
    assert found["calls"] == {"fsync": 2, "pread64": 8, "pwrite64": 4}


def test_over_time_it_adds_up_too(tmp_path: Path) -> None:
    path = profile(tmp_path, "p", HEADER, sample())
    series = made(path).summary["series"]
    counters = series["counters"]
    whole = [sum(column) for column in zip(*series["rows"])]
    lines = [sum(column) for column in zip(*[row for line in series["lines"] for row in line["rows"]])]
    expected = [sum(row[1:][i] or 0 for f in sample() for row in f.series) for i in range(len(counters))]
    assert whole == lines == expected
    assert series["lines"][-1]["name"] == "all others" and len(series["lines"]) == 25


def test_names_are_safe_and_short(tmp_path: Path) -> None:
    listing = unpacked(made(profile(tmp_path, "p", HEADER, hostile())).listing)
    for name in (*listing["name"], *listing["directories"]["name"]):
        assert name == text.safe_text(name.replace("\\", "")) or "\\" in name
        assert all(char.isprintable() for char in name) and len(name) < 1000
    assert any(name.endswith(f"({len(LONG):,} bytes)") for name in listing["name"])


def test_names_do_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "TEXT", 20_000)
    long = b"/".join([b"d" * 200] * 9)
    path = profile(tmp_path, "p", HEADER, (file(b"/%03d/%s/x" % (i, long), 1, 1) for i in range(30)))
    found = made(path)
    names = unpacked(found.listing)
    assert 5 < len(names["name"]) < 12
    assert len(names["name"]) + sum(row[1] for row in names["rest"]) == 30
    assert sums_of(names)["read"] == 30 * 4096


def test_sizes_that_are_many_do_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "_EXACT_SIZES", 10)
    files = (file(b"/%03d" % i, 2 if i == 7 else 1, 0, each=100 + i) for i in range(100))
    found = made(profile(tmp_path, "p", HEADER, files))
    assert found.summary["cards"][0]["beside"] == "101 calls"
