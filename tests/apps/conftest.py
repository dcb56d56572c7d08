"""What all tests of applications share."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Iterator

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
