"""Profiles that older versions have traced: every command reads them, with the values that the workload had.

`data/traced2.sql` to `data/traced4.sql` are what iotrace of schema 2, 3 and 4 made of one shell script, as `sqlite3
PROFILE .dump` shows it:

    dd if=/dev/zero of=written bs=8192 count=5 conv=fsync
    dd if=written of=/dev/null bs=4096
    cat gone
    echo 12345 > x.tmp && mv x.tmp x
"""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from iotrace import cli
from iotrace.profile import rows as profile_rows
from iotrace.views import chosen, columns

DATA = Path(__file__).parent / "data"
WRITTEN = "/tmp/known/written"


@pytest.fixture(scope="module", params=[2, 3, 4])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def old(version: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("older") / "old.iotrace"
    database = sqlite3.connect(str(path))
    database.executescript((DATA / f"traced{version}.sql").read_text())
    database.close()
    return path


Said = Callable[..., str]


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Said:
    """What a command says, that has to succeed and complain of nothing."""
    monkeypatch.setenv("COLUMNS", "120")

    def run(*words: object) -> str:
        assert cli.main([*map(str, words)]) == 0, words
        out, complaints = capfd.readouterr()
        assert complaints == "", words
        return out

    return run


def rows(said: Said, old: Path, by: str, names: str) -> Dict[str, List[Any]]:
    found = json.loads(said("report", old, "--by", by, "--columns", names, "--format", "json", "--limit", "0"))
    return {line[by]: [line[name] for name in names.split(",")] for line in found}


def test_the_first_screen(old: Path, version: int, said: Said) -> None:
    screen = [" ".join(line.split()) for line in said("report", old).splitlines()]
    assert screen[0].startswith("sh /tmp/known.sh and all that it starts, ") and screen[1] == (
        "nothing lost; everything is counted"
    )
    exact = version >= 4
    sizes = " 4 KiB x100%" if exact else ""
    assert screen[3].startswith(f"read 40.0 KiB 11 calls 100% sequential{sizes} p50 ")
    assert screen[4].startswith("written 40.0 KiB 6 calls 100% sequential" + (" 8 KiB x83% 6 B x17%" if exact else ""))
    assert screen[5].startswith("synced 40.0 KiB 1 call 40.0 KiB each p50 ")
    assert screen[6].endswith("both at most 10% off" if exact else "both within a factor of two")
    assert any(line.startswith("40.0 KiB 40.0 KiB 23 0% 1 ") and line.endswith(WRITTEN) for line in screen)
    assert "failed calls on no file: 62: open ENOENT 62" in screen


def test_tables(old: Path, version: int, said: Said) -> None:
    last = "/tmp/known/x" + ("" if version >= 4 else ".tmp")  # what became of all of a name is known from 4 on
    names = "read,written,calls,errors,syncs,opens,reads,writes,synced,unsynced"
    file, temporary = [40960, 40960, 23, 0, 1, 2, 11, 5, 40960, 0], [0, 6, 3, 0, 0, 1, 0, 1, 0, 6]
    both = [a + b for a, b in zip(file, temporary)]
    assert rows(said, old, "file", names) == {WRITTEN: file, last: temporary}
    assert rows(said, old, "directory", names) == {"/tmp/known": both}
    assert rows(said, old, "tree", names) == {"/": both, "/tmp": both, "/tmp/known": both}
    assert list(rows(said, old, "mount", names).values()) == list(rows(said, old, "host", names).values()) == [both]
    assert rows(said, old, "syscall", "calls,bytes,files") == {
        "open": [3, 0, 2],
        "close": [5, 0, 2],
        "read": [11, 40960, 1],
        "write": [6, 40966, 2],
        "fsync": [1, 0, 1],
    }


def test_every_column_and_every_other_view(old: Path, said: Said) -> None:
    for by in ("file", "directory", "extension"):
        every = said("report", old, "--by", by, "--columns", ",".join(columns.BY_COLUMN), "--format", "csv")
        assert len(list(csv.reader(io.StringIO(every)))) >= 2
    for by in set(chosen.BY) - {"process", "cgroup", "user"}:
        assert "total, 2 files" in said("report", old, "--by", by)
    assert "62 open ENOENT  (no file)" in said("report", old, "--errors")
    assert "read: 11 calls, 40,960 bytes" in said("report", old, "--file", WRITTEN)
    assert "syncs: 1 call, 40,960 bytes made durable" in said("report", old, "--histograms")
    assert "overhead" in said("report", old, "--details")


def test_findings_and_comparisons(old: Path, said: Said) -> None:
    assert said("findings", old).startswith("no findings")
    told = json.loads(said("diff", old, old, "--format", "json", "--fail-on", "calls(all)>26"))
    assert (told["same_runs"], told["counts"]["same"], told["figures"]["read"]["calls"]["after"][0]) == (1, 2, 11)


def test_merging_and_exports(old: Path, said: Said) -> None:
    merged = old.with_name("merged.iotrace")
    assert "(2 files, 1 run, 1 host)" in said("merge", old, "-o", merged, "--force")
    for profile in (old, merged):
        document = json.loads(said("export", profile))
        (file,) = [file for file in document["files"] if file["path"] == WRITTEN]
        assert {name: call["calls"] for name, call in file["syscalls"].items()} == {
            "open": 2,
            "close": 4,
            "read": 11,
            "write": 5,
            "fsync": 1,
        }
        assert (file["bytes_read"], file["highest_offset"], file["syscalls"]["read"]["completed"]) == (
            40960,
            40959,
            {"0": 1, "4096": 10},
        )
    table = said("export", old, "--format", "csv", "--table", "operation")
    assert sum(int(row["bytes"] or 0) for row in csv.DictReader(io.StringIO(table))) == 2 * 40960 + 6
    lines = [json.loads(line) for line in said("export", old, "--format", "jsonl").splitlines()]
    assert sum(line["calls"] for line in lines if line["type"] == "operation") == 26
    assert f'iotrace_file_read_bytes_total{{file="{WRITTEN}",mnt_ns="4026531832"}} 40960\n' in said(
        "export", old, "--format", "openmetrics"
    )


def test_buckets_of_four_a_power_of_two_go_half_to_half() -> None:
    """64 to 128 had the same buckets; 128 to 160 are 128 to 144 and 144 to 160 now."""
    assert profile_rows.halved({0: 3, 112: 5, 128: 7, 7168: 1}) == {0: 3, 112: 5, 128: 4, 144: 3, 7168: 1}
