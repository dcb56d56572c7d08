"""Plans: a run that starts from what an earlier one left does the same, and one that is of no use is made anew."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from iotrace.kernel import cache, plan
from iotrace.profile import reader
from iotrace.profile.writer import Writer
from iotrace.tracing.session import Session, Settings
from programs.facts.kernel import Options


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    chosen = tmp_path / "iotrace"
    monkeypatch.setenv(cache.VARIABLE, str(chosen))
    return chosen


def tags(session: Session) -> Dict[str, str]:
    return {program.name: program.info().tag for program in session.loaded.programs}


def start(**wanted: Any) -> Session:
    return Session(Settings(max_files=64, **wanted))


@pytest.mark.parametrize("attach", ["raw", "perf"])
def test_a_kept_plan_loads_the_same_programs(place: Path, attach: str) -> None:
    with start(attach=attach, comms=[b"nobody"]) as first, start(attach=attach, comms=[b"nobody"]) as second:
        assert not first.loaded.plan.kept
        assert second.loaded.plan.kept
        assert second.loaded.kernel == first.loaded.kernel
        assert tags(second) == tags(first)
        assert len(list(place.iterdir())) == 1


def test_a_kept_plan_traces(place: Path, tmp_path: Path) -> None:
    for kept in (False, True):
        target = tmp_path / f"file-{kept}"
        with start() as session:
            assert session.loaded.plan.kept is kept
            session.attach()
            session.trace_process(os.getpid(), follow=False)
            target.write_bytes(bytes(1000))
            session.stop()
            session.write_to(Writer(tmp_path / f"profile-{kept}"))
            session.finish()
        with reader.open(tmp_path / f"profile-{kept}") as profile:
            (file,) = profile.find(os.fsencode(target))
        assert file.syscalls["write"].bytes == 1000


def test_other_options_have_a_plan_of_their_own(place: Path) -> None:
    start().close()
    with start(include_pseudo=True) as session:
        assert not session.loaded.plan.kept
    assert len(list(place.iterdir())) == 2


def test_a_plan_that_the_kernel_refuses_is_made_anew(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with start() as session:
        good = session.loaded.plan
    broken = {name: program._replace(code=program.code[:-8]) for name, program in good.form.programs.items()}
    spoiled = replace(good, form=good.form._replace(programs=broken))
    (file,) = place.iterdir()
    words = plan.identity(Options(attach="auto"), "auto")
    assert words is not None
    cache.store(words, spoiled.packed())
    assert list(place.iterdir()) == [file]
    with start() as session:
        assert not session.loaded.plan.kept
        assert tags(session)
    with start() as session:
        assert session.loaded.plan.kept


def test_what_is_no_plan_is_made_anew(place: Path) -> None:
    start().close()
    words = plan.identity(Options(attach="auto"), "auto")
    assert words is not None
    assert cache.load(words) is not None
    cache.store(words, b"something else")
    with start() as session:
        assert not session.loaded.plan.kept


def test_a_pretended_kernel_has_a_plan_of_its_own(place: Path, as_old_as: Callable[[int, int], None]) -> None:
    start().close()
    as_old_as(4, 14)
    with start(attach="perf") as session:
        assert not session.loaded.plan.kept
        assert not session.loaded.kernel.ring_buffer
    with start(attach="perf") as session:
        assert session.loaded.plan.kept
        assert not session.loaded.kernel.ring_buffer
    as_old_as(99, 0)
    with start(attach="perf") as session:
        assert not session.loaded.plan.kept
