"""Buckets and merging."""

from hypothesis import given
from hypothesis import strategies as st

from iotrace.profile.model import FileStats, Profile, SyscallStats, bucket, merge


@given(st.integers(1, (1 << 64) - 1))
def test_a_bucket_is_the_power_of_two_at_or_below(value: int) -> None:
    lower = bucket(value)
    assert bin(lower).count("1") == 1
    assert lower <= value < 2 * lower


def test_zero_has_its_own_bucket() -> None:
    assert bucket(0) == 0


def _file(path: bytes, calls: int, last: int, **known: object) -> FileStats:
    file = FileStats(1, path, opens=calls, last_read_ns=last, **known)  # type: ignore[arg-type]
    sizes = ({16: calls}, {8: calls}, {512: calls})
    file.syscalls["read"] = SyscallStats(calls, 10 * calls, {"EIO": 1}, *sizes, last - 5, last)
    return file


def test_merging_adds_counts_and_widens_times_and_extents() -> None:
    early = _file(
        b"/a", 2, 100, first_read_ns=90, lowest_offset=5, highest_offset=9, inode=7, incarnations=3, mapped=True
    )
    late = _file(b"/a", 3, 200, lowest_offset=0, inode=8, incarnations=1, deleted=True, sequential_read={64: 1})
    for a, b in ((early, late), (late, early)):
        (merged,) = merge(Profile(files=[a]), Profile(files=[b])).files
        assert (merged.opens, merged.first_read_ns, merged.last_read_ns) == (5, 90, 200)
        assert (merged.lowest_offset, merged.highest_offset) == (0, 9)
        assert (merged.inode, merged.deleted, merged.mapped, merged.incarnations) == (8, True, True, 3)
        assert merged.sequential_read == {64: 1}
        assert merged.syscalls["read"] == SyscallStats(5, 50, {"EIO": 2}, {16: 5}, {8: 5}, {512: 5}, 95, 200)


def test_files_are_the_same_by_namespace_and_path() -> None:
    other = FileStats(2, b"/a")
    files = merge(Profile(files=[_file(b"/a", 1, 9)]), Profile(files=[other, _file(b"/b", 1, 9)])).files
    assert [(file.mnt_ns, file.path) for file in files] == [(1, b"/a"), (2, b"/a"), (1, b"/b")]


def test_headers_add_losses_and_name_what_differs() -> None:
    a = Profile(
        host="one",
        started_ns=5,
        ended_ns=9,
        command=[b"x"],
        lost={"events": 1, "files": 0, "calls": 2},
        coverage={"aio": "full", "io_uring": "none"},
        unattributed={"read": {"EBADF": 3}},
    )
    b = Profile(
        host="two",
        started_ns=7,
        ended_ns=20,
        command=[b"y"],
        lost={"events": 4, "files": 1, "calls": 0},
        coverage={"aio": "full", "io_uring": "full"},
        unattributed={"read": {"EBADF": 4, "EIO": 1}},
    )
    both = merge(a, b)
    assert (both.host, both.started_ns, both.ended_ns, both.command) == ("one / two", 5, 20, [])
    assert both.lost == {"events": 5, "files": 1, "calls": 2}
    assert both.coverage == {"aio": "full", "io_uring": "none / full"}
    assert both.unattributed == {"read": {"EBADF": 7, "EIO": 1}}
    assert merge(both, b).host == "one / two"
