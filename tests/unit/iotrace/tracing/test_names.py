"""Names: the kernel's events as paths, and what renames and unlinks make of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iotrace.profile import reader
from iotrace.profile.metrics import FileStats, Header
from iotrace.profile.parts import Edges, Part, as_part
from iotrace.profile.writer import Writer
from iotrace.tracing.names import Names
from programs.facts.records import (
    EVENT_EXCHANGED,
    EVENT_NAMED,
    EVENT_NEW_NAME,
    EVENT_OLD_NAME,
    EVENT_RENAMED,
    EVENT_TRUNCATED,
    EVENT_UNLINKED,
    PathEvent,
)

NS, OTHER_NS = 1, 2  # of no running process, so that no path is looked up on this machine


def event(kind: int, file_id: int, path: bytes, *, tid: int = 7, mnt_ns: int = NS, fstype: bytes = b"ext4") -> bytes:
    """An event as the walk leaves it: the names from the last to the first, each with its NUL."""
    walked = b"".join(name + b"\0" for name in reversed(path.split(b"/")[1:]))
    key = {"mnt_ns": mnt_ns, "device": tid}
    return PathEvent.pack(kind=kind, length=len(walked), id=file_id, key=key, fstype=fstype) + walked


def named(*paths: bytes) -> Names:
    """Files 1, 2, ... with these paths."""
    names = Names()
    for number, path in enumerate(paths, 1):
        names.take(event(EVENT_NAMED, number, path))
    return names


def rename(names: Names, old: bytes, new: bytes, *, at: int = 1000, tid: int = 7, mnt_ns: int = NS) -> None:
    names.take(event(EVENT_OLD_NAME, at, old, tid=tid, mnt_ns=mnt_ns))
    names.take(event(EVENT_NEW_NAME, at, new, tid=tid, mnt_ns=mnt_ns))


COMPONENTS = st.binary(min_size=1, max_size=255).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)


@given(st.lists(COMPONENTS, min_size=1, max_size=16))
def test_a_path_arrives_as_it_is(components: List[bytes]) -> None:
    path = b"/" + b"/".join(components)
    names = named(path)
    (name,) = names.first.values()
    assert (name.path, name.fstype) == (path, "ext4") and len(names) == 1
    assert (names.renamed, names.deleted, names.truncated) == ({}, set(), 0)


def test_bytes_after_the_path_are_no_part_of_it() -> None:
    """A perf buffer rounds records up, with whatever lies behind."""
    names = Names()
    names.take(event(EVENT_NAMED, 1, b"/a/b") + b"garbage\0/x\0")
    assert names.first[1].path == b"/a/b"


def test_file_systems_have_names_of_any_length() -> None:
    names = Names()
    names.take(event(EVENT_NAMED, 1, b"/a", fstype=b"fuse.0123456789a"))
    names.take(event(EVENT_NAMED, 2, b"/b", fstype=b"\xff"))
    assert [names.first[number].fstype for number in (1, 2)] == ["fuse.0123456789a", "�"]


def test_the_first_name_stays() -> None:
    names = named(b"/a")
    names.take(event(EVENT_NAMED, 1, b"/a"))
    names.take(event(EVENT_RENAMED, 1, b"/b"))
    names.take(event(EVENT_RENAMED, 1, b"/c"))
    assert names.first[1].path == b"/a" and names.renamed == {1: b"/c"}
    names.take(event(EVENT_RENAMED, 1, b"/a"))
    assert names.renamed == {}


def test_a_path_that_was_cut_says_so() -> None:
    names = Names()
    names.take(event(EVENT_NAMED | EVENT_TRUNCATED, 1, b"/deep/down"))
    assert names.first[1].path == b"/.../deep/down" and names.truncated == 1


@pytest.mark.parametrize(
    ("steps", "renamed", "deleted"),
    [
        ([(b"/a", b"/b")], {1: b"/b"}, set()),
        ([(b"/a", b"/b"), (b"/b", b"/c")], {1: b"/c"}, set()),
        ([(b"/a", b"/b"), (b"/b", b"/a")], {}, set()),
        ([(b"/a", b"/a")], {}, set()),
        ([(b"/a", b"/d/two")], {1: b"/d/two"}, {2}),  # over a file, which is gone
        ([(b"/unknown", b"/d/two")], {}, {2}),  # even by a file that nobody has seen
        ([(b"/unknown", b"/elsewhere")], {}, set()),
        ([(b"/d", b"/e")], {2: b"/e/two", 3: b"/e/f/three"}, set()),
        ([(b"/d/f", b"/g")], {3: b"/g/three"}, set()),
        ([(b"/d", b"/e"), (b"/e/f", b"/d")], {2: b"/e/two", 3: b"/d/three"}, set()),
        ([(b"/d", b"/e"), (b"/e", b"/d")], {}, set()),
        ([(b"/d/f", b"/e"), (b"/a", b"/e/three")], {1: b"/e/three", 3: b"/e/three"}, {3}),
        ([(b"/a", b"/b"), (b"/b", None)], {1: b"/b"}, {1}),
        ([(b"/a", None), (b"/a", b"/b")], {}, {1}),  # a later file of that name
        ([(b"/d", None)], {}, set()),
        ([(b"/dd", b"/e")], {}, set()),  # a name that merely begins like a directory's
    ],
)
def test_chains(steps: List[List[Optional[bytes]]], renamed: Dict[int, bytes], deleted: object) -> None:
    names = named(b"/a", b"/d/two", b"/d/f/three")
    for number, (old, new) in enumerate(steps):
        assert old is not None
        if new is None:
            names.take(event(EVENT_UNLINKED, number, old))
        else:
            rename(names, old, new, at=number)
    assert (names.renamed, names.deleted) == (renamed, deleted)


def test_a_path_that_is_made_again_belongs_to_the_new_file() -> None:
    names = named(b"/a")
    names.take(event(EVENT_UNLINKED, 500, b"/a"))
    names.take(event(EVENT_NAMED, 2, b"/a"))
    rename(names, b"/a", b"/b")
    assert (names.renamed, names.deleted) == ({2: b"/b"}, {1})


def test_threads_that_rename_at_the_same_instant() -> None:
    names = named(b"/a", b"/b")
    names.take(event(EVENT_OLD_NAME, 99, b"/a", tid=1))
    names.take(event(EVENT_OLD_NAME, 99, b"/b", tid=2))
    names.take(event(EVENT_NEW_NAME, 99, b"/of a", tid=1))
    names.take(event(EVENT_NEW_NAME, 99, b"/of b", tid=2))
    assert names.renamed == {1: b"/of a", 2: b"/of b"}


def test_half_a_rename_is_none() -> None:
    names = named(b"/a")
    names.take(event(EVENT_NEW_NAME, 98, b"/b"))
    names.take(event(EVENT_OLD_NAME, 99, b"/a"))
    assert (names.renamed, names.deleted) == ({}, set())


def test_namespaces_are_apart() -> None:
    names = named(b"/a")
    rename(names, b"/a", b"/b", mnt_ns=OTHER_NS)
    names.take(event(EVENT_UNLINKED, 500, b"/a", mnt_ns=OTHER_NS))
    assert (names.renamed, names.deleted) == ({}, set())


@pytest.mark.parametrize(
    "given_as",
    ["{real}/data", "{link}/data", "{real}/../real/./data", "{link}/../real/data", "{real}//data", "{real}/data/"],
)
def test_callers_name_files_as_they_like(given_as: str, tmp_path: Path) -> None:
    """In this mount namespace, symbolic links and ".." lead where they lead for the caller."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    here = os.stat("/proc/self/ns/mnt").st_ino
    names = Names()
    names.take(event(EVENT_NAMED, 1, os.fsencode(real / "data"), mnt_ns=here))
    rename(names, os.fsencode(given_as.format(real=real, link=link)), os.fsencode(link / "new"), mnt_ns=here)
    assert names.renamed == {1: os.fsencode(real / "new")}


