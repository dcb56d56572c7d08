"""Profiles merged into one: held to what one trace of everything would have."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iotrace.errors import UserError
from iotrace.profile import merging, reader
from iotrace.profile.merge import add_all
from iotrace.profile.merging import Merged, merge
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.runs import Run, traced_ns
from iotrace.profile.series import COUNTERS, Row
from iotrace.profile.target import Target
from iotrace.profile.whose import Who
from iotrace.profile.writer import write
from tests.unit.iotrace.profile.test_schema import DATA, made_of

TOP = (1 << 63) - 1


class Event(NamedTuple):
    """A system call that was traced. Latencies are lower bounds of buckets, so that a histogram is a count of them."""

    host: str
    path: bytes
    call: str
    size: int
    moved: int  # below 0: an error
    at: int
    latency: int
    who: bytes = b"cp"


events = st.builds(
    Event,
    st.sampled_from(("db1", "db2")),
    st.sampled_from((b"/a", b"/b/\xff", b"/c")),
    st.sampled_from(("pread64", "read", "pwrite64")),
    st.sampled_from((0, 100, 4096, 8192)),
    st.sampled_from((-5, 0, 100, 4096)),
    st.integers(10**18, 10**18 + 10**6),
    st.sampled_from((64, 80, 1024, 1 << 20)),
    st.sampled_from((b"cp", b"tar")),
)
START, INTERVAL = 10**18, 3 * 10**5  # of every run with events


def power(size: int) -> int:
    return 0 if size == 0 else 2 ** (len(bin(size)) - 3)


def traced_call(of: Sequence[Event]) -> SyscallStats:
    """What a trace says of these calls, by arithmetic."""
    good = [event for event in of if event.moved >= 0]
    return SyscallStats(
        len(of),
        sum(event.moved for event in good),
        min(event.at for event in of),
        max((event.at + event.latency for event in good), default=None),
        {"EIO": len(of) - len(good)} if len(good) < len(of) else {},
        dict(Counter(power(event.size) for event in of)),
        dict(Counter(power(event.moved) for event in good)),
        dict(Counter(event.latency for event in good)),
        sum(event.latency for event in good),
        max((event.latency for event in good), default=0),
        dict(Counter(event.size for event in of)),
    )


def over_time(of: Sequence[Event]) -> List[Row]:
    """What these calls are in each interval, by arithmetic."""
    rows: Dict[int, List[int]] = {}
    for event in of:
        row = rows.setdefault((event.at - START) // INTERVAL, [0] * len(COUNTERS))
        first = 2 if event.call == "pwrite64" else 0
        row[first] += 1
        row[first + 1] += max(event.moved, 0)
        row[5] += event.moved < 0
        row[6] += event.latency if event.moved >= 0 else 0
    return [(number, *counters) for number, counters in sorted(rows.items())]  # type: ignore[misc]


def traced(of: Sequence[Event], host: bool = False) -> List[FileStats]:
    """The files of a trace of these calls, a row for each process, with their hosts where these are told."""
    files = []
    for path, name, who in sorted({(event.path, event.host, event.who) for event in of}):
        own = [event for event in of if (event.path, event.host, event.who) == (path, name, who)]
        calls = {call: traced_call([e for e in own if e.call == call]) for call in sorted({e.call for e in own})}
        file = FileStats(7, path, host=name if host else None, opens=len(own), syscalls=calls)
        file.bytes_read = sum(call.bytes for kind, call in calls.items() if "read" in kind)
        file.bytes_written = sum(call.bytes for kind, call in calls.items() if "write" in kind)
        file.sequential_read = {4096: len(own)}
        file.who = Who("process", who)
        file.series = over_time(own)
        files.append(file)
    return files


def profile(
    path: Path, host: str, files: Iterable[FileStats], started: int = 5, interval: Optional[int] = None
) -> Path:
    """A profile of a run of its own."""
    run = Run(f"{abs(hash((str(path), host))):032x}"[-32:], host, started, started + 10)
    header = Header(host=host, started_ns=started, ended_ns=started + 10, runs=[run], interval_ns=interval)
    write(path, header, files, force=True)
    return path


def content(path: Path) -> List[FileStats]:
    with reader.open(path) as found:
        return list(found.by_path())


def merged(output: Path, *names: Path, fan_in: int = merging.FAN_IN, duplicates: bool = False) -> Merged:
    return merge(names, Target(output, force=True), allow_duplicates=duplicates, fan_in=fan_in)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(events, st.integers(0, 2)), max_size=30))
def test_profiles_of_parts_make_the_profile_of_the_whole(tmp_path: Path, split: List[Tuple[Event, int]]) -> None:
    """However calls are shared out over three runs on each of two hosts, at once, in two passes and step by step.

    By whose they are, and by the interval in which they were, too.
    """
    names = []
    for host in ("db1", "db2"):
        for number in range(3):
            part = [event for event, of in split if event.host == host and of == number]
            names.append(profile(tmp_path / f"{host}-{number}", host, traced(part), START, INTERVAL))
    whole = traced([event for event, _ in split], host=True)
    assert merged(tmp_path / "at-once", *names).files == len({(file.path, file.host) for file in whole})
    assert content(tmp_path / "at-once") == whole
    merged(tmp_path / "passes", *names, fan_in=2)
    assert content(tmp_path / "passes") == whole
    merged(tmp_path / "some", *names[1:5])
    both = merged(tmp_path / "again", names[0], tmp_path / "some", names[5])
    assert content(tmp_path / "again") == whole
    assert (both.header.host, len(both.header.runs)) == ("db1 / db2", 6)


@given(st.lists(st.lists(st.integers(0, 7), max_size=40), min_size=1, max_size=5))
def test_common_sizes_are_as_exact_as_they_say(parts: List[List[int]]) -> None:
    """Each part knows its four most frequent sizes exactly."""
    files = []
    for sizes in parts:
        known = dict(Counter(sizes).most_common(4))
        call = SyscallStats(len(sizes), requested={1: len(sizes)} if sizes else {}, common_sizes=known)
        files.append(FileStats(1, b"/a", syscalls={"read": call}))
    total = add_all(files).syscalls["read"]
    true = Counter(size for sizes in parts for size in sizes)
    assert all(abs(true[size] - count) <= total.common_sizes_error for size, count in total.common_sizes.items())
    assert len(total.common_sizes) == min(
        4, len({size for file in files for size in file.syscalls["read"].common_sizes})
    )
    if len(true) <= 4:
        assert (total.common_sizes, total.common_sizes_error) == (dict(true), 0)


def test_hosts_stay_apart_and_unreachable_files_by_themselves(tmp_path: Path) -> None:
    lost = FileStats(1, b"/gone", unreachable=True, opens=1)
    for host in ("b", "a"):
        profile(tmp_path / host, host, [FileStats(1, b"/x", opens=2), lost])
    merged(tmp_path / "m", tmp_path / "b", tmp_path / "a")
    found = [(file.path, file.host, file.opens) for file in content(tmp_path / "m")]
    assert found == [(b"/gone", "a", 1), (b"/gone", "b", 1), (b"/x", "a", 2), (b"/x", "b", 2)]
    profile(tmp_path / "c", "a", [FileStats(1, b"/x", opens=3), lost])
    merged(tmp_path / "more", tmp_path / "m", tmp_path / "c")
    found = [(file.path, file.host, file.opens) for file in content(tmp_path / "more")]
    assert found == [(b"/gone", "a", 1), (b"/gone", "a", 1), (b"/gone", "b", 1), (b"/x", "a", 5), (b"/x", "b", 2)]
    with reader.open(tmp_path / "more") as both:
        assert [(row.host, row.sums.calls) for row in both.rows("path", folded=True)][-2:] == [("a", 0), ("b", 0)]
        assert both.totals().files == 5


def test_temporary_files_are_folded_on_each_host(tmp_path: Path) -> None:
    for host in ("a", "b"):
        temporary = FileStats(1, b"/x.tmp", renamed_to=b"/x", ended_as=b"/x", bytes_written=5)
        profile(tmp_path / host, host, [FileStats(1, b"/x", bytes_read=7), temporary])
    merged(tmp_path / "m", tmp_path / "a", tmp_path / "b")
    with reader.open(tmp_path / "m") as both:
        rows = [(row.host, row.path, row.sums[:2]) for row in both.rows("path", folded=True)]
    assert rows == [("a", b"/x", (7, 5)), ("b", b"/x", (7, 5))]


def test_a_run_counts_once(tmp_path: Path) -> None:
    a, b = (profile(tmp_path / name, name, [FileStats(1, b"/x", opens=1)]) for name in "ab")
    merged(tmp_path / "m", a, b)
    for names in ((a, a), (tmp_path / "m", b), (tmp_path / "m", tmp_path / "m")):
        with pytest.raises(UserError, match=r"the same run twice \([ab], 1970.*--allow-duplicates"):
            merged(tmp_path / "n", *names)
    assert not (tmp_path / "n").exists()
    twice = merged(tmp_path / "n", tmp_path / "m", b, duplicates=True)
    assert sorted((run.host, run.times) for run in twice.header.runs) == [("a", 1), ("b", 2)]
    assert [(file.host, file.opens) for file in content(tmp_path / "n")] == [("a", 1), ("b", 2)]


def test_profiles_without_identities_have_one_of_what_they_say(tmp_path: Path) -> None:
    old = made_of((DATA / "schema2.sql").read_text(), tmp_path / "old")
    copy = made_of((DATA / "schema2.sql").read_text(), tmp_path / "copy")
    with pytest.raises(UserError, match="the same run twice"):
        merged(tmp_path / "m", old, copy)
    write(tmp_path / "other", Header(started_ns=1), [])
    assert len(merged(tmp_path / "m", old, tmp_path / "other").header.runs) == 2
    assert len(content(tmp_path / "m")) == len(content(old)) == 3


def test_too_large_a_sum_leaves_nothing(tmp_path: Path) -> None:
    names = [profile(tmp_path / name, "h", [FileStats(1, b"/x", opens=TOP)]) for name in "ab"]
    before = sorted(tmp_path.iterdir())
    for fan_in in (1, 2):
        with pytest.raises(UserError):
            merged(tmp_path / "m", *names, fan_in=fan_in)
        assert sorted(tmp_path.iterdir()) == before


def test_the_profile_may_take_the_place_of_one_that_it_is_made_of(tmp_path: Path) -> None:
    a, b = (profile(tmp_path / name, name, [FileStats(1, b"/x")]) for name in "ab")
    merged(a, a, b)
    assert [file.host for file in content(a)] == ["a", "b"]


def test_the_header_tells_of_all(tmp_path: Path) -> None:
    lost: Dict[str, int] = {"events": 1, "files": 0, "calls": 2}
    names = []
    for number in range(30):
        path = tmp_path / str(number)
        write(
            path, Header(host=f"host{number:02}", started_ns=number * 100, ended_ns=number * 100 + 150, lost=lost), []
        )
        names.append(path)
    header = merged(tmp_path / "m", *names, fan_in=7).header
    with reader.open(tmp_path / "m") as found:
        assert sorted(found.header.runs) == sorted(header.runs) and len(header.runs) == 30
        assert found.header.lost == {"events": 30, "files": 0, "calls": 60}
        assert found.header.host.startswith("host00 / host01 / ") and found.header.host.endswith("host18 / ...")
    assert traced_ns(header.runs) == 29 * 100 + 150


def test_time_is_counted_once_where_runs_overlap() -> None:
    runs = [Run("", "a", 0, 10), Run("", "b", 5, 20), Run("", "b", 6, 7), Run("", "c", 30, 31), Run("", "d", 9, 8)]
    assert traced_ns(runs) == 21
