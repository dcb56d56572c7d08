"""Applying renames and unlinks to rows of a profile that is being written, for files that the tracer has forgotten.

A change is given by the text of two paths. All changes are applied at the end, in the order in which they happened.
"""

from __future__ import annotations

import sqlite3

TABLE = "CREATE TEMP TABLE change (number INTEGER PRIMARY KEY, mnt_ns, old, new)"
INSERT = "INSERT INTO change VALUES (NULL, ?, ?, ?)"

# What a change means for the files that were in the profile already when it happened.
_CONCERNED = "mnt_ns = :mnt_ns AND NOT deleted AND (SELECT changes FROM edges WHERE file_id = file.id) <= :number"
_BELOW = "CAST(:new || substr({0}, length(:old) + 1) AS BLOB)"
_UNLINKED = (
    f"UPDATE file SET deleted = 1 WHERE path = :old AND renamed_to IS NULL AND {_CONCERNED}",
    f"UPDATE file SET deleted = 1 WHERE renamed_to = :old AND {_CONCERNED}",
)
_RENAMED = (
    f"UPDATE file SET deleted = 1 WHERE path = :new AND renamed_to IS NULL AND {_CONCERNED}",
    f"UPDATE file SET deleted = 1 WHERE renamed_to = :new AND {_CONCERNED}",
    f"UPDATE file SET renamed_to = nullif(:new, path) WHERE renamed_to = :old AND {_CONCERNED}",
    f"UPDATE file SET renamed_to = :new WHERE path = :old AND renamed_to IS NULL AND {_CONCERNED}",
    f"UPDATE file SET renamed_to = nullif({_BELOW.format('renamed_to')}, path)"
    f" WHERE renamed_to > :below AND renamed_to < :beyond AND {_CONCERNED}",
    f"UPDATE file SET renamed_to = {_BELOW.format('path')}"
    f" WHERE path > :below AND path < :beyond AND renamed_to IS NULL AND {_CONCERNED}",
)


_RENAMED_FILE = """\
SELECT path, renamed_to, mnt_ns, device, inode, generation, position
FROM file JOIN edges ON file_id = id WHERE id = ?"""
_SAME_INODE = """mnt_ns = :mnt_ns AND inode = :inode AND device = :device AND EXISTS
    (SELECT 1 FROM edges WHERE file_id = file.id AND generation = :generation AND position > :position)"""
_LATER_PARTS = (
    f"UPDATE file SET path = :first, renamed_to = :last WHERE path = :last AND renamed_to IS NULL AND {_SAME_INODE}",
    f"UPDATE file SET path = :first WHERE renamed_to = :last AND path <> :first AND {_SAME_INODE}",
)


def apply(database: sqlite3.Connection) -> None:
    """Apply the table of changes to the rows."""
    for number, mnt_ns, old, new in database.execute("SELECT number - 1, mnt_ns, old, new FROM change"):
        names = {"number": number, "mnt_ns": mnt_ns, "old": old, "new": new, "below": old + b"/", "beyond": old + b"0"}
        for statement in _UNLINKED if new is None else _RENAMED:
            database.execute(statement, names)


def reunite(database: sqlite3.Connection) -> None:
    """Give all parts of a file that was renamed between them its first name."""
    database.execute(
        "CREATE TEMP TABLE renamed AS SELECT id FROM file JOIN edges ON file_id = id"
        " WHERE renamed_to IS NOT NULL ORDER BY position"
    )
    for key in database.execute("SELECT id FROM renamed"):
        (found,) = database.execute(_RENAMED_FILE, key)
        names = dict(zip(("first", "last", "mnt_ns", "device", "inode", "generation", "position"), found))
        for statement in _LATER_PARTS:
            database.execute(statement, names)
