"""Real applications under iotrace and strace at once: not one value may differ."""

from __future__ import annotations

from pathlib import Path
from typing import List

import pytest

from tests import needs

from . import observe, workloads
from .compare import counts_of_document, disagreements
from .observe import Observation
from .workloads import WORKLOADS

pytestmark = [needs.root, needs.programs("strace")]


def need(name: str) -> None:
    absent = workloads.missing(name)
    if absent:
        needs.missing(" ".join(absent))


def check(observation: Observation) -> None:
    lines: List[str] = disagreements(observation.strace, observation.document)
    assert not lines, f"{len(lines)} disagreements:\n" + "\n".join(lines[:50])
    assert observation.status == 0, observation.stderr
    assert observation.strace.count > 0


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_as_a_command(name: str, place: Path) -> None:
    need(name)
    workload = WORKLOADS[name]
    observation = observe.both(workload.prepare(place))
    check(observation)
    if workload.account is not None:
        assert workload.account(place, counts_of_document(observation.document)) == []


@pytest.mark.parametrize("name", ["git-clone", "postgresql"])
def test_by_pid_with_descendants(name: str, place: Path) -> None:
    need(name)
    check(observe.both_by_selector(WORKLOADS[name].prepare(place), lambda pid: ["--pid", str(pid), "--follow"]))


def test_nginx_by_name(place: Path) -> None:
    """`--comm` from the exec that gives the process its name, through the forks of its workers."""
    need("nginx-sendfile")
    workload = WORKLOADS["nginx-sendfile"]
    observation = observe.both_by_selector(workload.prepare(place), lambda pid: ["--comm", "nginx"])
    check(observation)
    assert workload.account is not None
    assert workload.account(place, counts_of_document(observation.document)) == []


@pytest.mark.parametrize("name", ["dd", "sqlite-journal"])
def test_strace_as_the_command(name: str, place: Path) -> None:
    """`iotrace run -- strace ...`: what strace itself does to files is counted as well."""
    need(name)
    check(observe.both_with_strace_inside(WORKLOADS[name].prepare(place)))
