"""fio's asynchronous engines: calls, sizes, runs and syncs as fio accounts for them, file by file.

`tools/check-apps` runs every case, as often as it is told to; these are one of each kind.
"""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import pytest

from tests import needs

from . import fio, observe

pytestmark = [needs.root, needs.programs("fio")]

OPTIONS = {"raw": ["--attach", "raw"], "perf": ["--attach", "perf"]}


def check(name: str, place: Path, options: Sequence[str] = ()) -> None:
    case = fio.CASES[name]
    if "raw" in options and observe.kernel() < (4, 17):
        needs.impossible("no raw tracepoints before 4.17")
    found = observe.alone(fio.prepare(case, place), options)
    refusal = fio.refusal(place)
    if refusal:
        needs.impossible(refusal)
    assert found.status == 0, found.stderr
    if found.document["coverage"][case.engine.coverage].startswith("none"):
        needs.impossible(f"{case.engine.coverage}: {found.document['coverage'][case.engine.coverage]}")
    lines = fio.disagreements(case, place, found.document)
    assert not lines, f"{len(lines)} disagreements:\n" + "\n".join(lines[:50])


@pytest.mark.parametrize("attach", OPTIONS)
@pytest.mark.parametrize("name", ["libaio-direct-256", "io_uring-direct-256"])
def test_a_deep_queue(name: str, attach: str, place: Path) -> None:
    check(name, place, OPTIONS[attach])


@pytest.mark.parametrize(
    "name",
    [
        "libaio-buffered-1",
        "libaio-direct-batches",
        "libaio-direct-two",
        "io_uring-buffered-reopened",
        "libaio-buffered-one-file",
        "libaio-direct-userspace-reap-deep",
        "io_uring-buffered-32",
        "io_uring-direct-fdatasync",
        "io_uring-direct-threads",
        "io_uring-direct-registered-files",
        "io_uring-buffered-vectored",
        "io_uring-buffered-workers",
        "io_uring-direct-polled-all",
        "io_uring-direct-hipri",
        "io_uring-direct-hipri-writes",
    ],
)
def test_one_of_each_kind(name: str, place: Path) -> None:
    check(name, place)
