"""What doctor makes of the answers that a kernel gives."""

from __future__ import annotations

import argparse
import errno
from resource import RLIM_INFINITY
from typing import Dict, List

import pytest

from iotrace.commands import doctor
from iotrace.errors import Failure
from iotrace.kernel.facts import Facts
from iotrace.kernel.quirks import QUIRKS
from programs.facts import maps
from pybpf.features import FEATURES, Feature, State
from pybpf.maps import footprint
from pybpf.privileges import Capability
from tests.unit.programs.forms import OLDEST


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
    ("held", "words"),
    [
        ([Capability.SYS_ADMIN], ["CAP_SYS_ADMIN"]),
        ([Capability.BPF, Capability.PERFMON], ["CAP_BPF and CAP_PERFMON", "without CAP_DAC_READ_SEARCH there is no"]),
        ([*Capability][:2] + [*Capability][4:], ["CAP_BPF and CAP_PERFMON"]),
    ],
)
def test_privileges(held: List[Capability], words: List[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "capabilities", lambda: frozenset(held))
    monkeypatch.setattr(doctor, "lacking", lambda: "")
    told = doctor._privileges()
    assert told.state == "ok" and all(word in told.meaning for word in words)


def test_without_privileges_nothing_else_is_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "lacking", lambda: "it needs more than that")
    monkeypatch.setattr(doctor, "_facts", lambda: pytest.fail("asked the kernel"))
    with pytest.raises(Failure, match=r"^a run would fail here: it needs more than that$"):
        doctor.run(argparse.Namespace(no_load=False))
    assert capsys.readouterr().out.count("it needs more than that") == 1


def test_what_comes_in_several_lines_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    doctor._show([doctor.Finding("subject", "?", "one\ntwo \x1b[2J")])
    assert capsys.readouterr().out == "subject  ?   one two \\x1b[2J\n"


MIB = 1 << 20
FACTS = Facts(OLDEST, preallocate=True, offsets_from="a test")


def memory(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, *held: Capability) -> List[doctor.Finding]:
    monkeypatch.setattr(doctor, "capabilities", lambda: frozenset(held))
    monkeypatch.setattr(doctor, "memlock", lambda: (soft, hard))
    return list(doctor._memory(FACTS))


@pytest.mark.usefixtures("states")
def test_locked_memory_that_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    (told,) = memory(monkeypatch, 65536, RLIM_INFINITY)
    assert told.state == "ok" and told.meaning.startswith("64.0 KiB, which a run raises to no limit: enough")
    assert memory(monkeypatch, 65536, 65536, Capability.SYS_RESOURCE) == []


@pytest.mark.usefixtures("states")
def test_locked_memory_for_fewer_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Advice that can be taken: with so many files the tables fit, with twice as many they would not."""
    (told,) = memory(monkeypatch, 40 * MIB, 40 * MIB)
    assert told.state == "no" and told.meaning.startswith("40.0 MiB: it takes --max-files ")
    files = int(told.meaning.split()[5])
    for count, fits in ((files, True), (2 * files, False)):
        tables = maps.declare(OLDEST, count).all().values()
        assert (sum(footprint(spec) for spec in tables) <= 40 * MIB) is fits


@pytest.mark.usefixtures("states")
def test_no_number_of_files_helps_where_other_tables_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    (told,) = memory(monkeypatch, 65536, 65536)
    assert told.state == "!" and "even with --max-files 1" in told.meaning and "ulimit -l" in told.meaning


def test_locked_memory_does_not_matter_where_the_cgroup_is_charged(
    states: Dict[str, State], monkeypatch: pytest.MonkeyPatch
) -> None:
    states["memcg"] = State.SUPPORTED
    assert memory(monkeypatch, 65536, 65536) == []


@pytest.mark.parametrize(
    ("locked", "state"), [(None, "ok"), ("none", "ok"), ("integrity", "ok"), ("confidentiality", "!")]
)
def test_lockdown(locked: str, state: str, states: Dict[str, State], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "lockdown", lambda: locked)
    told = doctor._lockdown()
    assert told.state == state and (locked or "none") in told.meaning
