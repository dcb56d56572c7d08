"""The tables of an export: all that a profile knows, each value once, and keys that join."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any, Dict, List, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iotrace import unescape
from iotrace.profile import values
from iotrace.profile.metrics import FILE, HEADER, SYSCALL, FileStats, Header, Metric, SyscallStats
from iotrace.profile.runs import Run
from iotrace.profile.series import COUNTERS
from iotrace.profile.values import fine_bounds
from iotrace.profile.whose import WHO, Who
from iotrace.views import formats
from programs.facts.catalogue import WITHOUT_DATA
from tests.unit.iotrace.profile import samples
from tests.unit.iotrace.views.formats.samples import FILE as SAMPLE
from tests.unit.iotrace.views.formats.samples import run

Rows = Dict[str, List[Dict[str, Any]]]


def rows(*runs: formats.Run) -> Rows:
    found: Rows = {name: [] for name in formats.TABLES}
    for name, row in formats.rows(runs):
        columns = formats.TABLES[name].columns
        assert len(row) == len(columns)
        found[name].append({column.name: value for column, value in zip(columns, row)})
    return found


def known(metric: Any, row: Dict[str, Any]) -> object:
    """The value of a metric from its column."""
    value = row[metric.name]
    if metric.kind in (values.PATH, values.MAYBE_PATH):
        return None if value is None else unescape(value)
    if metric.kind in (values.TEXT, values.MAYBE_TEXT):
        return None if value is None else unescape(value).decode()
    if metric.kind == WHO and value is not None:
        by, _, name = value.partition(":")
        return Who(by, int(name) if by == "user" else unescape(name))
    return value


COLUMNS = {name: {column.name: column for column in table.columns} for name, table in formats.TABLES.items()}


def in_columns(table: str, metrics: Sequence[Metric]) -> List[Metric]:
    """The metrics that have a column, but for those that are JSON there."""
    return [
        metric for metric in metrics if metric.name in COLUMNS[table] and COLUMNS[table][metric.name].type != "JSON"
    ]


def in_rows(table: str, metrics: Sequence[Metric]) -> List[Metric]:
    """The metrics that have rows of their own."""
    return [metric for metric in metrics if metric.name not in COLUMNS[table]]


@pytest.mark.slow
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(samples.files, max_size=4), samples.headers)
def test_the_tables_hold_all_that_is_known_each_value_once(files: List[FileStats], header: Any) -> None:
    found = rows(run(files, header))
    for row, file in zip(found["file"], files):
        for metric in in_columns("file", FILE):
            assert known(metric, row) == getattr(file, metric.name), metric.name
    calls = [(n, name, call) for n, file in enumerate(files, 1) for name, call in sorted(file.syscalls.items())]
    assert [(row["file_id"], row["operation"]) for row in found["operation"]] == [key[:2] for key in calls]
    for row, (_, name, call) in zip(found["operation"], calls):
        for metric in in_columns("operation", SYSCALL):
            absent = metric.of_transfers and name in WITHOUT_DATA
            assert known(metric, row) == (None if absent else getattr(call, metric.name)), metric.name

    tables: Dict[Any, Dict[Any, int]] = defaultdict(dict)
    for table, key, name in (("histogram", "lower", "metric"), ("error", "errno", ""), ("common_size", "size", "")):
        for row in found[table]:
            where = (row["file_id"], row["operation"], row[name] if name else table)
            assert row[key] not in tables[where]
            tables[where][row[key]] = row["count"]
    named = {"errors": "error", "common_sizes": "common_size"}
    expected: Dict[Any, Dict[Any, int]] = {}
    for number, file in enumerate(files, 1):
        for metric in in_rows("file", FILE):
            expected[number, None, metric.name] = getattr(file, metric.name)
    for number, name, call in calls:
        for metric in in_rows("operation", SYSCALL):
            expected[number, name, named.get(metric.name, metric.name)] = getattr(call, metric.name)
    assert tables == {key: table for key, table in expected.items() if table}


@settings(deadline=None, max_examples=50)
@given(samples.headers)
def test_the_run_is_in_its_tables(header: Any) -> None:
    found = rows(run([], header))
    (told,) = found["run"]
    for metric in HEADER:
        value = getattr(header, metric.name)
        if metric in in_columns("run", HEADER):
            assert known(metric, told) == value
        elif metric.kind == values.WORDS:
            assert [unescape(word) for word in json.loads(told[metric.name])] == value
        elif metric.kind in (values.COUNTS, values.TEXTS):
            key, what = (
                ("count", int) if metric.kind == values.COUNTS else ("text", lambda text: unescape(text).decode())
            )
            assert {unescape(row["what"]).decode(): what(row[key]) for row in found[metric.name]} == value
        elif metric.kind == values.NESTED_COUNTS:
            nested: Dict[str, Dict[str, int]] = defaultdict(dict)
            for row in found[metric.name]:
                nested[row["operation"]][row["errno"]] = row["count"]
            assert nested == value
    opens = [
        (None if row["path"] is None else unescape(row["path"]), row["errno"], row["cut"], row["count"])
        for row in found["failed_opens"]
    ]
    assert opens == list(map(tuple, header.failed_opens))
    merged = [Run(row["id"], unescape(row["host"]).decode(), *list(row.values())[3:]) for row in found["merged_run"]]
    assert merged == header.runs or (not header.runs and len(merged) == 1)


def test_every_metric_has_a_place() -> None:
    """In a column of its record's table, or in a table of its own; few are JSON, which SQL and pandas do not add up."""
    histograms = {metric.name for metric in (*FILE, *SYSCALL) if metric.kind in (values.HISTOGRAM, values.FINE)}
    elsewhere = {
        "file": histograms,
        "operation": histograms | {"errors", "common_sizes"},
        "run": {*formats.PARTS, "runs"},
    }
    for table, metrics in (("file", FILE), ("operation", SYSCALL), ("run", HEADER)):
        assert {metric.name for metric in in_rows(table, metrics)} <= elsewhere[table]
    found = {column.name for columns in COLUMNS.values() for column in columns.values() if column.type == "JSON"}
    assert found <= {"command", "filters", "overhead"}


