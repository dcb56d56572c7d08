"""What a profile says of the calls and requests that a run saw, and of those that it did not."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence

import pytest

from iotrace.tracing.coverage import coverage, io_uring, linux_aio
from iotrace.tracing.inflight import Left
from programs.facts.kernel import Uring
from programs.facts.members import URING_MEMBERS
from pybpf import features

SHOWN = Uring({}, {}, dict.fromkeys(URING_MEMBERS, 0))


def without(*parts: str) -> Uring:
    return Uring({}, {}, {name: at for name, at in SHOWN.offsets.items() if not name.startswith(parts)})


@pytest.fixture(autouse=True)
def has_types(monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """The features of the kernel; a test may take some away."""
    names = ["kernel_btf"]
    monkeypatch.setattr(features.Feature, "supported", lambda feature: feature.name in names)
    return names


@pytest.mark.parametrize(
    ("shown", "left", "rings", "expected"),
    [
        (SHOWN, 0, 4, "full"),
        (SHOWN, 7, 4, "partial: 7 requests were not seen to complete"),
        (without("splice"), 0, 4, "partial: no splices"),
        (without("open", "close"), 3, 4, "partial: no opens, no closes, 3 requests were not seen to complete"),
        (without("node", "ring.completing", "request.list", "task", "worker"), 0, 4, "full"),
        (None, 0, None, "none: this kernel does not show its requests"),
        (None, 0, 0, "none: this kernel does not show its requests; no rings made"),
        (None, 0, 1, "none: this kernel does not show its requests; 1 ring made"),
        (None, 0, 2, "none: this kernel does not show its requests; 2 rings made"),
    ],
)
def test_io_uring(shown: Optional[Uring], left: int, rings: Optional[int], expected: str) -> None:
    assert io_uring(shown, left, rings) == expected


def test_io_uring_without_type_information(has_types: List[str]) -> None:
    has_types.clear()
    assert io_uring(None) == "none: this kernel has no type information (BTF)"


@pytest.mark.parametrize(
    ("left", "missing", "expected"),
    [
        (0, (), "full"),
        (4, (), "partial: 4 requests were not seen to complete"),
        (0, ("preadv2", "io_setup", "io_submit"), "none: no io_setup, io_submit"),
        (4, ("io_setup",), "none: no io_setup"),
        (0, ("preadv2",), "full"),
    ],
)
def test_linux_aio(left: int, missing: Sequence[str], expected: str) -> None:
    assert linux_aio(left, missing) == expected


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        (
            (),
            {
                "synchronous": "full",
                "aio": "full",
                "io_uring": "none: this kernel does not show its requests; 3 rings made",
            },
        ),
        (
            ("preadv2", "io_uring_setup", "io_getevents", "copy_file_range"),
            {
                "synchronous": "partial: no preadv2, copy_file_range",
                "aio": "none: no io_getevents",
                "io_uring": "none: this kernel does not show its requests",
            },
        ),
    ],
)
def test_a_call_that_cannot_be_traced_is_told_in_its_own_family(
    missing: Sequence[str], expected: Dict[str, str]
) -> None:
    told = coverage("raw", None, missing, rings=3)
    assert {family: told[family] for family in expected} == expected


def test_every_family_has_its_own_requests_that_were_not_seen_to_complete() -> None:
    told = coverage("raw", SHOWN, left=Left(aio=2, uring=3))
    assert told["aio"] == "partial: 2 requests were not seen to complete"
    assert told["io_uring"] == "partial: 3 requests were not seen to complete"
    assert told["synchronous"] == "full"


def test_what_filters_and_tracers_have_made_of_calls_is_told_if_they_have() -> None:
    assert not {"seccomp", "ptrace"} & set(coverage("raw", SHOWN))
    told = coverage("raw", SHOWN, account={"answered": 5, "trapped": 2, "replaced": 3})
    assert told["seccomp"] == (
        "partial: no latency of calls that a filter answered: 5; "
        "calls that a filter made a SIGSYS of are not counted: 2"
    )
    assert told["ptrace"] == "partial: calls that a tracer took away are not counted: 3"
    told = coverage("raw", SHOWN, account={"answered": 5, "trapped": 0, "replaced": 0})
    assert told["seccomp"] == "partial: no latency of calls that a filter answered: 5"
    assert "ptrace" not in told


def test_calls_of_32_bit_tasks_are_seen_by_raw_tracepoints_alone() -> None:
    assert "counted in lost" in coverage("raw", SHOWN)["32-bit tasks"]
    assert "counted in lost" not in coverage("perf", SHOWN)["32-bit tasks"]


def test_calls_that_sync_without_naming_files() -> None:
    told = coverage("raw", SHOWN, account={"sync": 1, "syncfs": 0, "msync": 3, "truncate": 0})
    assert told["durability"] == "partial: what is shown as unsynced may be durable, by sync 1, msync 3"
    assert told["contents"] == coverage("raw", SHOWN)["durability"] == "full"


def test_calls_that_change_files_without_writing() -> None:
    told = coverage("raw", SHOWN, account={"clone": 2, "allocate": 1, "truncate": 4})
    assert told["contents"] == (
        "partial: files were also changed by calls that are in no column: clone (FICLONE) 2, fallocate 1, truncate 4"
    )
    assert told["durability"] == "full"


def test_a_way_in_that_does_not_show_them() -> None:
    """Where nothing can be attached to a call, nobody knows how many there were."""
    told = coverage("fentry", SHOWN, ["sync", "ftruncate"], account={"msync": 2})
    assert told["synchronous"] == "full"
    assert told["durability"] == (
        "partial: what is shown as unsynced may be durable, by msync 2; calls of sync are not seen"
    )
    assert told["contents"] == "partial: calls of ftruncate are not seen"


def test_core_dumps() -> None:
    assert coverage("raw", SHOWN, account={"cores": 1})["contents"].startswith("partial: 1 core dump, which the kernel")
    told = coverage("raw", SHOWN, account={"cores": 2, "truncate": 1})["contents"]
    assert told.startswith("partial: files were also changed by") and "truncate 1; 2 core dumps, which" in told


@pytest.mark.parametrize(
    ("attach", "folios", "buffered", "expected"),
    [
        ("raw", True, False, "full"),
        ("raw", True, True, "partial: not known of reads by AIO and io_uring that are not O_DIRECT"),
        ("perf", True, False, "partial: not known of copies (sendfile, copy_file_range, splice)"),
        (
            "fentry",
            False,
            False,
            "partial: not known of copies (sendfile, copy_file_range, splice); several pages brought in as one folio "
            "count as one page",
        ),
    ],
)
def test_storage(attach: str, folios: bool, buffered: bool, expected: str) -> None:
    assert coverage(attach, SHOWN, folios=folios, buffered=buffered)["storage"] == expected


def test_depths_of_queues_take_loops() -> None:
    assert "queue depth" not in coverage("raw", SHOWN)
    assert coverage("raw", SHOWN, straight=True)["queue depth"].startswith("none: ")
