"""What is said of the whole run."""

from __future__ import annotations

from pathlib import Path

from iotrace.profile.metrics import Header
from iotrace.profile.writer import write
from tests.unit.iotrace.views.samples import HEADER, sample, shown


def test_what_was_lost_stands_above_the_numbers(tmp_path: Path) -> None:
    write(tmp_path / "lossy", Header(lost={"events": 0, "files": 1234, "calls": 7}), sample())
    head = " ".join(shown(tmp_path / "lossy").partition("READ")[0].split())
    assert "LOST: 7 calls for which there was no room, 1,234 files for which there was no room." in head
    write(tmp_path / "p", HEADER, sample())
    assert "LOST" not in shown(tmp_path / "p")


def test_the_header_says_whom_where_and_how(tmp_path: Path) -> None:
    header = Header(
        **{
            **vars(HEADER),
            "coverage": {"aio": "full", "io_uring": "none: needs Linux 5.6"},
            "unattributed": {"read": {"EBADF": 3}},
        }
    )
    write(tmp_path / "p", header, [])
    head = shown(tmp_path / "p", details=True).split("\n\n")[0]
    for part in (
        "cp 'a b'",
        "db1, Linux 6.1.0, x86_64",
        "5.00 s, by fentry",
        "io_uring: none: needs Linux 5.6; full: aio",
        "read EBADF: 3",
    ):
        assert part in head
