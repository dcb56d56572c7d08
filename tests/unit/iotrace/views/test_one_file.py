"""One file in detail: every metric of it, bars, and how it is found."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from iotrace import text
from iotrace.errors import UserError
from iotrace.profile import reader
from iotrace.profile.metrics import DURATION, FILE, MOMENT, SYSCALL, FileStats, SyscallStats
from iotrace.profile.values import (
    COUNT,
    COUNTS,
    FINE,
    FLAG,
    HISTOGRAM,
    MAYBE,
    MAYBE_PATH,
    MAYBE_TEXT,
    PATH,
    SIZES,
    STATE,
    TEXT,
    UNSIGNED,
    Kind,
)
from iotrace.profile.whose import WHO, Who
from iotrace.profile.writer import write
from iotrace.views import one_file
from iotrace.views.screen import Screen
from tests.unit.iotrace.views.samples import HEADER, HOSTILE, one, sample


@pytest.fixture
def path(tmp_path: Path) -> Path:
    where = tmp_path / "p"
    write(where, HEADER, sample())
    return where


def test_a_file_in_detail(path: Path, tmp_path: Path) -> None:
    out = io.StringIO()
    with reader.open(path) as profile:
        one_file.show(out, [profile], "/srv/a/sub1/000022.log", columns=80)
        with pytest.raises(UserError, match="no such file"):
            one_file.show(out, [profile], "/srv/a", columns=80)
    detail = out.getvalue()
    assert "MAPPED" in detail and "mount namespace 2" in detail
    assert re.search(r"^read +22,528  bytes", detail, re.MULTILINE)
    assert re.search(r"^ +1.02 us .. 2.05 us +22 █+$", detail, re.MULTILINE)
    write(tmp_path / "h", HEADER, [FileStats(1, HOSTILE)])
    with reader.open(tmp_path / "h") as profile:
        for name in (os.fsdecode(HOSTILE), text.safe(HOSTILE)):  # as it is, and as the tables write it
            one_file.show(out, [profile], name, columns=80)


@pytest.mark.parametrize(("part", "expected"), [(0, ""), (1, "▏"), (50, "█████"), (55, "█████▌"), (100, "██████████")])
def test_bars_are_drawn_to_an_eighth(part: int, expected: str) -> None:
    assert one_file.bar(part, 100, 10, unicode=True) == expected


def test_bars_in_ascii() -> None:
    assert [one_file.bar(part, 100, 10, unicode=False) for part in (0, 1, 50, 100)] == ["", "#", "#####", "##########"]


def test_a_glob_names_a_file_that_it_alone_matches(path: Path) -> None:
    assert "\n/srv/a/sub1/000022.log\n" in one(path, "*22.log")
    with pytest.raises(UserError, match=re.escape("matches more than one file: /srv/a/sub0/000000.log, ")):
        one(path, "*.log")
    with pytest.raises(UserError, match=r"matches more than one file: [^,]*, [^,]*$"):
        one(path, "*00[01].*")
    with pytest.raises(UserError, match="no such file"):
        one(path, "*.none")


@pytest.mark.parametrize(
    "name", ["000022.log", "sub1/000022.log", ".../sub1/000022.log", "...022.log", "a/*/000022.log"]
)
def test_the_end_of_a_path_will_do_as_tables_show_it(path: Path, name: str) -> None:
    assert "\n/srv/a/sub1/000022.log\n" in one(path, name)


@pytest.mark.parametrize("room", [20, 34])
def test_what_a_table_has_cut_is_no_glob_and_has_its_escapes(tmp_path: Path, room: int) -> None:
    name = b"/srv/site/pages/users/[id]/a\x1b*b.tsx"
    write(tmp_path / "h", HEADER, [FileStats(1, name), FileStats(1, b"/srv/site/pages/users/i/a\x1b-b.tsx")])
    shown = text.shorten_path(text.safe(name), room)
    assert shown.startswith("...")
    assert f"\n{text.safe(name)}\n" in one(tmp_path / "h", shown)


def test_the_end_of_a_path_begins_with_a_name(path: Path) -> None:
    with pytest.raises(UserError, match=r"22\.log: no such file"):
        one(path, "22.log")


def test_a_path_may_be_from_here(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getcwd", lambda: "/srv/a/sub0")
    monkeypatch.setattr(os, "getcwdb", lambda: b"/srv/a/sub0")
    assert "\n/srv/a/sub1/000022.log\n" in one(path, "../sub1/./000022.log")


def plain(shown: str) -> str:
    """Without what separates the thousands of a number."""
    return shown.replace(",", "")


def test_every_metric_of_a_file_is_shown() -> None:
    """Each under its caption with what it means, or in the heading; of system calls every histogram."""
    distinct = iter(range(1_001_000, 9_000_000, 1000))
    values: Dict[Kind, Callable[[], Any]] = {
        COUNT: lambda: next(distinct),
        MAYBE: lambda: next(distinct),
        UNSIGNED: lambda: next(distinct),
        FLAG: lambda: True,
        TEXT: lambda: f"text{next(distinct)}",
        PATH: lambda: b"/path%d" % next(distinct),
        MAYBE_PATH: lambda: b"/path%d" % next(distinct),
        MAYBE_TEXT: lambda: f"text{next(distinct)}",
        STATE: lambda: "replaced",
        WHO: lambda: Who("process", b"who%d" % next(distinct)),
        HISTOGRAM: lambda: {1: next(distinct)},
        FINE: lambda: {64: next(distinct)},
        SIZES: lambda: {4095: next(distinct)},
        COUNTS: lambda: {"EIO": next(distinct)},
    }
    file = FileStats(**{metric.name: values[metric.kind]() for metric in FILE})
    call = SyscallStats(**{metric.name: values[metric.kind]() for metric in SYSCALL})
    file.syscalls["read"] = call
    out = io.StringIO()
    one_file.show_file(Screen(out, 200), file, start=0)
    drawn = plain(out.getvalue())
    for metric in FILE:
        value = getattr(file, metric.name)
        if metric.kind == FLAG:
            assert metric.name.lower() in drawn.lower()
        elif metric.unit == MOMENT:
            assert f"+{value / 1e9:.6f} s" in drawn
        elif metric.kind == HISTOGRAM:
            assert f"  {plain(metric.doc)}\n" in drawn and str(value[1]) in drawn
        elif metric.kind == WHO:
            assert f"I/O of the process {value.name.decode()}\n" in drawn
        else:
            assert (value.decode() if isinstance(value, bytes) else str(value)) in drawn, metric.name
        if metric.caption and metric.kind != HISTOGRAM:
            line = rf"^{metric.caption} .*  {re.escape(plain(metric.doc))}$"
            assert re.search(line, drawn, re.MULTILINE), metric.name
    for metric in SYSCALL:
        if metric.kind in (HISTOGRAM, FINE):
            assert f"  {plain(metric.doc)}\n" in drawn
        elif metric.kind == SIZES:
            assert re.search(rf"^  {metric.caption} +4095 x {call.common_sizes[4095]}", drawn, re.MULTILINE)
        elif metric.caption:
            value = text.duration(getattr(call, metric.name)) if metric.unit == DURATION else ".*"
            line = rf"^  {metric.caption} +{value}  {re.escape(plain(metric.doc))}$"
            assert re.search(line, drawn, re.MULTILINE), metric.name
    assert f"read: {call.calls} calls {call.bytes} bytes errors: EIO {call.errors['EIO']}\n" in drawn


@pytest.mark.parametrize("columns", [50, 60, 80])
def test_a_percentile_stands_beside_its_value(columns: int) -> None:
    call = SyscallStats(3, latency_ns={4096: 3}, latency_sum_ns=3 * 4200, latency_max_ns=4200)
    out = io.StringIO()
    one_file.show_file(Screen(out, columns), FileStats(1, b"/a", syscalls={"fsync": call}), start=0)
    shown = out.getvalue()
    assert max(map(len, shown.splitlines())) <= columns
    for name, value in (("mean", "4.20"), ("p50", "4.20"), ("p99.9", "4.20"), ("max", "4.20")):
        assert f"{name} {value} us" in shown


def test_what_is_long_goes_on_below_itself(tmp_path: Path) -> None:
    write(tmp_path / "p", HEADER, [FileStats(1, b"/a", durable_writes=3)])
    lines = one(tmp_path / "p", "/a").splitlines()
    (first,) = (number for number, line in enumerate(lines) if line.startswith("durable writes"))
    column = lines[first].index("writes with")
    definition = " ".join(line[column:] for line in lines[first : first + 2])
    assert definition == "writes with O_SYNC, O_DSYNC, RWF_SYNC, RWF_DSYNC"