def test_the_last_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "data")
    here = os.stat("/proc/self/ns/mnt").st_ino
    names = Names()
    names.take(event(EVENT_NAMED, 1, os.fsencode(tmp_path / "data"), mnt_ns=here))
    names.take(event(EVENT_UNLINKED, 500, os.fsencode(tmp_path / "link"), mnt_ns=here))
    assert names.deleted == set()


def test_an_exchange_gives_each_the_name_of_the_other() -> None:
    """renameat2 with RENAME_EXCHANGE, of two files and of a directory with a file."""
    names = named(b"/a", b"/b", b"/d/x")
    for old, new in ((b"/a", b"/b"), (b"/d", b"/a")):
        names.take(event(EVENT_OLD_NAME, 1000, old))
        names.take(event(EVENT_EXCHANGED, 1000, new))
    assert (names.renamed, names.deleted) == ({1: b"/b", 2: b"/d", 3: b"/a/x"}, set())


HAPPENINGS = st.lists(
    st.tuples(st.just("name"), st.sampled_from((b"/a", b"/b", b"/d/x", b"/d/y", b"/e/x")), st.just(b""))
    | st.tuples(st.just("unlink"), st.sampled_from((b"/a", b"/b", b"/d/x", b"/e/x")), st.just(b""))
    | st.tuples(st.just("rename"), st.sampled_from((b"/a", b"/b", b"/d/x")), st.sampled_from((b"/a", b"/b", b"/d/y")))
    | st.tuples(st.just("rename"), st.sampled_from((b"/d", b"/e")), st.sampled_from((b"/d", b"/e")))
    | st.tuples(st.just("forget"), st.integers(0, 9).map(lambda n: b"%d" % n), st.just(b"")),
    max_size=14,
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(HAPPENINGS)
def test_what_is_forgotten_comes_to_the_same(tmp_path: Path, happenings: List[Tuple[str, bytes, bytes]]) -> None:
    """Files whose names are forgotten at any time, with the changes told to the profile, and files that are not."""
    kept, forgetful = Names(), Names()

    def part(names: Names, file_id: int) -> Part:
        renamed, deleted = names.renamed.get(file_id), file_id in names.deleted
        path = names.first[file_id].path
        names.forget(file_id)
        file = FileStats(NS, path, renamed, inode=file_id, deleted=deleted, opens=1)
        return as_part(file, Edges(file_id, changes=names.changed))

    with Writer(tmp_path / "p") as writer:
        for file_id, (what, one, other) in enumerate(happenings, 1):
            if one in (b"/d", b"/e") and any(path.startswith(other + b"/") for path in kept._at(NS)):
                continue  # ENOTEMPTY
            for names in (kept, forgetful):
                if what == "name":
                    key = {"mnt_ns": NS, "inode": file_id}
                    walked = b"".join(name + b"\0" for name in reversed(one.split(b"/")[1:]))
                    record = PathEvent.pack(kind=EVENT_NAMED, length=len(walked), id=file_id, key=key, fstype=b"ext4")
                    names.take(record + walked)
                elif what == "unlink":
                    names.take(event(EVENT_UNLINKED, 1000, one))
                elif what == "rename":
                    rename(names, one, other)
            if what == "forget" and forgetful.first:
                known = list(forgetful.first)
                writer.add(part(forgetful, known[int(one) % len(known)]))
            writer.change(forgetful.changes)
            forgetful.changes = []
        for file_id in list(forgetful.first):
            writer.add(part(forgetful, file_id))
        writer.finish(Header())
    with reader.open(tmp_path / "p") as profile:
        found = {file.path: (file.renamed_to, file.deleted, file.opens) for file in profile.files()}
    last = {name.path: file_id for file_id, name in kept.first.items()}
    assert found == {
        path: (
            kept.renamed.get(file_id),
            file_id in kept.deleted,
            sum(name.path == path for name in kept.first.values()),
        )
        for path, file_id in last.items()
    }


@pytest.mark.parametrize("forgotten_first", [True, False])
def test_a_file_that_was_renamed_and_comes_again_is_the_same(tmp_path: Path, forgotten_first: bool) -> None:
    """It is known by its first path; an id of its own must not make another file of it."""
    with Writer(tmp_path / "p") as writer:
        before = FileStats(NS, b"/a", None if forgotten_first else b"/b", inode=9, opens=1)
        writer.add(as_part(before, Edges(1, generation=5)))
        if forgotten_first:
            writer.change([(NS, b"/a", b"/b")])
        so_far = int(forgotten_first)
        writer.add(as_part(FileStats(NS, b"/b", None, inode=9, opens=2), Edges(2, generation=5, changes=so_far)))
        writer.add(as_part(FileStats(NS, b"/b", b"/c", inode=9, opens=4), Edges(3, generation=5, changes=so_far + 1)))
        writer.change([(NS, b"/b", b"/c")])
        writer.finish(Header())
    with reader.open(tmp_path / "p") as profile:
        assert [(file.path, file.renamed_to, file.opens) for file in profile.files()] == [(b"/a", b"/c", 7)]
