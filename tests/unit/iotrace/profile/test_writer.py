"""Writing a profile, whole or not at all; and files that come in parts, which must add up to the whole."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iotrace.errors import Failure, UserError
from iotrace.profile import reader
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.parts import Edges, as_part
from iotrace.profile.target import Target
from iotrace.profile.values import bucket
from iotrace.profile.writer import Writer, write
from tests.unit.iotrace.profile.samples import room_for, sample

Event = Tuple[str, int, int]
"""("write", offset, bytes), or ("sync", 0, 0)."""

events = st.lists(
    st.tuples(st.just("write"), st.sampled_from((0, 1, 4096)), st.integers(1, 9)) | st.just(("sync", 0, 0)), max_size=12
)


def history(happened: List[Event]) -> Tuple[FileStats, Dict[str, Any]]:
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
    with Writer(Target(path, force=True)) as writer:
        for file, edges in parts:
            writer.add(as_part(file, edges))
        assert writer.finish(Header()) == len({(file.mnt_ns, file.path) for file, _ in parts})
    with reader.open(path) as profile:
        return list(profile.files())


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


@pytest.mark.parametrize(
    ("ends", "ended_as"),
    [
        ([(1, b"/b"), (2, b"/b"), (3, b"/b")], b"/b"),
        ([(1, b"/b"), (2, b"/c")], None),
        ([(1, b"/b"), (2, None)], None),
        ([(1, None), (1, b"/b")], b"/b"),  # a part that left the tables before the file was renamed
        ([(1, b"/b"), (1, None)], None),  # renamed back
    ],
)
def test_where_every_incarnation_has_ended(
    tmp_path: Path, ends: List[Tuple[int, Optional[bytes]]], ended_as: Optional[bytes]
) -> None:
    parts = [(FileStats(1, b"/a", end, end, inode=inode), Edges(order)) for order, (inode, end) in enumerate(ends)]
    (file,) = stored(tmp_path / "p", *parts)
    assert (file.renamed_to, file.ended_as) == (ends[-1][1], ended_as)


@pytest.mark.parametrize("ended_as", [b"/b", None])
def test_where_every_birth_has_ended(tmp_path: Path, ended_as: Optional[bytes]) -> None:
    """The same inode number each time, on a file system without generations."""
    parts = [(FileStats(1, b"/a", end, end, inode=7), Edges(n, born=1)) for n, end in enumerate((b"/b", ended_as))]
    assert [file.ended_as for file in stored(tmp_path / "p", *parts)] == [ended_as]


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


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "run.iotrace"


def test_nothing_has_a_name_before_the_end(tmp_path: Path) -> None:
    """Nor afterwards, if there is no end."""
    with Writer(tmp_path / "p") as writer:
        for number in range(1000):
            writer.add_file(FileStats(1, b"/%d" % number))
        assert os.listdir(tmp_path) == []
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


# --- atomicity -------------------------------------------------------------------------------------------------------


def test_a_failing_producer_leaves_the_old_profile_alone(target: Path) -> None:
    write(target, Header(host="old"), [])

    def failing() -> Iterator[FileStats]:
        yield from sample()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(target, Header(host="new"), failing(), force=True)
    assert os.listdir(target.parent) == [target.name]
    with reader.open(target) as profile:
        assert profile.header.host == "old"


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1, 4096, 8192, 20_000, 200_000])
def test_a_full_disk_leaves_the_old_profile_alone(target: Path, size: int) -> None:
    """Whenever it fills up: when the file is created, while it is being filled, when all that is left is written."""
    write(target, Header(host="old"), [])
    before = target.read_bytes()
    with room_for(size), pytest.raises(Failure) as caught:
        write(target, Header(host="new"), sample(20_000), force=True)
    assert str(target) in str(caught.value) and "\n" not in str(caught.value)
    assert target.read_bytes() == before
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 4096, 200_000])
def test_what_found_no_room_is_written_when_there_is_some(target: Path, size: int) -> None:
    """Every file is there, and once."""
    with Writer(target) as writer:
        with room_for(size):
            for file in sample(5000):
                writer.add_file(file)
        assert writer.finish(Header()) == 5000
    with reader.open(target) as profile:
        assert [file.inode for file in profile.files()] == list(range(5000))


def test_a_number_that_does_not_fit_is_refused(target: Path) -> None:
    with pytest.raises(UserError):
        write(target, Header(), [FileStats(1, b"/a", opens=1 << 63)])
    assert not target.exists()


def test_only_profiles_are_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_text("precious")
    sqlite3.connect(str(tmp_path / "database")).execute("CREATE TABLE precious (x)").connection.close()
    (tmp_path / "empty").touch()
    for place in (tmp_path, Path("/dev/null"), *tmp_path.iterdir()):
        for force in (False, True):
            with pytest.raises(UserError):
                write(place, Header(), [], force=force)
    assert (tmp_path / "file").read_text() == "precious"
    with pytest.raises(Failure, match="No such file"):
        write(tmp_path / "absent" / "p", Header(), [])


def test_a_profile_is_replaced_only_by_force(target: Path) -> None:
    write(target, Header(host="old"), [])
    os.link(target, target.with_name("other"))
    with pytest.raises(UserError, match="--force"):
        write(target, Header(host="new"), [])
    write(target, Header(host="new"), [], force=True)
    for path, host in ((target, "new"), (target.with_name("other"), "old")):
        with reader.open(path) as profile:
            assert profile.header.host == host
    assert sorted(os.listdir(target.parent)) == ["other", target.name]


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_a_profile_is_for_its_owner(target: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        write(target, Header(), [])
    finally:
        os.umask(old)
    assert target.stat().st_mode & 0o7777 == 0o600


def test_names_that_mean_something_in_a_uri(tmp_path: Path) -> None:
    for name in (b"a?mode=rwc", b"b#c", b"%41", b"\xff\n", b"n" * 255):
        path = os.fsencode(tmp_path) + b"/" + name
        write(path, Header(host="h"), [])
        with reader.open(path) as profile:
            assert profile.header.host == "h"
        os.unlink(path)
