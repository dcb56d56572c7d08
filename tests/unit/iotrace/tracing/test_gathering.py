"""Files of one name on their way to the profile: added up at once, they come to what they come to one by one."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iotrace.profile.merge import add_parts
from iotrace.profile.metrics import FileStats
from iotrace.profile.parts import Part
from iotrace.profile.rows import file_of
from iotrace.tracing.clock import Clock
from iotrace.tracing.gathering import ROOM, Gathering, Records
from iotrace.tracing.names import Fate, Name
from programs.facts.catalogue import BY_NAME
from programs.facts.records import (
    LATENCY_BUCKETS,
    RUN_BUCKETS,
    SIZE_BUCKETS,
    TALLY_BETWEEN_SYNCS,
    TALLY_ERROR,
    FileKey,
    FileState,
    OpStats,
)

CLOCK = Clock()
MANY = (1 << 60) - 1  # so that eight of them are less than 2^63
COUNTS = st.one_of(st.integers(0, 9), st.just(MANY))
STATES = ("present", "deleted", "replaced", None)
OPERATIONS = ("write", "pread64", "fsync")


def records(number: int, path: bytes = b"/name", *, born: bool = True, inode: int = 0, **more: Any) -> Records:
    """The `number`th file that had a path."""
    key = FileKey.pack(dentry=1, chain=2, inode=inode or number, device=1, generation=0, mnt_ns=7)
    state: Dict[str, int] = {"opens": 1, "closes": 1, **more.pop("state", {})}
    fields = {"fate": Fate(), "tallies": [], "runs": [], **more, "operations": dict(more.get("operations", {}))}
    name = Name(path, "ext4", key, born=born)
    return Records(number, name, state=FileState.struct.unpack(FileState.pack(**state)), **fields)


def gathered(files: List[Records], *, apart: bool = False) -> List[Part]:
    kept: List[Part] = []
    gathering = Gathering(CLOCK, lambda names: {*names} != {b"/unwanted"}, kept.append)
    gathering.apart = apart
    for file in files:
        gathering.take([file])
    gathering.flush()
    return kept


def whole(parts: List[Part]) -> FileStats:
    (file,) = add_parts([(file_of(part), part.edges) for part in sorted(parts, key=lambda part: part.edges.order)])
    return file


@st.composite
def a_file(draw: st.DrawFn) -> Dict[str, Any]:
    """Everything that is known of a file; most of them were created under their path."""

    def some(cells: int) -> Tuple[int, ...]:
        histogram = draw(st.dictionaries(st.integers(0, cells - 1), COUNTS, max_size=2))
        return tuple(histogram.get(cell, 0) for cell in range(cells))

    def stats() -> bytes:
        counters = ("calls", "bytes", "lowest", "highest", "direct", "durable", "busy", "unaligned", "unaligned_direct")
        head = {name: draw(COUNTS) for name in counters}
        head.update((name, draw(st.integers(0, 99))) for name in ("first", "last", "slowest"))
        return OpStats.pack(
            head=head,
            requested={"buckets": some(SIZE_BUCKETS)},
            completed={"buckets": some(SIZE_BUCKETS)},
            latency={"buckets": tuple(min(count, (1 << 31) + 9) for count in some(LATENCY_BUCKETS))},
            runs={"buckets": some(RUN_BUCKETS)},
        )

    used = draw(st.sets(st.sampled_from(OPERATIONS)))
    times = ("opening", "slowest_open", "closing", "slowest_close", "seen")
    counts = ("rewrites", "first_write", "last_write", "unsynced", "synced", *times)
    state = {name: draw(st.integers(0, 9)) for name in counts}
    state["flags"] = draw(st.integers(0, 3))
    state["threads"] = draw(st.sampled_from([0, 1 << 40, 3 << 40 | 1, 5 << 40 | 62, 1 << 40 | 70]))
    tally = st.tuples(st.just(BY_NAME["write"].code), st.sampled_from([TALLY_ERROR]), st.sampled_from([5, 28]), COUNTS)
    between = st.tuples(st.just(0), st.just(TALLY_BETWEEN_SYNCS), st.integers(0, 3), COUNTS)
    cells = draw(st.lists(st.one_of(tally, between), max_size=3, unique_by=lambda cell: cell[1:3]))
    return {
        "born": draw(st.integers(0, 4)) > 0,
        "inode": draw(st.integers(1, 3)),
        "fate": Fate(draw(st.sampled_from(STATES)), draw(st.sampled_from([None, b"/other"]))),
        "state": {**state, "operations": sum(1 << BY_NAME[name].code for name in used)},
        "tallies": cells,
        "depth": draw(st.sampled_from([(), (5, 1, 2, 3), (7, 4, 0, 2)])),
        "runs": draw(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9)), max_size=2)),
        "operations": {BY_NAME[name]: stats() for name in sorted(used)},
    }


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(a_file(), min_size=1, max_size=6))
def test_it_makes_no_difference_to_the_sum(drawn: List[Dict[str, Any]]) -> None:
    inodes: List[int] = []
    for each in drawn:  # what was not created is the file that was there last, or one that was never seen
        each["born"] = each["born"] or each["inode"] in inodes[:-1]
        inodes.append(each["inode"])
    files = [[records(number, **each) for number, each in enumerate(drawn, 1)] for _ in range(2)]
    together, one_by_one = gathered(files[0]), gathered(files[1], apart=True)
    assert len(one_by_one) == len(drawn)
    assert whole(together) == whole(one_by_one)


def test_files_that_were_created_are_one_part() -> None:
    (part,) = gathered([records(number) for number in range(1, 5000)])
    assert (file_of(part).opens, file_of(part).incarnations, file_of(part).inode) == (4999, 4999, 4999)


def test_where_all_of_them_have_gone() -> None:
    def ends(*paths: Optional[bytes]) -> Tuple[Optional[bytes], Optional[bytes]]:
        (part,) = gathered([records(number, fate=Fate("deleted", path)) for number, path in enumerate(paths, 1)])
        return file_of(part).ended_as, file_of(part).renamed_to

    assert ends(b"/X", b"/X", b"/X") == (b"/X", b"/X")
    assert ends(b"/X", b"/Y", b"/X") == (None, b"/X")
    assert ends(None, b"/X") == (None, b"/X")
    assert ends(b"/X", b"/X", None) == (None, None)


def test_one_that_left_the_tables_is_followed() -> None:
    """It has kept its name while it was there, and is renamed when it has come back."""
    fates = [Fate("deleted", b"/X"), Fate("deleted", b"/X"), Fate("present"), Fate("deleted", b"/X")]
    files = [records(number, fate=fate, born=number < 4, inode=min(number, 3)) for number, fate in enumerate(fates, 1)]
    found = whole(gathered(files))
    assert (found.incarnations, found.ended_as) == (3, b"/X")


def test_what_was_there_before_is_a_part_of_its_own() -> None:
    """A part's first write may be a rewrite of what was written last: to the same file, which had gone."""
    parts = gathered([records(1, born=False), records(2), records(3), records(4, born=False, inode=3), records(5)])
    assert [(part.edges.order + (1 << 63), file_of(part).incarnations) for part in parts] == [
        (1, 1),
        (3, 2),
        (4, 1),
        (5, 1),
    ]
    assert whole(parts).incarnations == 4


def test_other_paths_in_between_and_too_many_of_them() -> None:
    turns = [records(number, b"/%d" % (number % ROOM)) for number in range(1, 3 * ROOM)]
    assert len(gathered(turns)) == ROOM
    turns = [records(number, b"/%d" % (number % (2 * ROOM))) for number in range(1, 4 * ROOM)]
    assert sum(file_of(part).incarnations for part in gathered(turns)) == 4 * ROOM - 1


def test_each_file_is_wanted_by_its_own_names() -> None:
    fates = [Fate("deleted", path) for path in (b"/wanted", b"/unwanted", None)]
    files = [records(number, b"/unwanted", fate=fate) for number, fate in enumerate(fates, 1)]
    assert [file_of(part).inode for part in gathered(files)] == [1]
