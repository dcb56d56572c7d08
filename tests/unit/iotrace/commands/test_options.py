"""Options that commands share: what their values may be."""

from __future__ import annotations

import argparse
import sys

import pytest

from iotrace.commands import options
from iotrace.globs import EVERYTHING, Selection


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("17", 17), ("9" * 40, sys.maxsize)])
def test_a_count(text: str, number: int) -> None:
    assert options.count(text) == number


@pytest.mark.parametrize("text", ["", "-1", "1.5", "many", "²", "1\x1b[2J"])
def test_what_is_not_a_count(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        options.count(text)
    assert str(caught.value) == f"{text!r} is not a number of at least 0"


@pytest.mark.parametrize(("text", "number"), [("5", 5.0), ("0.25", 0.25)])
def test_a_time(text: str, number: float) -> None:
    assert options.seconds(text) == number


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "1e9", "soon"])
def test_what_is_not_a_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        options.seconds(text)
    assert str(caught.value) == f"{text!r} is not a number of seconds"


def test_a_selection_of_paths() -> None:
    parser = argparse.ArgumentParser()
    options.add_selection(parser)
    assert options.selection(parser.parse_args([])) == EVERYTHING
    words = ["--path", "/srv/*", "--exclude", "*.log", "--path", "/\udcff*"]
    assert options.selection(parser.parse_args(words)) == Selection((b"/srv/*", b"/\xff*"), (b"*.log",))
