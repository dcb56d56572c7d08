"""Several objects made at a time."""

from __future__ import annotations

import os
import threading
from typing import List

import pytest

from pybpf.descriptor import Descriptor
from pybpf.parallel import close_all, make_all


def opened() -> Descriptor:
    return Descriptor(os.open(os.devnull, os.O_RDONLY))


def test_each_is_made_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a time indeed: the first two wait for each other."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    both = threading.Barrier(2, timeout=10)

    def met() -> Descriptor:
        both.wait()
        return opened()

    made = make_all({"a": met, "b": met, **{str(number): opened for number in range(20)}})
    assert list(map(str, range(20))) == sorted(made.keys() - {"a", "b"}, key=int)
    assert len({owner.fileno() for owner in made.values()}) == 22
    for owner in made.values():
        owner.close()


def test_after_an_error_nothing_stays_open() -> None:
    made: List[Descriptor] = []
    first = threading.Event()

    def keep() -> Descriptor:
        made.append(opened())
        first.set()
        return made[0]

    def fail() -> Descriptor:
        assert first.wait(10)
        raise RuntimeError("refused")

    with pytest.raises(RuntimeError, match="refused"):
        make_all({"first": keep, "second": fail})
    assert [owner.closed for owner in made] == [True]


def test_descriptors_are_closed_at_a_time() -> None:
    """The first two wait for each other; that one is closed already does no harm."""
    both = threading.Barrier(2, timeout=10)

    class Met(Descriptor):
        def close(self) -> None:
            both.wait()
            super().close()

    owners = [opened() for _ in range(50)]
    owners[7].close()
    met = [Met(os.open(os.devnull, os.O_RDONLY)) for _ in range(2)]
    close_all([met[0], *owners, met[1]])
    assert [owner.closed for owner in (*met, *owners)] == [True] * 52


def test_without_another_thread_they_are_closed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    owners = [opened() for _ in range(5)]
    close_all(owners)
    assert all(owner.closed for owner in owners)
