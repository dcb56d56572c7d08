"""The commands of QUESTIONS.md, over profiles like those that it is about: they run, and show the same columns."""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Iterator, List, Tuple

import pytest

from iotrace.profile.failed_opens import FailedOpen
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.whose import Who
from iotrace.profile.writer import write
from tests import needs

ROOT = Path(__file__).resolve().parents[2]
HEADER = Header(
    host="vm", command=[b"sh"], started_ns=10**18, ended_ns=10**18 + 10**9, filters={"by": "process"}, interval_ns=10**8
)


def blocks() -> Iterator[Tuple[str, List[str]]]:
    """Each command of the document that needs no root, and what follows it."""
    found: List[Tuple[str, List[str]]] = []
    own: List[str] = []
    for line in (ROOT / "QUESTIONS.md").read_text().splitlines():
        if line.startswith("    $ "):
            own = []
            found.append((line[6:], own))
        elif line.startswith("    # iotrace "):
            own = []
        elif line.startswith("    "):
            own.append(line[4:])
    return iter(found)


BLOCKS = list(blocks())


def files() -> Iterator[FileStats]:
    for number, name in enumerate([b"/srv/pg/pg_wal/1", b"/srv/pg/base/5", b"/srv/web/html/a"], 1):
        call = SyscallStats(
            200, 8192 * 200, None, None, {}, {8192: 200}, {8192: 200}, {2048: 200}, 400_000, 3000, {8192: 200}
        )
        sync = SyscallStats(150, latency_ns={65536: 150}, latency_sum_ns=150 * 70_000, latency_max_ns=80_000)
        yield FileStats(
            1,
            name,
            who=Who("process", b"postgres"),
            size=8192 * number,
            bytes_read=8192 * 200,
            bytes_written=8192 * 200,
            bytes_synced=8192 * 150,
            bytes_between_syncs={8192: 150},
            syscalls={"pread64": call, "pwrite64": call, "fdatasync": sync},
            series=[(number, 1, 8192, 2, 16384, 1, 0, 5)],
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("questions")
    opens = [FailedOpen(b"/srv/web/html/favicon.ico", "ENOENT", False, 20)]
    for name in ("pg", "nginx", "rsync", "sqlite", "wal"):
        header = dataclasses.replace(HEADER, command=[name.encode()], failed_opens=opens)
        write(where / f"{name}.iotrace", header, [*files()][name == "wal" :])
    for number in range(1, 5):
        one = dataclasses.replace(HEADER, host=f"db{number}")
        write(where / f"db{number}.iotrace", one, [*files()][: 3 if number == 2 else 1])
    return where


def titles(lines: List[str]) -> List[List[str]]:
    """The lines that name the columns of a table."""
    return [line.split() for line in lines if re.fullmatch(r"[ A-Z0-9./<]*[A-Z]{4,}[ A-Z0-9./]*", line)]


@pytest.mark.parametrize("command", [command for command, _ in BLOCKS])
def test_a_command_of_the_document_runs_and_has_these_columns(command: str, place: Path) -> None:
    if "parquet" in command:
        needs.module("pyarrow", (3, 10))
    if command.startswith("iotrace html"):
        needs.module("vl_convert", (3, 10))
    words = shlex.split(command)
    assert words[0] == "iotrace"
    names = [name for word in words[1:] for name in (sorted(place.glob(word)) if word.endswith(".iotrace") else [word])]
    done = subprocess.run(
        [sys.executable, "-m", "iotrace", *map(str, names)],
        cwd=place,
        env={"PYTHONPATH": str(ROOT), "COLUMNS": "96", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (shown,) = [lines for other, lines in BLOCKS if other == command]
    found = titles(done.stdout.splitlines())
    assert all(line in found for line in titles(shown))


def test_the_columns_that_are_compared_are_there() -> None:
    assert sum(len(titles(lines)) for _, lines in BLOCKS) >= 10
