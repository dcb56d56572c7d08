"""Groups, their sums and their order, without a profile or a terminal."""

from __future__ import annotations

from typing import Dict

import pytest

from iotrace.profile import reader
from iotrace.profile.rows import FileRow, Marks, Sums
from iotrace.views import summary
from iotrace.views.summary import Group


def row(path: bytes, mnt_ns: int = 1, device: str = "8:1", **sums: int) -> FileRow:
    return FileRow(path, mnt_ns, device, "ext4", Marks(), Sums(**sums))


ROWS = [
    row(b"/srv/a/x.log", bytes_read=1, calls=10),
    row(b"/srv/a/y.log", bytes_read=2, calls=20, busy_ns=5),
    row(b"/srv/b/z.db", mnt_ns=2, bytes_written=4, errors=1),
    row(b"/top", device="8:2", syncs=3),
]


def test_a_group_has_the_sums_of_its_files() -> None:
    assert list(summary.by_extension(ROWS)) == [
        Group(b".log", 2, Sums(bytes_read=3, calls=30, busy_ns=5)),
        Group(b".db", 1, Sums(bytes_written=4, errors=1)),
        Group(b"(none)", 1, Sums(syncs=3)),
    ]


@pytest.mark.parametrize(
    ("depth", "groups"),
    [
        (0, {b"/srv/a": 2, b"/srv/b": 1, b"/": 1}),
        (1, {b"/srv": 3, b"/": 1}),
        (9, {b"/srv/a": 2, b"/srv/b": 1, b"/": 1}),
    ],
)
def test_directories_as_deep_as_is_asked_for(depth: int, groups: Dict[bytes, int]) -> None:
    assert {group.key: group.files for group in summary.by_directory(ROWS, depth)} == groups


def test_a_mount_is_called_by_what_its_files_share() -> None:
    assert [(*group.key, group.files) for group in summary.by_mount(ROWS)] == [
        (1, "ext4", "8:1", b"/srv/a", 2),
        (2, "ext4", "8:1", b"/srv/b", 1),
        (1, "ext4", "8:2", b"/", 1),
    ]


def test_a_file_is_a_group_of_its_own() -> None:
    files = list(summary.by_file([ROWS[0]._replace(marks=Marks(mapped=1))]))
    assert [(file.key, file.files, file.sums, file.marks) for file in files] == [
        ((b"/srv/a/x.log", 1, ""), 1, ROWS[0].sums, Marks(0, 1, 0))
    ]


@pytest.mark.parametrize("sort", reader.SORTS)
@pytest.mark.parametrize("limit", [0, 2])
def test_groups_are_in_order_and_ties_in_that_of_their_keys(sort: str, limit: int) -> None:
    names = {
        "bytes": [b".db", b".log", b"(none)"],
        "read": [b".log", b"(none)", b".db"],
        "written": [b".db", b"(none)", b".log"],
        "calls": [b".log", b"(none)", b".db"],
        "errors": [b".db", b"(none)", b".log"],
        "syncs": [b"(none)", b".db", b".log"],
        "latency": [b".log", b"(none)", b".db"],
        "path": [b"(none)", b".db", b".log"],
    }[sort]
    found = summary.in_order(summary.by_extension(ROWS), sort, limit)
    assert [group.key for group in found] == names[: limit or 3]


def test_what_passes_is_added_up() -> None:
    whole = summary.Whole()
    assert summary.in_order(whole.watching(summary.by_extension(ROWS)), "bytes", 1)[0].key == b".db"
    assert (whole.groups, whole.files, whole.sums) == (3, 4, Sums(3, 4, 30, 1, 3, 5))


def test_a_group_stands_out_by_what_is_far_from_the_median_of_all() -> None:
    groups = [Group(name, 1, Sums(100, written, 50, errors=written)) for name, written in zip("abcd", (10, 20, 21, 41))]
    assert summary.unlike_the_others(groups[:3]) == []
    found = summary.unlike_the_others(groups)
    assert [(each.key, each.column, each.value, each.usual) for each in found] == [
        ("d", "written", 41, 20),
        ("d", "errors", 41, 20),
    ]
    assert summary.unlike_the_others(groups[2:]) == [], "of two hosts neither is the one that differs"


def test_what_hardly_matters_makes_no_group_stand_out() -> None:
    groups = [Group(str(number), 1, Sums(errors=1)) for number in range(60)]
    assert summary.unlike_the_others([*groups, Group("a", 1, Sums(errors=3))]) == []
