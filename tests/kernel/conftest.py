"""Tests that load real programs into the running kernel: they need root, and leave nothing behind."""

from __future__ import annotations

import os
from typing import Callable, Iterator, List

import pytest

from asm import Assembler, r0
from pybpf import features
from pybpf.descriptor import Descriptor
from pybpf.programs import program_ids
from pybpf.types.tracefs import Tracefs
from tests import needs
from tests.kernel import leaks
from tests.tracepoints import kept_in_use


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    here = os.path.dirname(__file__)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(needs.root)


@pytest.fixture(autouse=True, scope="session")
def tracepoints_in_use() -> Iterator[None]:
    with kept_in_use():
        yield


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """Fail a test that leaves a descriptor, or memory shared with the kernel, behind."""
    files, mappings, owned = leaks.open_files(), leaks.kernel_mappings(), set(Descriptor.opened())
    yield
    assert set(Descriptor.opened()) - owned == set()
    assert leaks.open_files() == files
    assert leaks.kernel_mappings() == mappings


@pytest.fixture(autouse=True, scope="module")
def no_program_is_left() -> Iterator[None]:
    """Fail the last test of a module if any of them has left a program in the kernel, by a process of its own too."""
    before = set(program_ids()) if os.geteuid() == 0 else set()
    yield
    if os.geteuid() == 0:
        assert leaks.programs_since(before) == {}


@pytest.fixture
def tracefs() -> Iterator[Tracefs]:
    with Tracefs.open() as opened:
        yield opened


@pytest.fixture
def as_old_as() -> Iterator[Callable[[int, int], None]]:
    """`as_old_as(4, 14)`: hide from the loader what that kernel did not have."""
    yield lambda major, minor: features.pretend((major, minor))
    features.pretend(None)


@pytest.fixture
def only_us() -> Callable[[Assembler], None]:
    """Emit the test that leaves the program, to the label `out`, for every process but this one."""

    def emit(a: Assembler) -> None:
        a.call("get_current_pid_tgid")
        a.rsh(r0, 32)
        a.jne(r0, os.getpid(), "out", "another process")

    return emit


@pytest.fixture
def one_cpu() -> Iterator[int]:
    """Stay on one CPU, whose number this is."""
    before = os.sched_getaffinity(0)
    cpu = max(before)
    os.sched_setaffinity(0, {cpu})
    yield cpu
    os.sched_setaffinity(0, before)
