"""`iotrace diff`: what grew, shrank, appeared and vanished, in text and JSON, and its exit status."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from iotrace import cli, unescape
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.whose import Who
from iotrace.profile.writer import write
from iotrace.views.diff import side
from tests.unit.iotrace.views.samples import HOSTILE

TIMES = {
    b"/srv/a/grew": (1, 4),
    b"/srv/a/same": (1, 1),
    b"/srv/b/shrank": (4, 1),
    b"/srv/b/gone": (1, 0),
    b"/new": (0, 1),
}


def file(path: bytes, factor: int, latency: int) -> FileStats:
    """A file with so many hundreds of reads, and a sync each."""
    calls = 100 * factor
    read = SyscallStats(calls, 4096 * calls, errors={}, requested={4096: calls}, completed={4096: calls})
    sync = SyscallStats(calls, latency_ns={latency: calls}, latency_sum_ns=latency * calls, latency_max_ns=latency)
    return FileStats(1, path, bytes_read=4096 * calls, syscalls={"pread64": read, "fsync": sync})


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """Two runs, the second ten times as long, with ten times as much of everything but for what has changed."""
    for number, (name, scale, latency) in enumerate((("a", 1, 1 << 20), ("b", 10, 1 << 21))):
        files = [file(path, n[number] * scale, latency) for path, n in TIMES.items() if n[number]]
        few = FileStats(1, b"/few", opens=1, syscalls={"open": SyscallStats(1 + number)})
        error = FileStats(1, b"/err", syscalls={"read": SyscallStats(3, errors={"EIO": 3})} if number else {})
        temporary = FileStats(1, b"/new.tmp%d" % number, ended_as=b"/srv/a/same", renamed_to=b"/srv/a/same")
        header = Header(host="db1", started_ns=5, ended_ns=5 + scale * 10**9, command=[b"x"])
        write(tmp_path / name, header, [*files, few, error, temporary])
    monkeypatch.chdir(tmp_path)
    return ["a", "b"]


def document(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> Dict[str, Any]:
    assert cli.main(["diff", *words, "--format", "json"]) == status
    found: Dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_files_are_told_by_their_final_names(runs: List[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, *runs)
    assert found["counts"] == {"appeared": 1, "vanished": 1, "grew": 1, "shrank": 1, "same": 3, "unclear": 0}
    assert (found["before"]["files"], found["after"]["files"]) == (6, 6), "one of the five appeared, one vanished"
    kinds = {change["name"]: change["kind"] for change in found["changes"]}
    assert kinds == {"/srv/a/grew": "grew", "/srv/b/shrank": "shrank", "/srv/b/gone": "vanished", "/new": "appeared"}
    grew = next(change for change in found["changes"] if change["name"] == "/srv/a/grew")
    assert (grew["before"]["bytes_read"], grew["after"]["bytes_read"]) == (409_600, 16_384_000)
    assert grew["rate"]["relative"] == pytest.approx(3)
    by_calls = document(capsys, *runs, "--sort", "calls")
    assert by_calls["counts"]["unclear"] == 2, "1 call and 2, none and 3, in ten times the time"
    assert document(capsys, *runs, "--per", "run", "--sort", "read")["counts"]["grew"] == 3


def test_directories_and_calls(runs: List[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, *runs, "--by", "directory", "--depth", "2")
    kinds = {change["name"]: (change["kind"], change["after"]["files"]) for change in found["changes"]}
    assert kinds == {"/srv/a": ("grew", 2), "/srv/b": ("shrank", 1), "/": ("grew", 3)}
    found = document(capsys, *runs, "--by", "syscall", "--per", "run")
    assert {change["name"] for change in found["changes"]} == {"pread64", "fsync", "open", "read"}
    found = document(capsys, *runs, "--path", "/srv/b/*", "--limit", "1")
    assert [change["name"] for change in found["changes"]] == ["/srv/b/shrank"]
    assert found["before"]["files"] == 2


def test_figures_are_rates_and_shapes(runs: List[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, *runs)
    assert found["schema"] == "iotrace-diff/1" and (found["before"]["seconds"], found["after"]["seconds"]) == (1, 10)
    reads, syncs = found["figures"]["read"], found["figures"]["fsync"]
    assert reads["calls/s"]["before"][0] == 700 and reads["calls/s"]["after"][0] == pytest.approx(700.3)
    assert reads["calls/s"]["verdict"] == "chance" and reads["calls"]["verdict"] == "told"
    assert syncs["p99"]["relative"] == pytest.approx(1, rel=0.01) and syncs["p99"]["verdict"] == "told"
    assert syncs["latency_shift"]["after"][0] == syncs["latency_distance"]["after"][0] == 1
    assert found["errors"] == {"EIO": [0, 3]}
    assert found["figures"]["write"]["p99"] == {
        "before": None,
        "after": None,
        "relative": None,
        "verdict": "none",
        "needed": 0,
    }


def test_one_screen(runs: List[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diff", *runs]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    assert lines[0] == "before  a: x, 1.00 s on db1, 6 files, 1,401 calls"
    assert "files: 1 appeared, 1 vanished, 1 grew, 1 shrank, 3 about as before" in lines
    assert "        latency    1.00 powers of two slower on average; each moved by 1.00" in lines
    assert "errors  EIO 0 -> 3" in lines
    cells = {line.split()[-1]: line.split() for line in lines[-6:-1]}
    assert cells["/srv/a/grew"][4] == "+300%" and cells["/new"][3] == "new" and cells["/srv/b/gone"][3] == "gone"


def test_conditions_decide_the_status(runs: List[str], capsys: pytest.CaptureFixture[str]) -> None:
    met, not_met, few = "p99(fsync)>+20%", "calls/s(read)>+20%", "p99(open)>+20%"
    assert cli.main(["diff", *runs, "--fail-on", not_met, "--fail-on", few]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "ok      calls/s(read)>+20%: 700/s -> 700/s, 0%",
        "?       p99(open)>+20%: - -> -: neither of the runs has it",
    ]
    assert cli.main(["diff", *runs, "--fail-on", not_met, "--fail-on", met]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "FAILED  p99(fsync)>+20%: 1.05 ms -> 2.10 ms, +100%"
    found = document(capsys, *runs, "--fail-on", met, status=1)
    assert [(each["condition"], each["outcome"]) for each in found["conditions"]] == [(met, "met")]


def test_what_cannot_be_asked(runs: List[str], refused: Callable[..., str], tmp_path: Path) -> None:
    assert "is not a condition" in refused("diff", *runs, "--fail-on", "p99>5")
    assert "--by directory" in refused("diff", *runs, "--depth", "2")
    (tmp_path / "text").write_text("no profile")
    for names in ((runs[0], str(tmp_path / "text")), (str(tmp_path / "text"), runs[0])):
        assert refused("diff", *names).endswith("/text: not a profile of iotrace")


def test_large_profiles_are_read_by_two_processes(
    runs: List[str],
    refused: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """With the same outcome, also where one of them cannot be read."""
    one = document(capsys, *runs)
    monkeypatch.setattr(side, "_LARGE", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert document(capsys, *runs) == one
    (tmp_path / "text").write_text("no profile")
    assert refused("diff", runs[0], str(tmp_path / "text")).endswith("/text: not a profile of iotrace")


def test_runs_of_unknown_length_are_compared_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, factor in (("a", 1), ("b", 2)):
        write(tmp_path / name, Header(), [file(b"/\x1b[31mx", factor, 1024)])
    found = document(capsys, str(tmp_path / "a"), str(tmp_path / "b"))
    assert found["per"] == "run" and found["counts"]["grew"] == 1
    assert cli.main(["diff", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "/\\x1b[31mx" in out and "/S" not in out


def test_a_file_is_one_whoever_used_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [str(tmp_path / name) for name in "ab"]
    for number, name in enumerate(names):
        of_each = [file(b"/x", 2 + number, 1024) for _ in range(2)]
        of_each[0].who, of_each[1].who = Who("process", b"one"), Who("process", b"two")
        write(name, Header(started_ns=number, ended_ns=10**9), of_each)
    found = document(capsys, *names, "--sort", "calls")
    assert (found["before"]["files"], found["changes"][0]["before"]["calls"]) == (1, 800)
    assert found["changes"][0]["kind"] == "grew"


def test_a_run_compared_with_itself(runs: List[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diff", runs[0], runs[0]]) == 0
    assert "THE SAME RUN is in both profiles (db1, " in capsys.readouterr().out
    assert document(capsys, runs[0], runs[0])["same_runs"] == 1
    assert document(capsys, *runs)["same_runs"] == 0


def test_nothing_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        write(tmp_path / name, Header(), [])
    assert cli.main(["diff", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "no data was read or written in either run\n\nfiles: none\n" in capsys.readouterr().out


def test_names_in_json_can_be_any(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        header = Header(command=[HOSTILE], started_ns=0, ended_ns=10**9)
        write(tmp_path / f"{number}", header, [FileStats(1, b"/" + HOSTILE, bytes_read=number << 30)])
    found = document(capsys, str(tmp_path / "1"), str(tmp_path / "2"))
    (change,) = found["changes"]
    assert (unescape(change["name"]), unescape(found["before"]["command"][0])) == (b"/" + HOSTILE, HOSTILE)
    assert change["name"].encode().decode().isprintable()


@pytest.mark.parametrize("columns", [60, 80])
def test_it_fits(runs: List[str], columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert cli.main(["diff", *runs, "--fail-on", "p99(fsync)>+500%"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns and any(line.endswith("a/grew") for line in lines)
