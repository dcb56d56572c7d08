"""Rows of one file, apart by who did the I/O: their parts are added up as those of the file would be."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iotrace.profile import reader
from iotrace.profile.metrics import FileStats, Header
from iotrace.profile.parts import Edges, as_part
from iotrace.profile.target import Target
from iotrace.profile.values import bucket
from iotrace.profile.whose import WHO, Who
from iotrace.profile.writer import Writer

Event = Tuple[str, str, int, int]
"""Who, and ("write", offset, bytes) or ("sync", 0, 0)."""

whos = st.sampled_from(("a", "b", "c"))
events = st.lists(
    st.tuples(whos, st.just("write"), st.sampled_from((0, 1, 4096)), st.integers(1, 9))
    | st.tuples(whos, st.just("sync"), st.just(0), st.just(0)),
    max_size=12,
)


def history(happened: List[Event]) -> List[Tuple[FileStats, Dict[str, Any]]]:
    """What the definitions make of a history: a row for each that took part, and what is at its ends."""
    rows: Dict[str, FileStats] = {}
    ends: Dict[str, Dict[str, int]] = {}
    last_write, synced_before = 0, False
    for name, what, offset, size in happened:
        row = rows.setdefault(name, FileStats(1, b"/a", inode=7, who=Who("process", name.encode())))
        end = ends.setdefault(name, {"first_write": 0, "first_sync": 0})
        if what == "write":
            row.bytes_written += size
            row.bytes_unsynced += size
            row.rewrites += last_write == offset + 1
            if not last_write:
                end["first_write"] = offset + 1
            last_write = offset + 1
        else:
            covered = sum(each.bytes_unsynced for each in rows.values())
            if not synced_before:
                end["first_sync"] = covered + 1
            synced_before = True
            row.bytes_between_syncs[bucket(covered)] = row.bytes_between_syncs.get(bucket(covered), 0) + 1
            for each in rows.values():
                each.bytes_synced += each.bytes_unsynced
                each.bytes_unsynced = 0
    return [(row, {**ends[name], "last_write": last_write}) for name, row in rows.items()]


def stored(path: Path, parts: List[Tuple[FileStats, Edges]]) -> List[FileStats]:
    with Writer(Target(path, force=True)) as writer:
        for file, edges in parts:
            writer.add(as_part(file, edges))
        assert writer.finish(Header()) == len({file.path for file, _ in parts})
    with reader.open(path) as profile:
        return sorted(profile.files(), key=lambda file: str(file.who))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(events, min_size=1, max_size=4), st.randoms())
def test_wherever_a_history_is_cut_its_rows_are_the_whole(
    tmp_path: Path, pieces: List[List[Event]], chance: Any
) -> None:
    parts = [
        (row, Edges(order, 5, **ends, row=number))
        for order, piece in enumerate(pieces)
        for number, (row, ends) in enumerate(history(piece), 1)
    ]
    chance.shuffle(parts)  # they need not arrive in their order
    whole = sorted(
        (row for row, _ in history([event for piece in pieces for event in piece])), key=lambda f: str(f.who)
    )
    assert stored(tmp_path / "p", parts) == whole


def test_tables_show_a_file_once(tmp_path: Path) -> None:
    rows = [row for row, _ in history([("a", "write", 0, 7), ("b", "write", 0, 5), ("b", "sync", 0, 0)])]
    stored(tmp_path / "p", [(row, Edges(1)) for row in rows])
    with reader.open(tmp_path / "p") as profile:
        (row,) = profile.rows()
        assert (row.path, row.sums.bytes_written) == (b"/a", 12)
        assert profile.totals().files == 1
        found = {who: (files, sums.bytes_written) for who, files, sums in profile.whose("process")}
        assert found == {Who("process", b"a"): (1, 7), Who("process", b"b"): (1, 5)}
        assert [*profile.whose("user")] == []


@pytest.mark.parametrize(
    "text", ["{}", "[]", "7", '{"process": 7}', '{"user": "x"}', '{"user": -1}', '{"size": "x"}', '{"user": 1, "a": 2}']
)
def test_what_is_nobody_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        WHO.load(text)
