"""What all tests of applications share."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Iterator, List

import pytest

from tests.tracepoints import kept_in_use

from . import observe


@pytest.fixture(autouse=True, scope="session")
def tracepoints_in_use() -> Iterator[None]:
    with kept_in_use():
        yield


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory on a disk, as the workload's own; also other users may enter it."""
    with tempfile.TemporaryDirectory(prefix="workload-", dir=observe.DISK) as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture(params=["raw", "perf", "4.14"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """The options of a way in; 4.14: with what that kernel has alone."""
    if request.param == "4.14":
        monkeypatch.setenv("PRETEND_KERNEL", "4.14")
    return ["--attach", "perf"] if request.param == "perf" else []
