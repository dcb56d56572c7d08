"""What doctor makes of the answers that a kernel gives."""

from __future__ import annotations

import errno
from typing import Dict, List

import pytest

from iotrace.commands import doctor
from iotrace.kernel.quirks import QUIRKS
from pybpf.features import FEATURES, Feature, State
from pybpf.privileges import Capability


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> Dict[str, State]:
    """The answers of probes; a feature that is not in it is not supported."""
    answers: Dict[str, State] = {}
    monkeypatch.setattr(Feature, "state", property(lambda self: answers.get(self.name, State.NOT_SUPPORTED)))
    return answers


def found() -> Dict[str, doctor.Finding]:
    return {finding.subject: finding for finding in doctor._quirks()}


def test_every_quirk_is_told(states: Dict[str, State]) -> None:
    assert list(found()) == [quirk.name for quirk in QUIRKS]


def test_what_is_missing_is_told_with_what_it_means(states: Dict[str, State]) -> None:
    assert found()["ring buffer"][1:] == (
        "no",
        "the BPF ring buffer (5.8): not here, so a perf buffer is used on each CPU",
    )
    states["ring_buffer"] = State.SUPPORTED
    assert found()["ring buffer"][1:] == ("ok", "the BPF ring buffer (5.8)")


def test_what_one_would_rather_do_without_is_told_the_other_way_round(states: Dict[str, State]) -> None:
    told = found()["preempted programs"]
    assert told[1:] == ("ok", "no programs on system calls that can be preempted (7.2)")
    states["preempted_programs"] = State.SUPPORTED
    told = found()["preempted programs"]
    assert told.state == "no" and told.meaning.endswith(
        "(7.2): each program has three spares for calls during which it is preempted"
    )


def test_what_could_not_be_told_is_told_with_the_reason(
    states: Dict[str, State], monkeypatch: pytest.MonkeyPatch
) -> None:
    states["batch"] = State.UNKNOWN
    monkeypatch.setattr(FEATURES["batch"], "error", OSError(errno.EPERM, "Operation not permitted"))
    assert found()["batch"][1:] == ("?", "could not tell: [Errno 1] Operation not permitted")


@pytest.mark.parametrize(
    ("held", "memlock", "expected"),
    [
        ([Capability.SYS_ADMIN, Capability.SYS_RESOURCE], (65536, 65536), ["privileges ok"]),
        ([Capability.SYS_ADMIN], (65536, 131072), ["privileges ok", "RLIMIT_MEMLOCK no 64.0 KiB 128 KiB"]),
        ([Capability.BPF], (65536, -1), ["privileges !", "RLIMIT_MEMLOCK no 64.0 KiB no limit"]),
    ],
)
def test_privileges(
    held: List[Capability],
    memlock: List[int],
    expected: List[str],
    states: Dict[str, State],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "capabilities", lambda: frozenset(held))
    monkeypatch.setattr(doctor, "memlock", lambda: memlock)
    monkeypatch.setattr(doctor, "lockdown", lambda: None)
    told = list(doctor._privileges())
    assert [finding.subject for finding in told] == [*(words.split()[0] for words in expected), "lockdown"]
    for finding, words in zip(told, expected):
        subject, state, *_ = words.split()
        assert (finding.subject, finding.state) == (subject, state)
        assert all(word in finding.meaning for word in words.split()[2:])


@pytest.mark.parametrize(
    ("locked", "state"), [(None, "ok"), ("none", "ok"), ("integrity", "ok"), ("confidentiality", "!")]
)
def test_lockdown(locked: str, state: str, states: Dict[str, State], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "lockdown", lambda: locked)
    (told,) = [finding for finding in doctor._privileges() if finding.subject == "lockdown"]
    assert told.state == state and (locked or "none") in told.meaning
