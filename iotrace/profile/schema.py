"""The tables of a profile, as SQLite sees them. `SCHEMA.md` documents them for other tools.

Histograms, errors and what is known of each system call are JSON text: as rows of their own they would be nine tenths
of all rows, several times slower to write and to read back. Views show them as rows. What tables need lies in `file`,
apart from the calls, so that a pass over a million files reads little.
"""

from __future__ import annotations

import functools
from typing import Dict, List, NamedTuple, Sequence, Tuple

from iotrace.profile.metrics import FIRST_VERSION, SCHEMA_VERSION, SYSCALL, TOTALS, Metric
from iotrace.profile.parts import COLUMNS
from iotrace.profile.values import COUNT, HISTOGRAM

APPLICATION_ID = 0x696F7472  # "iotr"


class Schema(NamedTuple):
    """The tables of one version."""

    tables: Dict[str, str]  # name -> how it is declared
    columns: Tuple[Metric, ...]  # of the table `file`, after its id and before the totals
    totals: Tuple[Metric, ...]

    def has(self, column: str) -> bool:
        """Whether the table `file` has that column."""
        return any(metric.name == column for metric in (*self.columns, *self.totals))


def _file_table(metrics: Sequence[Metric]) -> str:
    columns = ["id INTEGER PRIMARY KEY", *(f"{metric.name} {metric.kind.column}" for metric in metrics)]
    return "CREATE TABLE file (\n    " + ",\n    ".join(columns) + "\n)"


@functools.lru_cache(maxsize=None)
def schema(version: int) -> Schema:
    """The tables as that version has them; it is one from `FIRST_VERSION` to `SCHEMA_VERSION`."""
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
    return Schema(tables, columns, totals)


CURRENT = schema(SCHEMA_VERSION)
"""What is written."""

INDEXES: Dict[str, str] = {
    "file_path": "CREATE INDEX file_path ON file (path, mnt_ns)",
    "file_renamed_to": "CREATE INDEX file_renamed_to ON file (renamed_to) WHERE renamed_to IS NOT NULL",
}
"""Made once all files are in."""


def _syscall_view() -> str:
    """Every entry of `by_syscall` as a row; a count that is missing at the end is 0."""
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
        [metric.name for metric in metrics if metric.kind == HISTOGRAM] for metrics in (SYSCALL, COLUMNS)
    )
    selects = ["SELECT file_id, name AS syscall, " + bins.format(name, "syscall") for name in of_syscalls]
    selects += ["SELECT file.id AS file_id, NULL AS syscall, " + bins.format(name, "file") for name in of_files]
    return "CREATE VIEW histogram AS " + " UNION ALL ".join(selects)


VIEWS: Dict[str, str] = {
    "syscall": _syscall_view(),
    "histogram": _histogram_view(),
    "error": "CREATE VIEW error AS SELECT file_id, name AS syscall, bin.key AS errno, bin.value AS count "
    "FROM syscall, json_each(syscall.errors) AS bin",
}
