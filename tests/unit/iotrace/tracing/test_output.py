"""Names of profiles: what they are made of, and whether anything can be written there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List

import pytest

from iotrace.errors import UserError
from iotrace.tracing.output import default_name, target
from iotrace.tracing.settings import Settings


@pytest.mark.parametrize(
    ("command", "settings", "expected"),
    [
        (["/usr/bin/tar", "x"], {}, "iotrace-tar-"),
        ([], {"comms": [b"nginx*"]}, "iotrace-nginx_-"),
        ([], {"pids": [12, 34]}, "iotrace-pid12-"),
        ([], {"everything": True}, "iotrace-all-"),
        (["/"], {}, "iotrace-run-"),
        (["../../etc/\x1b[2J\n"], {}, "iotrace-__2J_-"),
        (["x" * 300], {}, "iotrace-" + "x" * 64 + "-"),
    ],
)
def test_a_profiles_own_name_is_a_safe_one(command: List[str], settings: Any, expected: str) -> None:
    name = default_name(Settings(**settings), command)
    assert name.startswith(expected) and name.endswith(".iotrace") and "/" not in name and name.isprintable()


def test_a_place_that_can_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert target(tmp_path / "p", Settings()).path == str(tmp_path / "p")
    monkeypatch.chdir(tmp_path)
    assert target("p", Settings()).path == "p"
    assert target(None, Settings(everything=True)).path.startswith("iotrace-all-")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="that is a directory"):
        target(tmp_path, Settings())
    with pytest.raises(UserError, match=f"there is no directory {tmp_path}/absent"):
        target(tmp_path / "absent" / "p", Settings())
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="there is no directory"):
        target(tmp_path / "file" / "p", Settings())