def test_keys_join_and_are_keys() -> None:
    other = run([SAMPLE, SAMPLE])._replace(id="r000000000000")
    found = rows(run([SAMPLE, SAMPLE]), other)
    keys = {
        "run": "run",
        "file": "run file_id",
        "operation": "run file_id operation",
        "histogram": "run file_id operation metric lower",
        "error": "run file_id operation errno",
        "common_size": "run file_id operation size",
        "series": "run file_id interval",
        "lost": "run what",
    }
    for name, key in keys.items():
        seen = [tuple(row[part] for part in key.split()) for row in found[name]]
        assert seen and len(seen) == len(set(seen)), name
        for parent, columns in (("run", ["run"]), ("file", ["run", "file_id"])):
            if set(columns) <= set(key.split()):
                there = {tuple(row[part] for part in columns) for row in found[parent]}
                assert {tuple(row[part] for part in columns) for row in found[name]} == there


def test_the_bounds_of_buckets() -> None:
    """Every value is within those of its bucket; the next begins behind it."""
    fine = {fine_bounds(number)[0]: 1 for number in range(200)}
    powers = {0: 1, **{1 << k: 1 for k in range(64)}}
    call = SyscallStats(1, requested=powers, latency_ns=fine, latency_sum_ns=1)
    found = rows(run([FileStats(1, b"/a", syscalls={"read": call})]))["histogram"]
    for metric, table in (("requested", powers), ("latency_ns", fine)):
        bounds = [(row["lower"], row["upper"]) for row in found if row["metric"] == metric]
        assert [lower for lower, _ in bounds] == sorted(table)
        assert [upper + 1 for _, upper in bounds[:-1]] == [lower for lower, _ in bounds[1:]]
    assert bounds[:2] == [(0, 15), (16, 31)]
    coarse = SyscallStats(1, latency_ns={0: 1, 512: 2})  # as schema 3 has them, whose buckets are powers of two
    found = rows(run([FileStats(1, b"/a", syscalls={"read": coarse})]))["histogram"]
    assert [(row["lower"], row["upper"]) for row in found] == [(0, 0), (512, 1023)]


def test_a_run_has_the_same_id_always_and_no_other_has_it() -> None:
    assert run([]).id == run([SAMPLE]).id == run([SAMPLE]).id
    assert run([]).id != run([], Header()).id


def test_intervals_have_their_times() -> None:
    header = Header(started_ns=10**18, interval_ns=2 * 10**9)
    file = FileStats(1, b"/a", series=[(0, 1, 2, 3, 4, 5, 6, 7), (3, 1, 0, 0, 0, 0, 0, 9), (None, 1, 1, 1, 1, 1, 1, 1)])
    found = rows(run([file], header))["series"]
    assert [(row["interval"], row["start_ns"]) for row in found] == [(0, 10**18), (3, 10**18 + 6 * 10**9), (None, None)]
    assert list(found[0].values())[4:] == [1, 2, 3, 4, 5, 6, 7]
    assert list(found[0])[4:] == list(COUNTERS)
