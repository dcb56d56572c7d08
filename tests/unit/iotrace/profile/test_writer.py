"""Files that come in parts: wherever a history is cut, its parts must add up to the whole."""

import os
import sqlite3
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iotrace.errors import Failure
from iotrace.profile import reader as profile
from iotrace.profile.model import FileStats, Header, SyscallStats, bucket
from iotrace.profile.parts import Edges
from iotrace.profile.writer import Writer, as_part

Event = Tuple[str, int, int]
"""("write", offset, bytes), or ("sync", 0, 0)."""

events = st.lists(
    st.tuples(st.just("write"), st.sampled_from((0, 1, 4096)), st.integers(1, 9)) | st.just(("sync", 0, 0)), max_size=12
)


def history(happened: List[Event]) -> Tuple[FileStats, Dict[str, int]]:
    """What the definitions of the metrics make of a history, and what is at its ends."""
    file, ends = FileStats(1, b"/a", inode=7), {"first_write": 0, "last_write": 0, "first_sync": 0}
    for what, offset, size in happened:
        call = file.syscalls.setdefault("pwrite64" if what == "write" else "fsync", SyscallStats())
        call.calls += 1
        if what == "write":
            call.bytes += size
            file.bytes_written += size
            file.bytes_unsynced += size
            file.rewrites += ends["last_write"] == offset + 1
            ends["last_write"] = offset + 1
            ends["first_write"] = ends["first_write"] or offset + 1
        else:
            covered = file.bytes_unsynced
            ends["first_sync"] = ends["first_sync"] or covered + 1
            lower = bucket(covered)
            file.bytes_between_syncs[lower] = file.bytes_between_syncs.get(lower, 0) + 1
            file.bytes_synced += covered
            file.bytes_unsynced = 0
    return file, ends


def stored(path: Path, *parts: Tuple[FileStats, Edges]) -> List[FileStats]:
    with Writer(path) as writer:
        for file, edges in parts:
            writer.add(as_part(file, edges))
        assert writer.finish(Header()) == len({(file.mnt_ns, file.path) for file, _ in parts})
    with profile.open(path) as reader:
        return list(reader.files())


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(events, min_size=1, max_size=4), st.randoms())
def test_wherever_a_history_is_cut_its_parts_are_the_whole(
    tmp_path: Path, pieces: List[List[Event]], chance: Any
) -> None:
    parts = [(file, Edges(order, 5, **ends)) for order, (file, ends) in enumerate(map(history, pieces))]
    chance.shuffle(parts)  # they need not arrive in their order
    whole, _ = history([event for piece in pieces for event in piece])
    assert stored(tmp_path / "p", *parts) == [whole]


def test_what_another_inode_had_unsynced_stays_so(tmp_path: Path) -> None:
    """The path was deleted and made again: the bytes of the first inode are never synced."""
    first, ends = history([("write", 0, 100)])
    second, more = history([("write", 0, 1), ("sync", 0, 0)])
    second.inode = 8
    (file,) = stored(tmp_path / "p", (first, Edges(1, 5, **ends)), (second, Edges(2, 5, **more)))
    assert (file.rewrites, file.bytes_unsynced, file.bytes_synced) == (0, 100, 1)
    assert (file.bytes_between_syncs, file.inode, file.incarnations) == ({1: 1}, 8, 2)


@pytest.mark.parametrize(("generation", "inodes"), [(5, 1), (6, 2)])
def test_an_inode_number_that_is_used_again_is_another_inode(tmp_path: Path, generation: int, inodes: int) -> None:
    parts = [(history([])[0], Edges(1, 5)), (history([])[0], Edges(2, generation))]
    assert [file.incarnations for file in stored(tmp_path / "p", *parts)] == [inodes]


def test_the_last_part_says_what_the_file_is(tmp_path: Path) -> None:
    def part(order: int, renamed_to: Optional[bytes], deleted: bool) -> Tuple[FileStats, Edges]:
        return FileStats(1, b"/a", renamed_to, inode=order, deleted=deleted, mapped=order == 1), Edges(order)

    (file,) = stored(tmp_path / "p", part(2, b"/c", False), part(1, b"/b", True), part(3, None, False))
    assert (file.renamed_to, file.deleted, file.inode, file.mapped, file.incarnations) == (None, False, 3, True, 3)


def test_parts_of_many_files(tmp_path: Path) -> None:
    """More of them than are written at once, a third of them in two parts, in two mount namespaces."""
    made = [
        (FileStats(ns, b"/%d" % number, opens=1), Edges(order))
        for order, (ns, number) in enumerate((1 + n % 2, n % 1500) for n in range(2250))
    ]
    files = stored(tmp_path / "p", *made)
    assert {(file.mnt_ns, file.path): file.opens for file in files} == {
        (1 + number % 2, b"/%d" % number): 2 if number < 750 else 1 for number in range(1500)
    }


def test_nothing_is_on_disk_before_the_first_part_nor_after_giving_up(tmp_path: Path) -> None:
    with Writer(tmp_path / "p") as writer:
        assert os.listdir(tmp_path) == []
        for number in range(1000):
            writer.add_file(FileStats(1, b"/%d" % number))
        assert os.listdir(tmp_path) != []
    assert os.listdir(tmp_path) == []


def test_a_directory_that_is_gone_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="not written"), Writer(tmp_path / "gone" / "p") as writer:
        writer.finish(Header())


def test_files_are_found_by_name_without_reading_them_all(tmp_path: Path) -> None:
    stored(tmp_path / "p", *((FileStats(1, b"/%d" % n), Edges(n)) for n in range(3)))
    database = sqlite3.connect(str(tmp_path / "p"))
    for column in ("path", "renamed_to"):
        plan = database.execute(f"EXPLAIN QUERY PLAN SELECT * FROM file WHERE {column} = x'2f31'").fetchall()
        assert [row[3].split()[0] for row in plan] == ["SEARCH"]
