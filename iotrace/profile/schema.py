"""The SQL tables of a profile, in each version of the schema. `SCHEMA.md` documents them for other tools.

Histograms, errors and the values of system calls are stored as JSON text. As rows of their own they would make up nine
tenths of all rows, and take several times as long to write and to read. Views show them as rows. What reports need most
is in the table `file`, apart from the calls, so that a pass over a million files reads little.
"""

from __future__ import annotations

import functools
from typing import Dict, List, NamedTuple, Sequence, Tuple

from iotrace.profile.database import ProfileError
from iotrace.profile.metrics import FIRST_VERSION, SCHEMA_VERSION, SYSCALL, TOTALS, Metric
from iotrace.profile.parts import COLUMNS
from iotrace.profile.series import COUNTERS
from iotrace.profile.values import COUNT, FINE, HISTOGRAM

APPLICATION_ID = 0x696F7472  # "iotr"
WITH_RUNS = 5  # the version from which on there is a table of runs


class Schema(NamedTuple):
    """The tables of one version."""

    tables: Dict[str, str]  # name -> declaration
    columns: Tuple[Metric, ...]  # of the table `file`, between its id and the totals
    totals: Tuple[Metric, ...]

    def has(self, column: str) -> bool:
        """Whether the table `file` has this column."""
        return any(metric.name == column for metric in (*self.columns, *self.totals))


def _file_table(metrics: Sequence[Metric]) -> str:
    columns = ["id INTEGER PRIMARY KEY", *(f"{metric.name} {metric.kind.column}" for metric in metrics)]
    return "CREATE TABLE file (\n    " + ",\n    ".join(columns) + "\n)"


@functools.lru_cache(maxsize=None)
def schema(version: int) -> Schema:
    """The tables of a version from `FIRST_VERSION` to `SCHEMA_VERSION`; ValueError for any other."""
    if not FIRST_VERSION <= version <= SCHEMA_VERSION:
        raise ValueError(f"there is no schema {version}")
    columns, totals = (tuple(metric for metric in metrics if metric.since <= version) for metrics in (COLUMNS, TOTALS))
    tables = {
        "meta": "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        "lost": "CREATE TABLE lost (what TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID",
        "unattributed": """\
CREATE TABLE unattributed (
    syscall TEXT NOT NULL,
    errno TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (syscall, errno)
) WITHOUT ROWID""",
        "file": _file_table((*columns, *totals)),
        "calls": """\
CREATE TABLE calls (
    file_id INTEGER PRIMARY KEY,
    by_syscall TEXT NOT NULL
)""",
    }
    if version >= 5:
        tables["failed_open"] = """\
CREATE TABLE failed_open (
    path BLOB,
    errno TEXT NOT NULL,
    cut INTEGER NOT NULL,
    count INTEGER NOT NULL
)"""
    if version >= WITH_RUNS:
        tables["run"] = """\
CREATE TABLE run (
    id TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    started_ns INTEGER NOT NULL,
    ended_ns INTEGER NOT NULL,
    times INTEGER NOT NULL
) WITHOUT ROWID"""
        tables["series"] = """\
CREATE TABLE series (
    file_id INTEGER PRIMARY KEY,
    intervals TEXT NOT NULL
)"""
    return Schema(tables, columns, totals)


CURRENT = schema(SCHEMA_VERSION)
"""The schema of new profiles."""

INDEXES: Dict[str, str] = {
    "file_path": "CREATE INDEX file_path ON file (path, mnt_ns)",
    "file_renamed_to": "CREATE INDEX file_renamed_to ON file (renamed_to) WHERE renamed_to IS NOT NULL",
    "file_who": "CREATE INDEX file_who ON file (who) WHERE who IS NOT NULL",
    "file_ended_as": "CREATE INDEX file_ended_as ON file (ended_as) WHERE ended_as IS NOT NULL",
}
"""Created once all files have been inserted."""


def _syscall_view() -> str:
    """The view that shows every entry of `by_syscall` as a row. A count that is missing at the end is 0."""
    columns: List[str] = []
    for number, metric in enumerate(SYSCALL):
        value = f"json_extract(call.value, '$[{number}]')"
        columns.append(f"{f'coalesce({value}, 0)' if number and metric.kind == COUNT else value} AS {metric.name}")
    return (
        f"CREATE VIEW syscall AS SELECT file_id, call.key AS name, {', '.join(columns)} "
        "FROM calls, json_each(by_syscall) AS call"
    )


def _histogram_view() -> str:
    """The view that shows every histogram as rows."""
    bins = "'{0}' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM {1}, json_each({1}.{0}) AS bin"
    of_syscalls, of_files = (
        [metric.name for metric in metrics if metric.kind in (HISTOGRAM, FINE)] for metrics in (SYSCALL, COLUMNS)
    )
    selects = ["SELECT file_id, name AS syscall, " + bins.format(name, "syscall") for name in of_syscalls]
    selects += ["SELECT file.id AS file_id, NULL AS syscall, " + bins.format(name, "file") for name in of_files]
    return "CREATE VIEW histogram AS " + " UNION ALL ".join(selects)


def _interval_view() -> str:
    """The view that shows every interval of every file as a row."""
    counters = ", ".join(
        f"coalesce(json_extract(row.value, '$[{number}]'), 0) AS {name}" for number, name in enumerate(COUNTERS, 1)
    )
    return (
        f"CREATE VIEW interval AS SELECT file_id, json_extract(row.value, '$[0]') AS number, {counters} "
        "FROM series, json_each(intervals) AS row"
    )


VIEWS: Dict[str, str] = {
    "interval": _interval_view(),
    "syscall": _syscall_view(),
    "histogram": _histogram_view(),
    "error": "CREATE VIEW error AS SELECT file_id, name AS syscall, bin.key AS errno, bin.value AS count "
    "FROM syscall, json_each(syscall.errors) AS bin",
}


def check_version(name: str, version: int) -> None:
    """Raise `ProfileError` for a schema that cannot be read."""
    reads = f"{FIRST_VERSION} to {SCHEMA_VERSION}" if FIRST_VERSION < SCHEMA_VERSION else str(SCHEMA_VERSION)
    if version > SCHEMA_VERSION:
        raise ProfileError(
            f"{name}: written by a newer iotrace (schema {version}, this one reads {reads}): upgrade iotrace"
        )
    if version < FIRST_VERSION:
        raise ProfileError(f"{name}: written by an older iotrace (schema {version}, this one reads {reads})")
