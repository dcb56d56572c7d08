"""The benchmark's verdicts, on measurements made up for the purpose, and its measured processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Optional

import pytest

from tests import needs
from tools.benchmark import calls, command, machine, rows
from tools.benchmark.rows import Row


def matrix(**ns: Dict[str, List[float]]) -> calls.Matrix:
    """Measurements: variant=title -> one number a round; underscores stand for hyphens."""
    works = [work for work in calls.WORKS if work.title in ns["untraced"]]
    return calls.Matrix(works, 300_000, {name.replace("_", "-"): numbers for name, numbers in ns.items()})


def verdicts(**ns: Dict[str, List[float]]) -> Dict[str, Optional[bool]]:
    return {row.what: row.met for row in calls.rows(matrix(**ns))}


def test_what_is_added_is_taken_round_by_round() -> None:
    """500, 600 and 700 ns untraced, each of them 100 ns more with something attached."""
    made = matrix(untraced={"pread64": [500, 600, 700]}, iotrace_raw={"pread64": [600, 700, 800]})
    assert made.added("iotrace-raw", "pread64") == [100, 100, 100]


@pytest.mark.parametrize(
    ("peers", "met"),
    [
        ({"clang_bare": 75, "clang": 100, "bpftrace": 450}, True),
        ({"clang_bare": 74, "clang": 100, "bpftrace": 450}, False),
        ({"clang_bare": 75, "clang": 99, "bpftrace": 450}, False),
        ({"clang_bare": 75, "clang": 100, "bpftrace": 449}, False),
        ({"clang_bare": 75}, True),
        ({"clang_typed": 10, "clang_bare_typed": 10}, None),  # shown, and no goal
        ({}, None),
    ],
)
def test_a_traced_call_is_held_against_its_peers(peers: Dict[str, float], met: Optional[bool]) -> None:
    """Ours takes 75 ns: as much as the C program without latency, 3/4 of the one with, 1/6 of bpftrace."""
    added = {"untraced": 0.0, "iotrace_raw": 75.0, **peers}
    assert verdicts(**{name: {"pread64": [1000.0 + ns]} for name, ns in added.items()}) == {
        "ns added to a traced pread64": met
    }


@pytest.mark.parametrize(("title", "most"), [("aio 1", 800), ("aio 32", 500), ("uring 1", 450), ("uring 32", 500)])
def test_a_request_has_a_goal_of_its_own(title: str, most: int) -> None:
    for added, met in ((most, True), (most + 1, False)):
        found = verdicts(untraced={title: [1000.0]}, iotrace_raw={title: [1000.0 + added]})
        assert list(found.values()) == [met]


@pytest.mark.parametrize(("ours", "met"), [(80, True), (81, False)])
def test_a_light_run_is_held_against_an_empty_program_at_the_exit(ours: float, met: bool) -> None:
    added = {"untraced": 0.0, "empty_exit": 20.0, "iotrace_raw": 200.0, "iotrace_light": ours}
    found = verdicts(**{name: {"pread64": [100.0 + ns]} for name, ns in added.items()})
    assert found["ns added to a traced pread64, --light"] is met


@pytest.mark.parametrize(("ours", "met"), [(115, True), (116, False)])
def test_a_bystander_is_held_against_empty_programs(ours: float, met: bool) -> None:
    found = verdicts(
        untraced={"~getppid": [100]}, empty_raw={"~getppid": [200]}, iotrace_raw={"~getppid": [100 + ours]}
    )
    assert found == {"ns added to getppid of a process that is not traced": met}


def test_threads_that_share_a_file_must_be_counted_exactly() -> None:
    ns = {"untraced": {"pread64": [500.0], "pread64 x2": [500.0]}}
    what = "ns added to a pread64, two threads on one file"
    wrong = "iotrace-raw counted 1 of 2 calls of pread64"
    for shared, problem, in_turns, met in (
        (149.0, "", 0, True),
        (151.0, "", 0, False),
        (149.0, wrong, 0, False),
        (149.0, "", 1, None),
        (149.0, wrong, 1, False),
    ):
        made = matrix(**ns, iotrace_raw={"pread64": [600.0], "pread64 x2": [500.0 + shared]})
        made.problems, made.in_turns = [problem] if problem else [], in_turns
        assert {row.what: row.met for row in calls.rows(made)}[what] is met


def test_the_document_keeps_what_is_not_between_the_marks(tmp_path: Path) -> None:
    path = tmp_path / "README"
    path.write_text("before\n" + command.MARKS[0] + "old\n" + command.MARKS[1] + "after\n")
    for value in ("first", "second"):
        command.put(path, None, [Row("stop", "what", value, "goal", True)])
    text = path.read_text()
    assert text.startswith("before\n" + command.MARKS[0]) and text.endswith(command.MARKS[1] + "after\n")
    assert "| what | second | goal | yes |" in text and "first" not in text and "old" not in text
    path.write_text("no marks")
    with pytest.raises(machine.BenchError):
        command.put(path, None, [])


def test_rows_fit_their_columns() -> None:
    long = Row("stop", "word " * 30, "value " * 40, "goal " * 20, False)
    lines = list(rows.plain([long]))
    assert max(map(len, lines)) <= rows.WIDTH
    assert " ".join(lines).count("value") == 40


@pytest.fixture(scope="module")
def helpers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs.program("cc")
    directory = tmp_path_factory.mktemp("helpers")
    machine.compile_helpers(directory)
    return directory


def test_the_measured_process_does_what_it_is_told(helpers: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(4096))
    jobs = "pread64 512 1\ngetppid 1024 2\nprocess 2 1\n"
    done = subprocess.run([helpers / "calls", tmp_path / "file", "0"], input=jobs, stdout=subprocess.PIPE, text=True)
    (pread, *_), (getppid, *_), (process, *_) = answers = [
        [*map(float, line.split())] for line in done.stdout.splitlines()
    ]
    assert done.returncode == 0 and 0 < pread < process and 0 < getppid < process
    assert all(0 < share <= 1 for _, share in answers)


def test_the_measured_files_are_there(helpers: Path, tmp_path: Path) -> None:
    done = subprocess.run([helpers / "files", "make", tmp_path, "1200", "100", "keep", "0"], stdout=subprocess.PIPE)
    made, begun, ended = map(int, done.stdout.split())
    sizes = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()]
    assert made == len(sizes) == 1200 and set(sizes) == {100} and begun < ended


def test_a_command_is_measured(helpers: Path) -> None:
    done = machine.measured(helpers, [sys.executable, "-c", "x = b'a' * (64 << 20); print('out'); raise SystemExit(3)"])
    assert (done.status, done.stdout) == (3, "out\n")
    assert 64 << 10 < done.peak_kib < 128 << 10
    assert done.seconds > 0 and done.cpu_ns > 0
