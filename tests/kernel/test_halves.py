"""The end of a run, with half of the files left to another process: what is in the profile does not depend on it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import pytest

from iotrace.profile.metrics import FileStats
from iotrace.profile.spool import Spool
from iotrace.tracing import halves
from iotrace.tracing.session import Session
from tests.kernel import leaks
from tests.kernel.sessions import LIGHT, RAW, Child, Form, Profile, finished, nothing_lost, paths

FILES, AGAIN = 300, 40
NAMES = 100  # that one file had after the other


@pytest.fixture(autouse=True)
def results(monkeypatch: pytest.MonkeyPatch) -> Iterator[List[Optional[Tuple[Any, ...]]]]:
    """What helpers have answered; a few files are enough for one."""
    found: List[Optional[Tuple[Any, ...]]] = []
    real = halves.Helper.result

    def result(self: halves.Helper) -> Optional[Tuple[Any, ...]]:
        found.append(real(self))
        return found[-1]

    monkeypatch.setattr(halves, "MANY", 10)
    monkeypatch.setattr(halves.Helper, "result", result)
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = children.read_text()
    yield found
    assert children.read_text() == before


def use(directory: Path) -> None:
    """Files that are written once each, among the first and the last of them some with the same names."""

    def again() -> None:
        for number in range(AGAIN):
            write(directory / f"again-{number}", 10 * (number + 1))
            os.unlink(directory / f"again-{number}")

    again()
    for number in range(FILES):
        write(directory / f"file-{number}", number + 1)
    for number in range(NAMES):
        write(directory / "new", 3)
        os.rename(directory / "new", directory / f"name-{number}")
    again()


def write(path: Path, size: int) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, bytes(size))
    if size % 100 == 0:
        os.fsync(fd)
    os.close(fd)


def check(profile: Profile, directory: Path) -> None:
    assert nothing_lost(profile)
    found = {os.fsdecode(file.path): file for file in profile.files if file.path.startswith(os.fsencode(directory))}
    expected: Dict[str, Tuple[int, ...]] = {
        **{f"again-{n}": (2, 2, 2, 20 * (n + 1), 2 * ((n + 1) % 10 == 0)) for n in range(AGAIN)},
        **{f"file-{n}": (1, 1, 1, n + 1, (n + 1) % 100 == 0) for n in range(FILES)},
        "new": (NAMES, NAMES, NAMES, 3 * NAMES, 0),
    }
    assert paths(profile, directory) == sorted(expected)
    assert {name: counted(found[f"{directory}/{name}"]) for name in expected} == expected


def counted(file: FileStats) -> Tuple[int, ...]:
    calls = {name: call.calls for name, call in file.syscalls.items()}
    return file.incarnations, file.opens, calls["write"], file.bytes_written, calls.get("fsync", 0)


@pytest.mark.parametrize("form", [RAW, LIGHT], ids=["raw", "light"])
def test_another_process_makes_half_of_the_rows(
    form: Form, tmp_path: Path, results: List[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is told of the run as a whole is that of both halves: which globs have matched, and how much was timed."""
    told: List[int] = []

    def latency(timed: int, untimed: int, _problem: Optional[str]) -> str:
        told.append(timed + untimed)
        return "full"

    monkeypatch.setattr("iotrace.tracing.session.latency", latency)
    globs = [os.fsencode(tmp_path / name) for name in ("file-1", f"file-{FILES - 1}", "nothing", "*")]
    with Child(lambda _pause: use(tmp_path)) as child, form.session(paths=globs) as session:
        session.trace_process(child.pid, follow=True)
        child.end()
        profile = finished(session)
        assert session.unmatched()["--path"] == [globs[2]]
    check(profile, tmp_path)
    assert told == ([FILES + NAMES + 2 * AGAIN] if form is LIGHT else [])
    (result,) = results
    half = (FILES + NAMES + 2 * AGAIN) // 2
    assert isinstance(result, tuple)
    assert result[0] == half - (NAMES - 1)  # parts: the files of one name were made one before that


def fails(*_arguments: object) -> Tuple[object, ...]:
    raise OSError(errno.ENOSPC, "no room")


@pytest.mark.parametrize(
    ("owner", "method"),
    [(Session, "_gather_apart"), (Spool, "places"), (Spool, "adopt")],
    ids=["work", "room", "files"],
)
def test_what_it_cannot_do_is_done_here(
    owner: type, method: str, tmp_path: Path, results: List[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, method, fails)
    before = leaks.open_files()
    check(RAW.trace(lambda: use(tmp_path)), tmp_path)
    assert len(results) == 1 and (results[0] is None) == (method != "adopt")
    assert leaks.open_files() == before


@pytest.mark.parametrize("wanted", [{"by": "process"}, {"interval": 10**9}], ids=["by", "interval"])
def test_rows_that_depend_on_each_other_are_made_here(
    wanted: Dict[str, Any], tmp_path: Path, results: List[object]
) -> None:
    check(RAW.trace(lambda: use(tmp_path), **wanted), tmp_path)
    assert results == []
