"""What a job file cannot say of what was traced: nothing is dropped in silence."""

from __future__ import annotations

from typing import Callable, Iterator, List, Sequence, Tuple

from iotrace import text
from iotrace.fio.engines import engine_of
from iotrace.fio.groups import Groups
from iotrace.fio.model import Load
from iotrace.profile.activity import Activity
from iotrace.profile.metrics import Header
from programs.facts.catalogue import BY_NAME

_ALWAYS = (
    "in which order, and when, the sections and the calls within them came: sections run side by side",
    "calls that move no data (open, close, stat, rename, unlink, truncate, fallocate): fio opens a file once, or a few "
    "times",
)


_OF_LOGS = (
    "how reads, writes, runs and syncs of a file lie to each other: the log is drawn",
    "calls that move no data, but for opens and closes of files that were only read, or only written",
    "that several threads used a file: a log is replayed by one",
)


def of_job(header: Header, groups: Groups) -> List[str]:
    """Sentences about a whole profile."""
    found = [*_counted(groups.loads), *_instead_of(groups.loads), *_ALWAYS]
    for count, what, about in (
        (sum(load.activity.rewrites for load in groups.loads), "rewrite", "writes at the offset of the one before"),
        (sum(load.empty_syncs for load in groups.loads), "sync", "of a file to which nothing had been written"),
    ):
        if count:
            found.append(f"{text.counted(count, what)}, {about}: fio makes none on purpose (--iolog has them)")
    if not any(load.active for load in groups.loads):
        found.append(
            "at what pace: the profile is not in time (iotrace run --interval auto); fio goes as fast as it can"
        )
    return found + _missing(header, groups)


def of_log(header: Header, groups: Groups) -> List[str]:
    """The same, where the job replays logs."""
    found = [*_counted(groups.loads), *_instead_of(groups.loads), *_OF_LOGS]
    ranges = sum(count for load in groups.loads for name, count in load.syncs.items() if not BY_NAME[name].covers)
    if ranges:
        found.append(f"{text.counted(ranges, 'call')} of sync_file_range: logs have no word for it")
    return found + _missing(header, groups)


def _missing(header: Header, groups: Groups) -> List[str]:
    found = []
    left = groups.left_out
    if left.files:
        found.append(
            f"{text.counted(left.files, 'file')} with {text.counted(left.calls, 'call')} that moved "
            f"{text.size(left.bytes)}: beyond the files that matter most (--path, --exclude and --group choose others)"
        )
    lost = {name: count for name, count in header.lost.items() if count}
    if lost:
        found.append(
            "what the trace lost: " + ", ".join(f"{name} {count:,}" for name, count in sorted(lost.items())[:5])
        )
    if header.filters.get("by"):
        found.append(
            "files that several did I/O on as one: of a profile --by something, each of these has files of its own"
        )
    return found


def _counted(loads: Sequence[Load]) -> Iterator[str]:
    def total(of: Callable[[Activity], int]) -> int:
        return sum(of(load.activity) for load in loads)

    said: List[Tuple[int, str, str]] = [
        (
            total(lambda found: found.read.zero),
            "read",
            " at the end of a file, which returned nothing: fio does not read there",
        ),
        (total(lambda found: found.written.zero), "write", " of nothing"),
        (total(lambda found: found.read.errors + found.written.errors + found.syncs.errors), "call", " that failed"),
        (
            total(lambda found: found.read.short + found.written.short),
            "call",
            " or more that moved less than they were asked for: fio's sizes are what was moved",
        ),
        (total(lambda found: found.mapped), "file", ", mapped: what went through memory is in no profile"),
    ]
    for count, what, about in said:
        if count:
            yield text.counted(count, what) + about


def _instead_of(loads: Sequence[Load]) -> Iterator[str]:
    instead = sum(count for load in loads for _, count in _instead(load))
    if instead:
        names = sorted({name for load in loads for name, _ in _instead(load)})
        yield f"{text.counted(instead, 'call')} of {', '.join(names[:8])}: psync stands for them"


def of_load(load: Load) -> List[str]:
    """Sentences about a load, where it is less uniform than its section."""
    found = []
    if load.direct and load.activity.direct < load.calls:
        found.append(f"{load.activity.direct:,} of {load.calls:,} calls were O_DIRECT: here all are")
    elif load.activity.direct and not load.direct:
        found.append(f"{load.activity.direct:,} of {load.calls:,} calls were O_DIRECT: here none is")
    if load.activity.durable and not load.durable:
        found.append(
            f"{load.activity.durable:,} of {load.write.calls:,} writes were durable when they returned: here none is"
        )
    if load.incarnations > load.files:
        found.append(
            f"{load.incarnations:,} files, some one after the other under the same path: here each path is one"
        )
    kinds = {name for name in load.syncs if BY_NAME[name].covers}
    if len(kinds) > 1:
        found.append("the syncs are of several kinds; here the commonest stands for all")
    if load.syncs and engine_of(load.write.commonest).name == "io_uring" and load.activity.queue_depth > 1:
        found.append("fio before 3.38 repeats a sync of io_uring for as long as it is under way")
    for direction in (load.read, load.write):
        if len({engine_of(name) for name in direction.by_call}) > 1:
            found.append("several system calls; here the commonest stands for all")
            break
    return found


def _instead(load: Load) -> List[Tuple[str, int]]:
    by_call = [*load.read.by_call.items(), *load.write.by_call.items()]
    return [(name, count) for name, count in by_call if engine_of(name).stands_for]
