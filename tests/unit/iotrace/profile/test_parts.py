"""Rows are made by names: none can be missing, none unknown, and both ways to make one agree."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Dict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotrace.profile.metrics import SYSCALL, TOTALS, CallTotals, FileStats, SyscallStats
from iotrace.profile.parts import COLUMNS, Edges, as_part, call_json, call_text, columns
from tests.unit.iotrace.profile.samples import calls, files

EMPTY = FileStats(1, b"/a")
NO_CALLS = CallTotals.of({})
TEXTS: Dict[str, object] = {metric.name: number for number, metric in enumerate(SYSCALL)}


def test_a_row_has_a_value_for_each_column() -> None:
    assert len(columns(EMPTY, NO_CALLS)) == len(COLUMNS) + len(TOTALS)


@pytest.mark.parametrize("name", [metric.name for metric in COLUMNS])
def test_a_row_without_a_metric_is_an_error(name: str) -> None:
    known = {key: value for key, value in vars(EMPTY).items() if key != name}
    with pytest.raises(AttributeError, match=name):
        columns(SimpleNamespace(**known), NO_CALLS)


def test_values_go_to_their_columns() -> None:
    """In whatever order they are given."""
    known = dict(reversed(list(vars(FileStats(1, b"/a", inode=(1 << 64) - 1, mapped=True, opens=3)).items())))
    row = dict(zip((metric.name for metric in COLUMNS), columns(SimpleNamespace(**known), NO_CALLS)))
    assert (row["path"], row["inode"], row["mapped"], row["opens"]) == (b"/a", -1, 1, 3)
    assert row["sequential_read"] is None


@pytest.mark.parametrize("name", TEXTS)
def test_a_call_without_a_metric_is_an_error(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        call_text(**{key: value for key, value in TEXTS.items() if key != name})


def test_a_call_with_an_unknown_metric_is_an_error() -> None:
    with pytest.raises(TypeError, match="unheard"):
        call_text(**TEXTS, unheard=1)
    with pytest.raises(KeyError, match="unheard"):
        call_json({"calls": 1, "unheard": 2})


def test_text_and_json_of_a_call_have_the_same_order() -> None:
    assert json.loads(call_text(**TEXTS)) == json.loads(call_json(TEXTS)) == list(range(len(SYSCALL)))


@pytest.mark.parametrize(
    ("known", "stored"),
    [
        ({}, "[0]"),
        ({"calls": 3}, "[3]"),
        ({"calls": 3, "first_ns": 0}, "[3,0,0]"),
        ({"errors": {"EIO": 1}}, '[0,0,null,null,{"EIO":1}]'),
        ({"calls": 1, "errors": {}, "requested": {}}, "[1]"),
    ],
)
def test_what_is_not_known_is_left_out_at_the_end(known: Dict[str, object], stored: str) -> None:
    assert call_json(known) == stored


@given(calls)
def test_a_record_is_stored_as_its_values_are(call: SyscallStats) -> None:
    values = {metric.name: metric.kind.dumped(getattr(call, metric.name)) for metric in SYSCALL}
    stored = as_part(FileStats(1, b"/a", syscalls={"read": call}), Edges(0)).by_syscall
    assert stored == f'{{"read":{call_json(values)}}}'


@given(files, st.text(), calls)
def test_any_name_of_a_call_is_json(file: FileStats, name: str, call: SyscallStats) -> None:
    file.syscalls[name] = call
    assert name in json.loads(as_part(file, Edges(0)).by_syscall)


def test_a_part_knows_its_path() -> None:
    assert as_part(FileStats(1, b"/here", renamed_to=b"/there"), Edges(0)).path == b"/here"


@pytest.mark.parametrize("name", ["calls", "bytes", "first_ns", "last_ok_ns"])
def test_a_counter_that_does_not_fit_is_refused(name: str) -> None:
    file = FileStats(1, b"/a", syscalls={"read": SyscallStats(**{name: 1 << 63})})  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        as_part(file, Edges(0))
