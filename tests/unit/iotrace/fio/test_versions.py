"""Each fio that is at hand replays a log: the one that is installed, and those in the directories of IOTRACE_FIOS.

Of Debian's other releases, tests/vm/apt.py fetches the package with its libraries.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import List

import pytest

from iotrace import cli
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.writer import write
from tests import needs

HERE = ["fio", *(f"{place}/fio" for place in os.environ.get("IOTRACE_FIOS", "").split(":") if place)]


def version(fio: str) -> List[int]:
    said = subprocess.run([fio, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [int(number) for number in re.findall(r"\d+", said)[:2]]


def files() -> List[FileStats]:
    """Two files that are read and written in runs, rewritten and synced, and sizes that are no blocks."""
    reads = SyscallStats(60, 30 * 4096 + 30 * 100, completed={4096: 30, 64: 30}, common_sizes={4096: 30, 100: 30})
    writes = SyscallStats(40, 40 * 4096, completed={4096: 40}, common_sizes={4096: 40})
    calls = {"pread64": reads, "pwrite64": writes, "fdatasync": SyscallStats(10), "fsync": SyscallStats(2)}
    return [
        FileStats(
            1, path, size=1 << 18, sequential_read={4096: 20}, sequential_write={4096: 20, 8192: 5}, rewrites=5,
            bytes_between_syncs={0: 2, 8192: 10}, bytes_synced=40 * 4096, unaligned_calls=30, syscalls=calls,
        )
        for path in (b"/a", b"/b")
    ]  # fmt: skip


@pytest.mark.parametrize("fio", HERE)
def test_it_replays_a_log(fio: str, tmp_path: Path) -> None:
    needs.program(fio)
    write(tmp_path / "p", Header(), files())
    (tmp_path / "data").mkdir()
    log = "3" if version(fio) >= [3, 31] else "2"
    target = str(tmp_path / "job.fio")
    assert (
        cli.main(["fio", str(tmp_path / "p"), "--directory", str(tmp_path / "data"), "--iolog", log, "-o", target]) == 0
    )
    words = [fio, "--output-format=json", "--output=said", target]
    subprocess.run(words, cwd=tmp_path, check=True, timeout=60)
    said = (tmp_path / "said").read_text()
    (job,) = [job for job in json.loads(said[said.index("{") :])["jobs"] if job["jobname"] == "01-psync"]
    assert job["error"] == 0
    assert [job[way]["total_ios"] for way in ("read", "write")] == [120, 80]
    assert [job[way]["io_bytes"] for way in ("read", "write")] == [60 * 4196, 80 * 4096]
