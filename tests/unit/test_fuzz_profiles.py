"""A sample of tools/fuzz-profiles, and that it would see what is wrong."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import List, Optional

import pytest

from iotrace import cli
from tools.fuzzing import judge, mutate


@pytest.mark.slow
def test_a_sample_ends_as_is_promised() -> None:
    outcome = judge.Judge(range(1_000_000, 1_000_220), 2).judge()
    assert not outcome.violations, "\n".join(map(str, outcome.violations))
    assert outcome.runs == 220 * len(list(judge.commands("p")))
    assert set(outcome.statuses) <= {0, 1, 2} and min(outcome.statuses[0], outcome.statuses[2]) > 500


def test_a_seed_is_one_profile_for_ever(tmp_path: Path) -> None:
    bases = mutate.make_bases(tmp_path)
    seen = set()
    for seed in range(40):
        done = [mutate.damaged(seed, bases, tmp_path / name) for name in ("a", "b")]
        assert done[0] == done[1]
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
        seen.add((tmp_path / "a").read_bytes())
    assert len(seen) > 30


@pytest.mark.parametrize(
    ("status", "stderr", "seconds", "memory", "wrong"),
    [
        (0, "", 9.9, 199 << 20, None),
        (2, "iotrace: damaged\n", 0.1, 1, None),
        (1, "iotrace: no file matches --path a\n", 0.1, 1, None),
        (None, "Traceback\n  File\nKeyError: 1\n", 0.1, 1, "traceback: Traceback / File / KeyError: 1"),
        (0, "", 10.5, 1, "10.5 s"),
        (0, "", 1.0, 201 << 20, "201 MB"),
        (2, "", 0.1, 1, "status 2 with 0 lines: ''"),
        (2, "a\nb\n", 0.1, 1, "status 2 with 2 lines: 'a\\nb\\n'"),
        (0, "a\n", 0.1, 1, "status 0 with 1 lines: 'a\\n'"),
        (1, "a\n", 0.1, 1, "status 1 with 1 lines: 'a\\n'"),
        (2, "\x1b[2J\n", 0.1, 1, "said '\\x1b[2J\\n'"),
    ],
)
def test_what_is_wrong_is_seen(
    status: Optional[int], stderr: str, seconds: float, memory: int, wrong: Optional[str]
) -> None:
    assert judge.fault(status, stderr, seconds, memory) == wrong


def test_what_a_command_raises_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(arguments: List[str]) -> int:
        raise IndexError(arguments[1])

    monkeypatch.setattr(cli, "main", broken)
    outcome = judge.Judge([7], 1).judge()
    assert {violation.seed for violation in outcome.violations} == {7}
    assert len(outcome.violations) == outcome.runs == len(list(judge.commands("p")))
    assert all("IndexError: " in violation.what for violation in outcome.violations)


@pytest.mark.slow
@pytest.mark.parametrize("busy", [False, True])
def test_a_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, busy: bool) -> None:
    def endless(arguments: List[str]) -> int:
        while True:
            if not busy:
                time.sleep(60)

    monkeypatch.setattr(cli, "main", endless)
    monkeypatch.setattr(judge, "_BUSY", 0.2 if busy else 1000.0)
    monkeypatch.setattr(judge, "_HUNG", 1000.0 if busy else 2.0)
    outcome = judge.Judge([1, 2], 1).judge()
    assert [(violation.seed, violation.what) for violation in outcome.violations] == [
        (1, "hung, and was ended"),
        (2, "hung, and was ended"),
    ]


def test_a_process_that_dies_is_seen_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fatal(arguments: List[str]) -> int:
        if arguments[0] == "export":
            os._exit(1)
        return 0

    monkeypatch.setattr(cli, "main", fatal)
    outcome = judge.Judge(range(5), 2).judge()
    assert [violation.what for violation in outcome.violations] == ["the process died"] * 5
    assert sorted(violation.seed for violation in outcome.violations) == list(range(5))
