"""The table of metrics: that it says all that must be known of each, and that everything else is held to it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Dict, get_type_hints

import pytest

from iotrace.profile import metrics, runs, values
from iotrace.profile.failed_opens import FAILED_OPENS, FailedOpen
from iotrace.profile.merge import add_files, add_headers, add_syscalls
from iotrace.profile.metrics import (
    FILE,
    FIRST_VERSION,
    HEADER,
    SCHEMA_VERSION,
    SYSCALL,
    TOTALS,
    CallTotals,
    FileStats,
    Header,
    Metric,
    SyscallStats,
)
from iotrace.profile.rows import Marks, Sums
from iotrace.profile.values import Kind
from iotrace.profile.whose import WHO, Who

EVERY = [*FILE, *SYSCALL, *TOTALS, *HEADER]
TYPES: Dict[Kind, str] = {
    values.COUNT: "int",
    values.MAYBE: "Optional[int]",
    values.FLAG: "bool",
    values.TEXT: "str",
    values.PATH: "bytes",
    values.MAYBE_PATH: "Optional[bytes]",
    values.STATE: "Optional[str]",
    values.MAYBE_TEXT: "Optional[str]",
    runs.RUNS: "List[Run]",
    WHO: "Optional[Who]",
    values.UNSIGNED: "int",
    values.HISTOGRAM: "Histogram",
    values.FINE: "Histogram",
    values.SIZES: "Sizes",
    values.COUNTS: "Counts",
    values.WORDS: "List[bytes]",
    values.OBJECT: "Dict[str, object]",
    values.TEXTS: "Dict[str, str]",
    values.NESTED_COUNTS: "Dict[str, Counts]",
    FAILED_OPENS: "List[FailedOpen]",
}


def test_every_field_is_in_the_table() -> None:
    """But for the one that holds records with a table of their own."""
    for record, table in ((FileStats, FILE), (SyscallStats, SYSCALL), (CallTotals, TOTALS), (Header, HEADER)):
        names = [field.name for field in dataclasses.fields(record) if field.name not in ("syscalls", "series")]
        assert [metric.name for metric in table] == names


def test_a_field_that_declares_nothing_is_refused() -> None:
    @dataclasses.dataclass
    class Careless:
        forgotten: int = 0

    with pytest.raises(TypeError, match=r"Careless\.forgotten"):
        metrics.table_of(Careless)


@pytest.mark.parametrize("record", [FileStats, SyscallStats, CallTotals, Header])
def test_the_type_of_a_field_is_that_of_its_kind(record: Any) -> None:
    assert get_type_hints(record), "they can be resolved"
    annotations = {field.name: field.type for field in dataclasses.fields(record)}
    for metric in metrics.table_of(record):
        assert annotations[metric.name] == TYPES[metric.kind], metric.name


@pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.name)
def test_every_metric_says_what_it_means(metric: Metric) -> None:
    assert len(metric.doc) > 5 and not metric.doc.endswith(".") and "\n" not in metric.doc and "|" not in metric.doc
    assert len(metric.caption) <= 15, "a report has no more room"
    assert FIRST_VERSION <= metric.since <= SCHEMA_VERSION


@pytest.mark.parametrize("metric", [*FILE, *TOTALS], ids=lambda metric: metric.name)
def test_every_metric_of_a_file_has_a_column(metric: Metric) -> None:
    assert metric.kind.column


def test_a_metric_that_is_counted_or_drawn_has_a_caption() -> None:
    """The others stand in the heading of `iotrace report --file`, whose tests look for each."""
    heading = ["mnt_ns", "path", "renamed_to", "ended_as", "device", "inode", "fstype", "incarnations"]
    heading += ["state", "deleted", "unreachable", "mapped", "host", "who"]
    assert [metric.name for metric in FILE if not metric.caption] == heading
    assert [metric.name for metric in SYSCALL if not metric.caption] == [
        "calls",
        "bytes",
        "errors",
        "common_sizes_error",
    ]


def test_the_documentation_of_a_record_explains_its_metrics() -> None:
    assert FileStats.__doc__ and "\nrewrites: writes that start where the last one did" in FileStats.__doc__
    for record, table in ((FileStats, FILE), (SyscallStats, SYSCALL), (Header, HEADER)):
        for metric in table:
            assert f"\n{metric.name}: {metric.doc}" in str(record.__doc__)


def test_the_array_of_a_system_call_has_new_metrics_at_its_end() -> None:
    """The first eight are what every profile has, in this order."""
    assert [metric.name for metric in SYSCALL][:8] == (
        ["calls", "bytes", "first_ns", "last_ok_ns", "errors", "requested", "completed", "latency_ns"]
    )


# --- nothing is merged to nothing -------------------------------------------------------------------------------------

SOMETHING: Dict[Kind, Any] = {
    values.COUNT: 7,
    values.MAYBE: 7,
    values.FLAG: True,
    values.TEXT: "seven",
    values.PATH: b"/seven",
    values.MAYBE_PATH: b"/seven",
    values.STATE: values.REPLACED,
    values.MAYBE_TEXT: "seven",
    runs.RUNS: [runs.Run("7" * 32, "seven", 1, 7)],
    WHO: Who("user", 7),
    values.UNSIGNED: 7,
    values.HISTOGRAM: {4: 7},
    values.FINE: {80: 7},
    values.SIZES: {4095: 7},
    values.COUNTS: {"EIO": 7},
    values.WORDS: [b"seven"],
    values.OBJECT: {"seven": 7},
    values.TEXTS: {"seven": "7"},
    values.NESTED_COUNTS: {"read": {"EIO": 7}},
    FAILED_OPENS: [FailedOpen(b"/seven", "ENOENT", False, 7)],
}


def full(record: Any) -> Any:
    """A record in which every metric has another value than it has by default."""
    made = record(**{metric.name: SOMETHING[metric.kind] for metric in metrics.table_of(record)})
    assert all(getattr(made, metric.name) != metric.default() for metric in metrics.table_of(record))
    return made


@pytest.mark.parametrize(
    ("record", "add"), [(SyscallStats, add_syscalls), (FileStats, add_files), (Header, add_headers)]
)
def test_merging_keeps_every_metric(record: Any, add: Any) -> None:
    """The sum with a record that knows nothing has all that was known, and the sum of two equals is no less."""
    known = full(record)
    nothing = record(1, b"/seven") if record is FileStats else record()
    both = add(known, known)
    for metric in metrics.table_of(record):
        value = getattr(known, metric.name)
        expected = value
        if metric.merge is values.added:
            expected = 14
        elif metric.merge is values.add_tables:
            expected = dict.fromkeys(value, 14)
        elif metric.merge is runs.added:
            expected = [runs.Run("7" * 32, "seven", 1, 7, times=2)]
        elif metric.merge is values.add_nested:
            expected = {"read": {"EIO": 14}}
        elif metric.kind is FAILED_OPENS:
            expected = [row._replace(times=14) for row in value]
        assert getattr(both, metric.name) == expected, metric.name
        if metric.merge in (values.added, values.least, values.greatest, values.most, values.either):
            assert getattr(add(nothing, known), metric.name) == value
            assert getattr(add(known, nothing), metric.name) == value


def test_totals_are_sums_over_the_calls() -> None:
    read = SyscallStats(3, errors={"EIO": 1, "EINTR": 2}, latency_ns={512: 2, 1024: 1})
    sync = SyscallStats(5, latency_ns={1 << 20: 1}, latency_sum_ns=(1 << 20) + 77)
    total = CallTotals.of({"pread64": read, "fsync": sync, "sync_file_range": sync, "nobody knows": read})
    assert total == CallTotals(calls=16, errors=6, syncs=10, busy_ns=2 * (1024 + 1024 + (1 << 20) + 77))


def test_totals_never_exceed_what_a_profile_can_hold() -> None:
    top = (1 << 63) - 1
    assert CallTotals.of(dict.fromkeys(("read", "write"), SyscallStats(top))).calls == top


def test_what_tables_need_has_its_columns() -> None:
    columns = {metric.name for metric in (*FILE, *TOTALS)}
    assert set(Sums._fields) <= columns
    assert set(Marks._fields) <= columns | {"renamed", "folded"}


def test_defaults_are_as_json_has_them() -> None:
    """Kinds of values can be compared, and an empty record can be exported."""
    for metric in EVERY:
        if metric.name not in ("mnt_ns", "path") and metric not in TOTALS:
            json.dumps(metric.kind.dumped(metric.default()))
