"""Logs: whatever is drawn, its sums are those of the profile."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iotrace import cli
from iotrace.errors import UserError
from iotrace.fio import logs
from iotrace.fio.operations import Behaviour, Operation, behaviour, drawn
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.writer import write

PAGE = 4096


def power(size: int) -> int:
    return 1 << (size.bit_length() - 1)


@st.composite
def traced(draw: Any) -> Tuple[FileStats, Dict[str, int]]:
    """What a trace leaves of transfers that are made up here, and the numbers to expect of a log."""
    file = FileStats(1, b"/f", opens=draw(st.integers(1, 3)), size=1 << 20, bytes_between_syncs={})
    expected: Dict[str, int] = {"rewrites": 0, "sync": 0}
    for name, way in (("pread64", "read"), ("pwrite64", "write")):
        sizes = draw(st.lists(st.sampled_from([100, PAGE, 3 * PAGE]), max_size=40))
        if not sizes:
            continue
        counts = Counter(sizes)
        powers = Counter(map(power, sizes))
        file.syscalls[name] = SyscallStats(
            len(sizes), sum(sizes), requested=dict(powers), completed=dict(powers), common_sizes=dict(counts)
        )
        runs: List[int] = []
        for size in sizes:
            if runs and draw(st.booleans()):
                runs[-1] += size
            else:
                runs.append(size)
        setattr(file, f"sequential_{way}", dict(Counter(map(power, runs))))
        expected[way], expected[f"{way}_runs"] = sum(sizes), len(runs)
        if way == "write":
            file.rewrites = expected["rewrites"] = draw(st.integers(0, len(runs) - 1))
            _sync(draw, file, expected, sizes)
    file.unaligned_calls = 1
    return file, expected


def _sync(draw: Any, file: FileStats, expected: Dict[str, int], sizes: List[int]) -> None:
    waiting, between = 0, []
    for size in sizes:
        waiting += size
        if draw(st.booleans()):
            between.append(waiting)
            waiting = 0
    empty = draw(st.integers(0, 2))
    file.bytes_between_syncs = dict(Counter(map(power, between)))
    if empty:
        file.bytes_between_syncs[0] = empty
    file.bytes_synced, file.bytes_unsynced = sum(between), waiting
    expected["sync"], expected["empty"] = len(between) + empty, empty
    if between or empty:
        file.syscalls["fsync"] = SyscallStats(len(between) + empty)


def measured(operations: List[Operation]) -> Dict[str, int]:
    """What a trace would find: bytes, runs, rewrites, syncs, and those that had nothing to sync."""
    found = Counter({"rewrites": 0, "sync": 0})
    ends: Dict[str, int] = {}
    last, waiting = None, 0
    for action, offset, size in operations:
        if action in ("read", "write"):
            found[action] += size
            found[f"{action}_runs"] += ends.get(action) != offset
            ends[action] = offset + size
        if action == "write":
            found["rewrites"] += last == offset
            last, waiting = offset, waiting + size
        elif action == "sync":
            found["sync"] += 1
            found["empty"] += not waiting
            waiting = 0
        elif action == "open":
            ends = {}
    return dict(found)


@settings(max_examples=150, deadline=None)
@given(traced(), st.integers(0, 5))
def test_sums_are_those_of_the_profile(made: Tuple[FileStats, Dict[str, int]], seed: int) -> None:
    file, expected = made
    operations = list(drawn(behaviour(file, 1), str(seed)))
    found = measured(operations)
    assert {name: found.get(name, 0) for name in expected} == expected
    sizes = Counter(operation.size for operation in operations if operation.action in ("read", "write"))
    stats = [file.syscalls[name].common_sizes for name in ("pread64", "pwrite64") if name in file.syscalls]
    assert sizes == sum(map(Counter, stats), Counter())
    room = behaviour(file, 1).room
    assert all(operation.offset + operation.size <= room for operation in operations if operation.action == "read")


def test_runs_are_as_long_as_in_the_profile() -> None:
    """Of two kinds, short and long, not all of the mean length."""
    pages = SyscallStats(1100, 1100 * PAGE, completed={PAGE: 1100}, common_sizes={PAGE: 1100})
    file = FileStats(1, b"/f", size=1 << 30, sequential_read={PAGE: 100, 64 * PAGE: 10}, syscalls={"pread64": pages})
    runs: List[int] = []
    end = -1
    for action, offset, size in drawn(behaviour(file, 1), "1"):
        if action == "read":
            runs = [*runs, size] if offset != end else [*runs[:-1], runs[-1] + size]
            end = offset + size
    assert len(runs) == 110
    long = sum(run >= 32 * PAGE for run in runs)
    assert 9 <= long <= 11 and sum(run <= 2 * PAGE for run in runs) >= 95


def replays() -> List[FileStats]:
    pages = SyscallStats(20, 20 * PAGE, completed={PAGE: 20}, common_sizes={PAGE: 20})
    return [
        FileStats(
            1, path, size=1 << 20, sequential_write={PAGE: 20}, first_write_ns=10**9, last_write_ns=2 * 10**9,
            bytes_between_syncs={PAGE: 4}, bytes_synced=20 * PAGE,
            syscalls={"pwrite64": pages, "fdatasync": SyscallStats(4)},
        )
        for path in (b"/a:b c", b"/new\nline")
    ]  # fmt: skip


def text(seed: int, version: int = 3) -> str:
    (replay,) = logs.replays(replays()).made
    stream = io.BytesIO()
    logs.write(replay, "/bench", seed, version, stream)
    return stream.getvalue().decode()


def test_a_seed_is_one_log_for_ever() -> None:
    assert text(1) == text(1) != text(2)


def test_lines_are_as_fio_reads_them() -> None:
    head, *lines = text(1).splitlines()
    assert head == "fio version 3 iolog"
    assert lines[:2] == ["0 /bench/f000001 add", "0 /bench/f000002 add"]
    times = [int(line.split()[0]) for line in lines]
    assert times == sorted(times) and max(times) <= 1_000_000  # us
    assert Counter(line.split()[2] for line in lines) == {"add": 2, "open": 2, "close": 2, "write": 40, "datasync": 8}
    assert all(len(line.split()) == (3 if line.split()[2] in ("add", "open", "close") else 5) for line in lines)
    middle = [line.split()[1] for line in lines[2:]]
    assert sum(a != b for a, b in zip(middle, middle[1:])) > 10  # the two files in turn
    assert [line.split(" ", 1)[1] for line in lines] == text(1, 2).splitlines()[1:]


@pytest.mark.parametrize("directory", ["a b", "a\tb", "x" * 250])
def test_directories_that_do_not_fit_a_log(directory: str) -> None:
    with pytest.raises(UserError):
        logs.check_directory(directory)


def test_what_is_too_long_is_refused() -> None:
    many = SyscallStats(1 << 60, 1 << 60, completed={1: 1 << 60})
    with pytest.raises(UserError, match="--scale"):
        logs.replays([FileStats(1, b"/f", syscalls={"read": many})])


def test_the_logs_lie_beside_the_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "p", Header(), replays())
    target = tmp_path / "a:b.fio"
    words = ["fio", str(tmp_path / "p"), "--directory", "/bench", "--iolog"]
    assert cli.main(words) == 2  # where should they lie?
    assert cli.main([*words, "-o", str(target)]) == 0
    assert (tmp_path / "a:b.fio.01.log").read_text() == text(1)
    assert "read_iolog=a\\:b.fio.01.log\n" in target.read_text()
    assert "f000002: /new\\x0aline" in target.read_text()
    assert cli.main([*words, "-o", str(target)]) == 2
    assert cli.main([*words, "-o", str(target), "--force", "--seed", "2"]) == 0
    assert (tmp_path / "a:b.fio.01.log").read_text() == text(2)


def test_scaled() -> None:
    (file, _) = replays()
    half: Behaviour = behaviour(file, 0.5)
    found = measured(
        [Operation("sync" if each.action == "datasync" else each.action, *each[1:]) for each in drawn(half, "1")]
    )
    assert (found["write"], found["sync"], found["write_runs"]) == (10 * PAGE, 2, 10)
