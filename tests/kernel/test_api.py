"""Tracing from Python on the running kernel: what a program that uses it sees."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Dict, Iterator, List

import pytest

import iotrace
from iotrace.profile import reader
from iotrace.profile.metrics import FileStats

ROOT = Path(iotrace.__file__).parent.parent


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


def files(output: object) -> Dict[bytes, FileStats]:
    with reader.open(str(output)) as profile:
        return {file.path: file for file in profile.files()}


def test_a_command(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(100_000))
    script = f"cat {tmp_path}/a > {tmp_path}/b; exit 7"
    with iotrace.trace(["sh", "-c", script], output=tmp_path / "p") as run:
        assert run.exit_status is None or run.exit_status == 7
        assert run.wait()
    assert (run.exit_status, run.output) == (7, str(tmp_path / "p"))
    found = files(run.output)
    assert run.files == len(found)
    assert found[os.fsencode(tmp_path / "a")].bytes_read == 100_000
    assert found[os.fsencode(tmp_path / "b")].bytes_written == 100_000


def test_this_process_for_as_long_as_a_block(tmp_path: Path) -> None:
    with iotrace.trace(pids=[os.getpid()], paths=[tmp_path / "*"], output=tmp_path / "p"):  # type: ignore[list-item]
        (tmp_path / "within").write_bytes(bytes(1000))
    (tmp_path / "after").write_bytes(bytes(1000))
    found = files(tmp_path / "p")
    assert found[os.fsencode(tmp_path / "within")].bytes_written == 1000
    assert os.fsencode(tmp_path / "after") not in found


def test_for_a_time(tmp_path: Path) -> None:
    run = iotrace.trace(everything=True, duration=0.3, output=tmp_path / "p")
    assert not run.wait(0.01) and not (tmp_path / "p").exists()
    assert run.wait() and run.exit_status is None
    with reader.open(tmp_path / "p") as profile:
        assert profile.header.ended_ns - profile.header.started_ns >= 0.3e9


def test_a_command_goes_on_when_the_run_is_stopped(tmp_path: Path) -> None:
    run = iotrace.trace(["sleep", "1000"], output=tmp_path / "p")
    run.stop()
    assert run.exit_status is None and (tmp_path / "p").exists()
    assert run._command is not None
    os.kill(run._command.pid, signal.SIGKILL)
    run._command.wait()
    assert run.exit_status == 128 + signal.SIGKILL
    run.stop()


def test_a_block_that_fails_leaves_a_profile(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        with iotrace.trace(pids=[os.getpid()], output=tmp_path / "p"):
            raise KeyError
    assert (tmp_path / "p").exists()


def test_snapshots_from_the_thread_that_asks(tmp_path: Path) -> None:
    paths: List[bytes] = []
    with iotrace.trace(pids=[os.getpid()], paths=[str(tmp_path / "file-*")], output=tmp_path / "p") as run:
        for number in range(3):
            (tmp_path / f"file-{number}").write_bytes(b"x")
            paths += [part.path for part in run.snapshot().parts.values()]
    assert paths == [os.fsencode(tmp_path / f"file-{number}") for number in range(3)]
    with pytest.raises(ValueError, match="the run has ended"):
        run.snapshot()


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(iotrace.Failure, match="cannot run /no/such/program"):
        iotrace.trace(["/no/such/program"], output=tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def test_a_profile_that_cannot_be_written_goes_somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, spare = tmp_path / "place", tmp_path / "spare"
    place.mkdir()
    spare.mkdir()
    monkeypatch.setenv("TMPDIR", str(spare))
    run = iotrace.trace(["sleep", "0.5"], output=place / "p")
    assert run.output == str(place / "p")
    place.rmdir()
    assert run.wait() and run.output == str(spare / "p")
    with iotrace.open(run.output) as profile:
        assert profile.header.command == [b"sleep", b"0.5"]


def test_what_is_there_is_replaced_by_force_alone(tmp_path: Path) -> None:
    with iotrace.trace(["true"], output=tmp_path / "p") as run:
        run.wait()
    with pytest.raises(iotrace.UserError, match="there is a profile of iotrace already"):
        iotrace.trace(["touch", str(tmp_path / "made")], output=tmp_path / "p")
    with iotrace.trace(["sleep", "0"], output=tmp_path / "p", force=True) as run:
        run.wait()
    with iotrace.open(tmp_path / "p") as profile:
        assert profile.header.command == [b"sleep", b"0"]
    assert os.listdir(tmp_path) == ["p"]


def test_ctrl_c_leaves_a_profile(tmp_path: Path) -> None:
    """In a program of its own, which a KeyboardInterrupt ends."""
    program = (
        "import iotrace, sys\n"
        "with iotrace.trace(everything=True, output=sys.argv[1]) as run:\n"
        "    print('begun', flush=True)\n"
        "    run.wait()\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "p")]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    assert child.stdout is not None and child.stdout.readline() == b"begun\n"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert b"KeyboardInterrupt" in err and child.returncode in (-signal.SIGINT, 1, 130)
    assert files(tmp_path / "p") is not None


SHOWN = [
    block
    for document in ("README.md", "iotrace/README.md")
    for block in re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
]


@pytest.mark.parametrize("block", SHOWN)
def test_what_the_readme_shows_runs_from_a_checkout(block: str, tmp_path: Path) -> None:
    """One block reads the profile of a run; it is there, as for whoever reads on."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-m", "iotrace", "run", "-q", "-o", "run.iotrace", "--", "ls", "/etc"]
    subprocess.run(run, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, check=True)
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout and list(tmp_path.glob("*.iotrace"))
