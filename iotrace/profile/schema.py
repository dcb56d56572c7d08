"""The tables of a profile, as SQLite sees them. `SCHEMA.md` documents them for other tools.

Histograms, errors and what is known of each system call are JSON text: as rows of their own they would be nine tenths
of all rows, several times slower to write and to read back. Views show them as rows. What tables need lies in `file`,
apart from the calls, so that a pass over a million files reads little.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Dict, Tuple

from iotrace.profile.model import HISTOGRAMS, SYSCALL_HISTOGRAMS, FileStats

APPLICATION_ID = 0x696F7472  # "iotr"
SCHEMA_VERSION = 2

TABLES: Dict[str, str] = {
    "meta": "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "lost": "CREATE TABLE lost (what TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID",
    "unattributed": """\
CREATE TABLE unattributed (
    syscall TEXT NOT NULL,
    errno TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (syscall, errno)
) WITHOUT ROWID""",
    "file": """\
CREATE TABLE file (
    id INTEGER PRIMARY KEY,
    mnt_ns INTEGER NOT NULL,
    path BLOB NOT NULL,
    renamed_to BLOB,
    device TEXT NOT NULL,
    inode INTEGER NOT NULL,
    fstype TEXT NOT NULL,
    incarnations INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    mapped INTEGER NOT NULL,
    opens INTEGER NOT NULL,
    closes INTEGER NOT NULL,
    bytes_read INTEGER NOT NULL,
    bytes_written INTEGER NOT NULL,
    bytes_synced INTEGER NOT NULL,
    bytes_unsynced INTEGER NOT NULL,
    rewrites INTEGER NOT NULL,
    lowest_offset INTEGER,
    highest_offset INTEGER,
    direct_calls INTEGER NOT NULL,
    durable_writes INTEGER NOT NULL,
    first_read_ns INTEGER,
    last_read_ns INTEGER,
    first_write_ns INTEGER,
    last_write_ns INTEGER,
    last_sync_ns INTEGER,
    sequential_read TEXT,
    sequential_write TEXT,
    bytes_between_syncs TEXT,
    calls INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    syncs INTEGER NOT NULL,
    busy_ns INTEGER NOT NULL
)""",
    "calls": """\
CREATE TABLE calls (
    file_id INTEGER PRIMARY KEY,
    by_syscall TEXT NOT NULL
)""",
}

INDEXES: Dict[str, str] = {
    "file_path": "CREATE INDEX file_path ON file (path, mnt_ns)",
    "file_renamed_to": "CREATE INDEX file_renamed_to ON file (renamed_to) WHERE renamed_to IS NOT NULL",
}
"""Made once all files are in."""

SCALARS: Tuple[str, ...] = tuple(f.name for f in fields(FileStats) if f.name not in ("syscalls", *HISTOGRAMS))
"""The columns of `file` between `id` and its histograms, in this order."""

CALL_FIELDS: Tuple[str, ...] = ("calls", "bytes", "first_ns", "last_ok_ns", "errors", *SYSCALL_HISTOGRAMS)
"""What the elements of a system call's array in `calls.by_syscall` mean; those at the end may be missing."""


def _syscall_view() -> str:
    columns = (
        f"coalesce(json_extract(call.value, '$[{number}]'), 0) AS {name}"
        if name == "bytes"
        else f"json_extract(call.value, '$[{number}]') AS {name}"
        for number, name in enumerate(CALL_FIELDS)
    )
    return (
        f"CREATE VIEW syscall AS SELECT file_id, call.key AS name, {', '.join(columns)} "
        "FROM calls, json_each(by_syscall) AS call"
    )


def _histogram_view() -> str:
    """The view that shows every histogram as rows."""
    bins = "'{0}' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM {1}, json_each({1}.{0}) AS bin"
    of_syscalls = ["SELECT file_id, name AS syscall, " + bins.format(m, "syscall") for m in SYSCALL_HISTOGRAMS]
    of_files = ["SELECT file.id AS file_id, NULL AS syscall, " + bins.format(m, "file") for m in HISTOGRAMS]
    return "CREATE VIEW histogram AS " + " UNION ALL ".join(of_syscalls + of_files)


VIEWS: Dict[str, str] = {
    "syscall": _syscall_view(),
    "histogram": _histogram_view(),
    "error": "CREATE VIEW error AS SELECT file_id, name AS syscall, bin.key AS errno, bin.value AS count "
    "FROM syscall, json_each(syscall.errors) AS bin",
}
