"""Options that commands share: what their values may be."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from iotrace import cli
from iotrace.commands import options
from iotrace.globs import EVERYTHING, Selection
from iotrace.profile.metrics import FileStats, Header
from iotrace.profile.writer import write


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("17", 17), ("9" * 40, sys.maxsize)])
def test_a_count(text: str, number: int) -> None:
    assert options.count(text) == number


@pytest.mark.parametrize("text", ["", "-1", "1.5", "many", "²", "1\x1b[2J"])
def test_what_is_not_a_count(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        options.count(text)
    assert str(caught.value) == f"{text!r} is not a number of at least 0"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5", 5.0),
        ("0.25", 0.25),
        (".5s", 0.5),
        ("30s", 30.0),
        ("5m", 300.0),
        ("1.5h", 5400.0),
        ("200ms", 0.2),
        ("2d", 172800.0),
    ],
)
def test_a_time(text: str, number: float) -> None:
    assert options.seconds(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0m",
        "-1",
        "nan",
        "inf",
        "1e9",
        "soon",
        "1x",
        "m",
        "5 m",
        "5M",
        "1m30s",
        "٣",
        "99999999999",
        "." + "0" * 13,
    ],
)
def test_what_is_not_a_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        options.seconds(text)
    assert str(caught.value) == f"{text!r} is not a time, such as 90, 30s, 5m or 1.5h"


def test_a_selection_of_paths() -> None:
    parser = argparse.ArgumentParser()
    options.add_selection(parser)
    assert options.selection(parser.parse_args([])) == EVERYTHING
    words = ["--path", "/srv/*", "--exclude", "*.log", "--path", "/\udcff*"]
    assert options.selection(parser.parse_args(words)) == Selection((b"/srv/*", b"/\xff*"), (b"*.log",))


@pytest.mark.parametrize("command", ["report", "findings", "export", "diff"])
def test_a_glob_that_matches_nothing_is_told(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "p", Header(), [FileStats(1, b"/a.tmp", renamed_to=b"/a", ended_as=b"/a")])
    profiles = [str(tmp_path / "p")] * (2 if command == "diff" else 1)
    profiles += ["--force", "-o", str(tmp_path / "exported")] if command == "export" else []
    assert cli.main([command, *profiles, "--path", "/gone/*"]) == 1
    assert capsys.readouterr() == ("", "iotrace: no file matches --path /gone/*\n")
    assert cli.main([command, *profiles, "--exclude", "*"]) == 1
    capsys.readouterr()
    for name in ("/a", "/a.tmp"):  # either name of a renamed file
        assert cli.main([command, *profiles, "--path", name]) == 0
        assert cli.main([command, *profiles, "--exclude", name]) == 1
