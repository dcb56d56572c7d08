"""Rows apart by who does the I/O: what the records of a file and of its rows come to together."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from hypothesis import given
from hypothesis import strategies as st

from iotrace.tracing.who import Row, State, states
from programs.facts.records import FILE_DELETED, FILE_MAPPED, FileState


def state(**words: int) -> State:
    return FileState.struct.unpack(FileState.pack(**words))


def apart(file: State, rows: List[Tuple[State, int]]) -> List[Dict[str, Any]]:
    """The rows of a file as if each were a file: `rows` are their records, and the bytes that each has written."""
    found = [(Row(number, b""), row, written) for number, (row, written) in enumerate(rows)]
    return [dict(zip(FileState.fields, whole)) for whole in states(file, found)]


def test_a_sync_covers_what_rows_have_written_before_it() -> None:
    """The file was synced twice (`closes` of its record); one row has written since, the other not."""
    file = state(closes=2, unsynced=30, synced=170, last_write=5, seen=9, flags=FILE_DELETED)
    before, since = apart(
        file,
        [(state(unsynced=100, synced=1, flags=FILE_MAPPED, opens=3), 100), (state(unsynced=30, synced=2), 100)],
    )
    assert (before["unsynced"], before["synced"]) == (0, 100)
    assert (since["unsynced"], since["synced"]) == (30, 70)
    assert (before["flags"], since["flags"]) == (FILE_DELETED | FILE_MAPPED, FILE_DELETED)
    assert before["opens"] == 3 and (before["last_write"], before["seen"]) == (5, 9)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 2), st.integers(0, 99)), min_size=1), st.data())
def test_whatever_went_astray_rows_add_up(rows: List[Tuple[int, int, int]], data: st.DataObject) -> None:
    """Between CPUs that write and sync at once, a row's bytes may end on the wrong side of a sync."""
    total = sum(written for _, _, written in rows)
    unsynced = data.draw(st.integers(0, total))
    found = apart(
        state(closes=1, unsynced=unsynced),
        [(state(unsynced=left, synced=epoch), written) for left, epoch, written in rows],
    )
    assert sum(row["unsynced"] for row in found) == unsynced
    assert sum(row["unsynced"] + row["synced"] for row in found) >= total
