"""The names of files, as the programs' events tell them."""

from __future__ import annotations

from iotrace.tracing.names import Name, Names
from programs.facts.records import (
    EVENT_BORN,
    EVENT_NAMED,
    EVENT_RENAMED,
    EVENT_TRUNCATED,
    EVENT_UNREACHABLE,
    FileKey,
    PathEvent,
)

FIELDS = {"dentry": 0xFFFF888000001000, "chain": 7, "inode": 131, "device": 0xFE00000, "mnt_ns": 4026531841}
KEY = FileKey.pack(**FIELDS, generation=5)


def event(kind: int, number: int, path: bytes, fstype: bytes = b"ext4") -> bytes:
    """A PathEvent as the programs send it: the names from the last to the first, each with its NUL."""
    walked = b"".join(name + b"\0" for name in reversed(path.split(b"/")[1:])) if path != b"/" else b""
    head = PathEvent.pack(
        kind=kind,
        length=len(walked),
        id=number,
        key={**FIELDS, "generation": 5},
        mount=0x1000,
        inode=0x2000,
        fstype=fstype.ljust(16, b"\0"),
    )
    return head + walked


def test_a_name_is_kept_with_what_the_kernel_knows_the_file_by() -> None:
    names = Names()
    names.take(event(EVENT_NAMED, 1, b"/a/b"))
    assert names.first == {1: Name(b"/a/b", "ext4", KEY, 0x1000, 0x2000)}
    assert len(names) == 1 and not names.renamed


def test_bytes_behind_the_path_do_not_count() -> None:
    names = Names()
    names.take(event(EVENT_NAMED, 1, b"/a/b") + b"garbage\0/x\0")
    assert names.first[1].path == b"/a/b"


def test_types_of_file_systems() -> None:
    names = Names()
    names.take(event(EVENT_NAMED, 1, b"/a", fstype=b"fuse.0123456789a"))
    names.take(event(EVENT_NAMED, 2, b"/b", fstype=b"\xff"))
    assert [name.fstype for name in names.first.values()] == ["fuse.0123456789a", "\ufffd"]


def test_the_first_path_stays_and_the_last_new_one_counts() -> None:
    names = Names()
    for kind, path in ((EVENT_NAMED, b"/a"), (EVENT_RENAMED, b"/b"), (EVENT_RENAMED, b"/c"), (EVENT_NAMED, b"/d")):
        names.take(event(kind, 1, path))
    assert names.first[1].path == b"/a" and names.renamed == {1: b"/c"}


def test_what_is_said_of_the_file_besides() -> None:
    names = Names()
    names.take(event(EVENT_NAMED | EVENT_BORN, 1, b"/new"))
    names.take(event(EVENT_NAMED | EVENT_UNREACHABLE, 2, b"/nowhere"))
    names.take(event(EVENT_NAMED | EVENT_TRUNCATED, 3, b"/deep/down"))
    assert [(name.born, name.unreachable) for name in names.first.values()] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert names.first[3].path == b"/.../deep/down" and names.truncated == 1


def test_a_new_path_that_leads_nowhere_is_none() -> None:
    names = Names()
    names.take(event(EVENT_NAMED, 1, b"/a"))
    names.take(event(EVENT_RENAMED | EVENT_UNREACHABLE, 1, b"/b"))
    assert not names.renamed


def test_a_new_path_of_a_file_that_is_unknown() -> None:
    """Its first path may have been lost: it is told again with the file's next call."""
    names = Names()
    names.take(event(EVENT_RENAMED, 1, b"/b"))
    assert not names.first and not names.renamed


def test_a_forgotten_file_takes_no_memory() -> None:
    names = Names()
    for number in range(100):
        names.take(event(EVENT_NAMED, number, b"/%d" % number))
        names.take(event(EVENT_RENAMED, number, b"/new"))
        names.forget(number)
    assert len(names) == 0 and not names.renamed
