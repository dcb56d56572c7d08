"""What is said about privileges that are missing: one clause that names them and says what to do."""

from __future__ import annotations

import os
from typing import List

import pytest

from pybpf import privileges
from pybpf.privileges import Capability, lacking

BOTH = [Capability.BPF, Capability.PERFMON]


def told(monkeypatch: pytest.MonkeyPatch, held: List[Capability], *, needed: List[Capability], user: int = 1000) -> str:
    monkeypatch.setattr(privileges, "capabilities", lambda: frozenset(held))
    monkeypatch.setattr(privileges, "_needed", lambda: needed)
    monkeypatch.setattr(privileges, "_INITIAL_USER_NAMESPACE", os.stat("/proc/self/ns/user").st_ino)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    return lacking()


def test_an_ordinary_user(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, [], needed=BOTH) == "tracing needs root, or CAP_BPF and CAP_PERFMON: try sudo"
    assert told(monkeypatch, [], needed=[Capability.SYS_ADMIN]) == "tracing needs root, or CAP_SYS_ADMIN: try sudo"


@pytest.mark.parametrize(("held", "missing"), [(Capability.BPF, "CAP_PERFMON"), (Capability.PERFMON, "CAP_BPF")])
def test_one_of_two(held: Capability, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, [held], needed=BOTH).startswith(
        f"{missing} is missing: tracing needs root, or CAP_BPF and"
    )


@pytest.mark.parametrize("held", [BOTH, [Capability.SYS_ADMIN]])
def test_what_is_enough(held: List[Capability], monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, held, needed=BOTH) == ""


def test_root_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    said = told(monkeypatch, [], needed=BOTH, user=0)
    assert "sudo" not in said and "CAP_BPF and CAP_PERFMON" in said and "--cap-add" in said


def test_root_of_a_user_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privileges, "capabilities", lambda: frozenset(Capability))
    monkeypatch.setattr(privileges, "_INITIAL_USER_NAMESPACE", 1)
    assert "user namespace" in lacking()


def test_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> None:
        raise FileNotFoundError

    monkeypatch.setattr(privileges, "capabilities", gone)
    assert lacking().startswith("/proc is not mounted")
