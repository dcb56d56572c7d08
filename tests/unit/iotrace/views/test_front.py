"""The first screen: that it fits, says what is missing, and shows no name as it is."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Iterable

import pytest

from iotrace import text
from iotrace.globs import Selection
from iotrace.profile import reader
from iotrace.profile.failed_opens import FailedOpen
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.runs import Run
from iotrace.profile.writer import write
from iotrace.views import front, summary
from iotrace.views.header import subject
from tests.unit.iotrace.views.samples import HEADER, HOSTILE

KIB = 1024
DATABASE = FileStats(
    1,
    b"/var/lib/db/base",
    opens=1,
    bytes_read=800 * KIB,
    bytes_written=160 * KIB,
    bytes_synced=160 * KIB,
    sequential_read={8 * KIB: 100},
    sequential_write={128 * KIB: 1},
    syscalls={
        "pread64": SyscallStats(
            100,
            800 * KIB,
            requested={8 * KIB: 100},
            completed={8 * KIB: 100},
            common_sizes={8 * KIB: 100},
            latency_ns={4096: 100},
            latency_sum_ns=450_000,
            latency_max_ns=4900,
        ),
        "write": SyscallStats(
            20,
            160 * KIB,
            requested={8 * KIB: 20},
            completed={8 * KIB: 20},
            common_sizes={8 * KIB: 15, 8191: 5},
            latency_ns={1024: 20},
            latency_sum_ns=22_000,
            latency_max_ns=1200,
        ),
        "fdatasync": SyscallStats(10, latency_ns={1 << 20: 10}, latency_sum_ns=10 << 20, latency_max_ns=5_000_000),
    },
)


def screen(
    place: Path, files: Iterable[FileStats], columns: int = 120, header: Header = HEADER, **options: object
) -> str:
    path = place / "p"
    write(path, header, files, force=True)
    out = io.StringIO()
    with reader.open(path) as profile:
        front.show(out, [profile], columns=columns, **options)  # type: ignore[arg-type]
    return out.getvalue()


def test_one_line_each(tmp_path: Path) -> None:
    lines = screen(tmp_path, [DATABASE], 130).splitlines()
    assert lines[0] == "cp 'a b', 5.00 s on db1"
    assert lines[1] == "nothing lost; everything is counted"
    reads = "read 800 KiB 100 calls 99% random 8 KiB x100% p50 4.46 us p99 4.50 us max 4.90 us"
    assert " ".join(lines[3].split()) == reads
    assert " ".join(lines[4].split()).startswith(
        "written 160 KiB 20 calls 100% sequential 8 KiB x75% 8,191 B x25% p50 "
    )
    assert " ".join(lines[5].split()).startswith("synced 160 KiB 10 calls 16.0 KiB each p50 ")
    assert lines[6] == "p50: half of the calls took no longer; p99: 99% of them; both at most 10% off"
    assert " ".join(lines[9].split()) == "160 KiB 800 KiB 130 82% 10 1.14 ms /var/lib/db/base"


@pytest.mark.parametrize("columns", [50, 60, 80, 200])
def test_it_fits(tmp_path: Path, columns: int) -> None:
    deep = dataclasses.replace(DATABASE, path=b"/" + b"/".join([b"directory"] * 30) + b"/the-end")
    output = screen(tmp_path, [DATABASE, deep], columns)
    steps = output.index("\nnext:")
    assert max(map(text.width, output[:steps].splitlines())) <= columns
    assert "the-end" in output


def test_a_name_cannot_drive_the_terminal(tmp_path: Path) -> None:
    header = dataclasses.replace(HEADER, command=[HOSTILE], filters={"comm": ["\x1b[2J"]}, host="\x1b[1m")
    output = screen(tmp_path, [dataclasses.replace(DATABASE, path=b"/" + HOSTILE)], header=header)
    assert "\\x1b" in output and not any(ord(char) < 32 and char != "\n" for char in output)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    header = dataclasses.replace(
        HEADER,
        coverage={
            "aio": "none: no io_submit / full",
            "io_uring": "none: this kernel does not show its requests; no rings made",
            "mmap": "marked",
            "durability": "partial: what is shown as unsynced may be durable, by sync 3",
        },
        lost={"events": 0, "files": 0, "calls": 12},
    )
    output = screen(tmp_path, [dataclasses.replace(DATABASE, mapped=True)], header=header)
    assert "INCOMPLETE; not counted: what went through memory mappings of 1 file, aio (no io_submit)\n" in output
    assert "note: what is shown as unsynced may be durable, by sync 3 (durability)\n" in output
    assert "LOST: 12 calls for which there was no room. The numbers below are too small;" in output
    assert "coverage" not in output and "coverage" in screen(tmp_path, [DATABASE], header=header, details=True)


def test_of_many_files_the_busiest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "MOST_FILES", 1)
    quiet = FileStats(1, b"/quiet", syscalls={"close": SyscallStats(20)})
    output = screen(tmp_path, [quiet, DATABASE], limit=1)
    assert "the lines below are of the 1 busiest files, with 87% of all calls" in output
    assert "800 KiB  100 calls" in output and "and 1 more file: --limit 0 shows all" in output


def test_files_that_are_not_shown_are_counted_as_those_that_are(tmp_path: Path) -> None:
    """A temporary file is a part of what it became, and a file of two profiles is one."""
    files = [DATABASE, dataclasses.replace(DATABASE, path=b"/x.tmp", renamed_to=b"/x", ended_as=b"/x")]
    files.append(dataclasses.replace(DATABASE, path=b"/x"))
    assert "and 1 more file: --limit 0 shows all" in screen(tmp_path, files, limit=1)
    assert "more file" not in screen(tmp_path, files, limit=2)
    assert "and 2 more files" in screen(tmp_path, files, limit=1, folded=False)
    out = io.StringIO()
    with reader.open(tmp_path / "p") as a, reader.open(tmp_path / "p") as b:
        front.show(out, [a, b], limit=1)
    assert "and 1 more file: --limit 0 shows all" in out.getvalue()


def test_nothing_but_opens(tmp_path: Path) -> None:
    opened = FileStats(1, b"/f", opens=2, syscalls={"open": SyscallStats(3, errors={"EACCES": 1})})
    output = screen(tmp_path, [opened])
    assert "no data was read or written; 2 opens" in output and "failed calls: 1: EACCES 1" in output
    nothing = screen(tmp_path, [])
    assert "no data was read or written; 0 opens" in nothing and "FILE\n" not in nothing


def test_errors(tmp_path: Path) -> None:
    opens = [FailedOpen(b"/gone", "ENOENT", False, 6)]
    on_none = {"open": {"ENOENT": 7, "EMFILE": 1}, "read": {"EBADF": 1}}
    header = dataclasses.replace(HEADER, unattributed=on_none, failed_opens=opens)
    lines = screen(tmp_path, [DATABASE], header=header).splitlines()
    assert lines[7] == "failed calls on no file: 1: read EBADF 1"
    assert lines[8] == "failed opens: 6: /gone (ENOENT) 6"
    older = dataclasses.replace(header, failed_opens=[])
    assert "failed calls on no file: 9: open ENOENT 7, open EMFILE 1, read EBADF 1" in screen(
        tmp_path, [DATABASE], header=older
    )


def test_of_selected_files_alone(tmp_path: Path) -> None:
    other = dataclasses.replace(DATABASE, path=b"/other")
    opens = [FailedOpen(b"/etc/gone", "ENOENT", False, 6), FailedOpen(b"/db/gone", "ENOENT", False, 5)]
    header = dataclasses.replace(HEADER, failed_opens=opens, unattributed={"read": {"EBADF": 1}})
    output = screen(tmp_path, [DATABASE, other], header=header, selection=Selection((b"*/db/*",)))
    assert "100 calls" in output and "/other" not in output
    assert "failed opens: 5: /db/gone (ENOENT) 5\n" in output and "on no file" not in output


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"follow": True}, "cp 'a b' and all that it starts"),
        ({"comm": ["nginx", "php*"], "follow": False}, "cp 'a b' and processes named nginx, php*"),
        ({"all": True}, "everything on the host"),
    ],
)
def test_what_was_traced(filters: dict[str, object], words: str) -> None:
    assert subject(dataclasses.replace(HEADER, filters=filters)) == words


def test_a_run_without_a_command_is_one_run() -> None:
    assert subject(Header()) == "1 run"
    runs = [Run("a" * 32, "a", 0, 1), Run("b" * 32, "b", 0, 1)]
    assert subject(Header(runs=runs)) == "2 runs"
    assert subject(Header(runs=runs, command=[b"ls"])) == "2 runs of ls"
