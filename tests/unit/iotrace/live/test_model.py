"""The model of a live screen: rates, groups, orders, and that nothing is missing from the sums."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Tuple

import pytest

from iotrace import text
from iotrace.live import plain, show
from iotrace.live.model import GROUPS, HISTORY, MOST, SORTS, Live, matcher
from iotrace.live.show import Look
from iotrace.profile.whose import Who
from iotrace.tracing.glances import CALLS, READ_BYTES, WRITTEN_BYTES, Change, Glance, Place
from programs.facts.records import LATENCY_BUCKETS

SECOND = 1_000_000_000
NAMES = [b"/srv/db/journal", b"/srv/db/data", b"/etc/passwd", b"/\x1b[2J\xff\n\xe2\x80\xae/evil", b"/" + b"x" * 5000]


def change(path: bytes, calls: int = 0, read: int = 0, written: int = 0, *, who: str = "sh", **more: Any) -> Change:
    counts = (
        calls,
        read,
        written,
        more.get("syncs", 0),
        more.get("errors", 0),
        more.get("busy", 0),
        more.get("storage", 0),
    )
    return Change(Place(path, 1, Who("process", who.encode())), counts, more.get("latencies", 0))


def live(*intervals: List[Change], by: str = "file", seconds: int = 1) -> Live:
    found = Live(by)
    for number, changes in enumerate(intervals, 1):
        found.add(Glance(number * seconds * SECOND, changes, 10, 0))
    return found


def lines(model: Live, **wanted: Any) -> Dict[bytes, Tuple[float, float]]:
    return {line.name: (line.rate(CALLS), line.moved) for line in model.table(**wanted).lines}


def test_rates_are_of_the_last_interval() -> None:
    model = live([change(b"/a", 100, 4096)], [change(b"/a", 10, 512, 512), change(b"/b", 4)], seconds=2)
    assert lines(model, sort="calls") == {b"/a": (5.0, 512.0), b"/b": (2.0, 0.0)}
    assert model.table().total.counts[:3] == (14, 512, 512)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("file", {b"/d/a": 1, b"/d/b": 3, b"/e": 5}),
        ("directory", {b"/d": 4, b"/": 5}),
        ("process", {b"x": 6, b"y": 3}),
    ],
)
def test_groups(by: str, expected: Dict[bytes, int]) -> None:
    changes = [change(b"/d/a", 1, who="x"), change(b"/d/b", 3, who="y"), change(b"/e", 5, who="x")]
    direct, later = live(changes, by=by), live(changes)
    later.group(by)
    for model in (direct, later):
        assert {line.name: line.counts[CALLS] for line in model.table().lines} == expected
        assert model.table().total.counts[CALLS] == 9


def test_one_path_in_two_namespaces_is_two_files() -> None:
    other = change(b"/a", 2)._replace(place=Place(b"/a", 2))
    assert [line.counts[CALLS] for line in live([change(b"/a", 1), other]).table(sort="calls").lines] == [2, 1]


@pytest.mark.parametrize("sort", SORTS)
def test_every_order_puts_the_largest_first(sort: str) -> None:
    cell = 1 << 64 * 40
    changes = [
        change(
            b"/%d" % number,
            number,
            number,
            number,
            syncs=number,
            errors=number,
            busy=number,
            storage=number,
            latencies=cell << 64 * number,
        )
        for number in (2, 3, 1)
    ]
    assert [line.name for line in live(changes).table(sort=sort).lines] == [b"/3", b"/2", b"/1"]


def test_what_is_not_shown_is_summed() -> None:
    table = live([change(b"/%d" % number, number, 10 * number) for number in range(1, 11)]).table(limit=3)
    assert [line.name for line in table.lines] == [b"/10", b"/9", b"/8"]
    assert (table.hidden, table.rest.counts[:2]) == (7, (28, 280))


def test_a_line_stays_for_a_while_and_goes() -> None:
    model = live([change(b"/a", 1)], *[[] for _ in range(HISTORY - 1)])
    assert lines(model) == {b"/a": (0.0, 0.0)} and lines(model, active=True) == {}
    model.add(Glance((HISTORY + 1) * SECOND, [], 10, 0))
    assert lines(model) == {}


def test_a_hundred_thousand_files_leave_few_lines_and_all_of_the_sums() -> None:
    model = live([change(b"/%d" % number, 1, number) for number in range(100_000)], [change(b"/a", 1)])
    table = model.table(sort="calls")
    assert len(table.lines) == MOST and table.lines[0].name == b"/a"
    assert model.total.history[0][:2] == (100_000, sum(range(100_000)))


def test_the_trend_is_the_last_intervals() -> None:
    (line,) = live([change(b"/a", 1, 5)], [change(b"/a", 2)], [], [change(b"/a", 4, 0, 9)]).table().lines
    assert line.series(CALLS, 6) == [0, 0, 1, 2, 0, 4]
    assert line.series(CALLS, 2) == [0, 4]
    assert line.series(None, 4) == [5, 0, 0, 9]


def test_the_percentile_is_that_of_all_files_of_a_group() -> None:
    """99 calls of one in a low bucket, and 2 of another in a high one: these are what 99% do not exceed."""
    low, high = (10, 99), (64, 2)
    cells = [count << 64 * bucket for bucket, count in (low, high)]
    (line,) = (
        live([change(b"/d/a", 99, latencies=cells[0]), change(b"/d/b", 2, latencies=cells[1])], by="directory")
        .table()
        .lines
    )
    # Eight buckets for each power of two, of 16 ns each below 256 ns: number 8 k begins at 64 ns 2^k.
    lower = 64 << 64 // 8
    assert line.p99 is not None and lower <= line.p99 <= 2 * lower
    assert LATENCY_BUCKETS > 64


@pytest.mark.parametrize(
    ("words", "name", "expected"),
    [("", b"/a", True), ("LOG", b"/var/log/x", True), ("log", b"/srv", False), ("*.wal", b"/db/x.wal", True),
     ("*.wal", b"/db/x.wal2", False), ("[", b"/a[b", True), ("[", b"/ab", False)],
)  # fmt: skip
def test_names_that_are_wanted(words: str, name: bytes, expected: bool) -> None:
    assert matcher(words)(name) is expected


@pytest.mark.parametrize("width", [40, 60, 80, 132, 200])
@pytest.mark.parametrize("unicode", [True, False])
def test_a_page_fits_and_has_nothing_that_drives_a_terminal(width: int, unicode: bool) -> None:
    changes = [change(name, 7, 3 << 20, 1 << 40, syncs=3, errors=2, busy=10**9, storage=100) for name in NAMES]
    state = plain.State(by="file", groups=list(GROUPS), sort="bytes", only="\x1b[2J")
    model = live(changes)
    found = plain.page(model.table(), state, Look(width, unicode), 20, "x")
    assert len(found) == 20
    assert all(text.width(line) <= width and line.isprintable() for line in found)
    assert unicode or all(line.isascii() for line in found[3:])
    assert found[4].endswith("FILE")
    shown = [line for line in found if line.endswith("rnal")]
    assert len(shown) == 1 and "3.00 MiB" in shown[0]


def test_lines_for_scripts_have_whole_names() -> None:
    table = live([change(name, 7, 4096, syncs=1) for name in NAMES]).table(limit=4)
    found = list(show.batch(table, "file", "bytes", Look(0)))
    assert found[0] == "interval 1, 1.00 s: 35 calls/s  read 20.0 KiB/s  written 0/s  5.0 syncs/s, nothing lost"
    assert [line.split()[-1] for line in found[2:6]] == sorted(map(text.safe, NAMES))[:4]
    assert found[6].endswith("(1 more)") and found[6].split()[0] == "7.0" and found[7] == ""


def test_objects_for_programs_add_up() -> None:
    model = live([change(name, 7, 4096, 10, syncs=1, errors=3, busy=5, storage=2) for name in NAMES])
    document = json.loads(show.document(model.table(limit=2), "file"))
    whole = {key: value for key, value in document["total"].items() if key != "p99_ns"}
    moved = {"bytes_read": 5 * 4096, "bytes_written": 50, "storage_bytes": 10}
    assert whole == {"calls": 35, "syncs": 5, "errors": 15, "busy_ns": 25, **moved}
    for key, value in whole.items():
        assert document["rest"][key] + sum(row[key] for row in document["rows"]) == value
    names = {row["path"].encode("utf-8", "surrogateescape") for row in document["rows"]}
    assert names <= set(NAMES) and document["others"] == 3


def test_what_is_lost_is_said_loudly() -> None:
    model = live([])
    model.add(Glance(2 * SECOND, [], 10, 3))
    model.add(Glance(3 * SECOND, [], 10, 5))
    assert show.lost(model.table()) == "LOST: 2 in this interval, 5 so far"
    assert READ_BYTES != WRITTEN_BYTES
