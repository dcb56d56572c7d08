"""From a load to the sections of a job file: each option with its value, and the figure that it was inferred from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import List, NamedTuple, Optional, Tuple

from iotrace import text
from iotrace.fio import names, sizes, splits, syncing
from iotrace.fio.draws import Plan, Split
from iotrace.fio.engines import Engine, engine_of
from iotrace.fio.model import Direction, Load
from iotrace.fio.pattern import Pattern, pattern_of, widened
from iotrace.fio.syncing import Pace
from iotrace.profile.latencies import by_powers

_APART = 0.05  # of all calls: what is rarer than that gets a section of its own, so that its number is right
_BUSY = 0.25  # of the threads in a call at a time, or they take turns
_CACHED = 0.05  # of the bytes read from storage, or the page cache had them
_GROWN = 0.9  # of a file's bytes written: it grew
_MOST_JOBS = 64
_SIZE_LIMIT = 1 << 50  # bytes of a file: more than any file system has
_MOST_IOS = (1 << 63) - 1  # that fio takes for a number
_DEEPEST = 4096
_SHORTEST = 2  # us of think time
_ONE = Split(((4096, 100),))


class Setting(NamedTuple):
    """An option, its value, and where that comes from; nothing for what needs no reason."""

    option: str
    value: str
    why: str = ""


@dataclass
class Section:
    """One section of a job file."""

    label: str  # behind the name of its load; empty if there is one alone
    settings: List[Setting]
    jobs: int = 1
    files: int = 1
    room: int = 0  # bytes of its files
    plan: Optional[Plan] = None  # what fio draws
    expected: Tuple[Direction, Direction] = field(default_factory=lambda: (Direction(), Direction()))


@dataclass
class Part:
    """What one section does of a load."""

    label: str
    reads: Optional[Direction]
    writes: Optional[Direction]
    pace: Optional[Pace] = None

    @property
    def directions(self) -> Tuple[Optional[Direction], Optional[Direction]]:
        return self.reads, self.writes

    @property
    def used(self) -> List[Direction]:
        return [direction for direction in self.directions if direction is not None]

    @property
    def calls(self) -> int:
        return sum(direction.calls for direction in self.used)


class Amount(NamedTuple):
    """How much of it: so many times the calls, or for so many seconds."""

    scale: float = 1.0
    runtime: Optional[float] = None


ALL = Amount()


class _Planned(NamedTuple):
    part: Part
    pattern: Pattern
    splits: Tuple[Split, Split]  # of reads and of writes

    @property
    def used(self) -> List[Split]:
        """Those that are used."""
        return [split for split, direction in zip(self.splits, self.part.directions) if direction is not None]


def sections(load: Load, amount: Amount = ALL) -> List[Section]:
    """The sections that do what a load says, on the same files: one where that is possible."""
    planned = [_planned(load, part) for part in parts(load)]
    room = max((plan.pattern.room for plan in planned), default=0)
    if any(not plan.pattern.sequential for plan in planned):
        planned = [plan._replace(pattern=widened(plan.pattern, room, load, plan.part.used[0])) for plan in planned]
    return [_section(load, plan, amount) for plan in planned]


def parts(load: Load) -> List[Part]:
    """What is done together. fio 3.33 syncs after reads as well in a mixed job, so what is synced is written apart."""
    reads = _in_runs(load.read) if load.read.calls else None
    writes = _in_runs(load.write) if load.write.calls else None
    if reads is not None and writes is not None and _together(load):
        return [Part("", reads, writes)]
    found = [] if reads is None else [Part("-read" if writes else "", reads, None)]
    if writes is None:
        return found
    label = "-write" if reads else ""
    several = syncing.paces(load, writes.calls, divisible=load.files == 1 and writes.runs > 1)
    if len(several) < 2:
        return [*found, Part(label, None, writes, several[0] if several else None)]
    for number, pace in enumerate(several, 1):
        found.append(Part(f"{label}-{number}", None, _share(writes, pace.writes), pace))
    return found


def _in_runs(direction: Direction) -> Direction:
    """With a run for each call, and bytes, where the profile has none: a trace always has."""
    runs = min(direction.runs or direction.calls, direction.calls)
    return replace(direction, runs=runs, bytes=direction.bytes or sizes.total(direction.sizes))


def _share(whole: Direction, calls: int) -> Direction:
    part = calls / whole.calls
    runs, amount = max(round(whole.runs * part), 1), round(whole.bytes * part)
    return Direction(calls, amount, runs, round(whole.jumps * part), whole.sizes, whole.by_call)


def _together(load: Load) -> bool:
    engines = {engine_of(direction.commonest) for direction in (load.read, load.write)}
    if len(engines) > 1 or load.syncs or not _APART <= load.mix <= 1 - _APART:
        return False
    if load.durable and load.read.calls:
        return True
    if load.files == 1 and load.read.runs == load.write.runs == 1:
        return True
    return all(direction.runs >= 0.1 * direction.calls for direction in (load.read, load.write))


def _planned(load: Load, part: Part) -> _Planned:
    reads, writes = (splits.split_of(direction.sizes) if direction else _ONE for direction in part.directions)
    if len(part.used) == 1:
        only = _single(load, part.used[0], reads if part.reads else writes)
        reads = writes = only
    return _Planned(part, pattern_of(load, part.directions, (reads, writes)), (reads, writes))


def _section(load: Load, planned: _Planned, amount: Amount) -> Section:
    part, pattern, both = planned
    engine = engine_of(part.used[0].commonest)
    jobs = _jobs(load, part)
    ios = min(max(round(part.calls * amount.scale / jobs), 1), _MOST_IOS)
    settings = [
        *_engine(load, part, engine),
        *_order(load, part, pattern),
        *_sizes(planned),
        *_amount(part, ios, jobs, amount),
        *_files(load, part, pattern),
        *_syncs(load, part),
        *_concurrency(load, engine, jobs),
        *_pace(load, jobs),
    ]
    reads = splits.simplest(load.mix, load.calls) if len(part.used) == 2 else None
    plan = Plan(ios, reads, both, pattern.percent if not pattern.sequential else (100, 100), part.reads is None)
    room = 0 if grows(load) else pattern.room * load.files
    return Section(
        part.label, settings, jobs, load.files, room, plan, (part.reads or Direction(), part.writes or Direction())
    )


def _single(load: Load, direction: Direction, split: Split) -> Split:
    """One size where that is no different: many files, each read or written at once."""
    if load.files == 1 or direction.calls_a_run > 1.03 or direction.runs > 1.03 * load.files:
        return split
    mean = max(direction.bytes // direction.calls, 1)
    one = {mean: direction.calls}
    return Split(((mean, 100),)) if sizes.distance(by_powers(one), by_powers(direction.sizes)) < 0.02 else split


def _engine(load: Load, part: Part, engine: Engine) -> List[Setting]:
    names = {name: count for direction in part.used for name, count in direction.by_call.items()}
    said = ", ".join(f"{name} {count:,}" for name, count in splits.listed(names))
    why = f"calls: {said}" + ("; fio makes none of these" if engine.stands_for else "")
    found = [Setting("ioengine", engine.name, why)]
    found += [
        Setting(option, value, f"{names and max(names, key=lambda name: names[name])}")
        for option, value in engine.options
    ]
    if load.direct:
        found.append(Setting("direct", "1", f"{load.activity.direct:,} calls on O_DIRECT descriptors (direct_calls)"))
    if load.durable and part.writes is not None:
        found.append(
            Setting(
                "sync",
                "dsync",
                f"{load.activity.durable:,} of {load.write.calls:,} writes were durable when they returned "
                "(durable_writes); O_SYNC would be sync=sync: the profile does not tell them apart",
            )
        )
    return found


def _order(load: Load, part: Part, pattern: Pattern) -> List[Setting]:
    kind = "rw" if len(part.used) == 2 else "read" if part.reads else "write"
    name = kind if pattern.sequential else f"rand{kind}"
    value = name + (f":{pattern.step}" if pattern.step > 1 else "")
    why = f"{pattern.why} (sequential_read, sequential_write)"
    if pattern.step > 1:
        why += f": {pattern.step} I/Os, then a jump"
    found = [Setting("rw", value, why)]
    if len(part.used) == 2:
        share = splits.simplest(load.mix, load.calls)
        found.append(Setting("rwmixread", str(share), f"{load.read.calls:,} reads, {load.write.calls:,} writes"))
    if pattern.sequential:
        return found
    found.append(Setting("norandommap", "1", "whether a block was used twice is not in the profile"))
    percents = [percent for percent, direction in zip(pattern.percent, part.directions) if direction is not None]
    if min(percents) < 100:
        lengths = " and ".join(f"{direction.calls_a_run:.2f}" for direction in part.used)
        value = ",".join(map(str, pattern.percent)) if len(percents) == 2 else str(percents[0])
        found.append(Setting("percentage_random", value, f"{lengths} calls a run"))
    return found


def _sizes(planned: _Planned) -> List[Setting]:
    written = [splits.written(split) for split in planned.used]
    said = " and ".join(
        ", ".join(f"{splits.quantity(size)} x{count:,}" for size, count in splits.listed(direction.sizes, 4))
        + (", ..." if len(direction.sizes) > 4 else "")
        for direction in planned.part.used
    )
    one = all(len(split.parts) == 1 for split in planned.used)
    found = [Setting("bs" if one else "bssplit", ",".join(dict.fromkeys(written)), f"{said} (completed, common_sizes)")]
    if not one and not all(splits.aligned(split) for split in planned.used):
        found.append(Setting("bs_unaligned", "1", "or fio would round sizes down to multiples of the least"))
    return found


def _amount(part: Part, ios: int, jobs: int, amount: Amount) -> List[Setting]:
    if amount.runtime is not None:
        return [Setting("time_based", "1"), Setting("runtime", f"{max(round(amount.runtime), 1)}s", "--runtime")]
    total = sum(direction.bytes for direction in part.used)
    said = f"{part.calls:,} calls that moved {total:,} bytes" + (f", in {jobs} jobs" if jobs > 1 else "")
    if amount.scale != 1:
        said += f", times {amount.scale:g}"
    return [
        Setting("number_ios", str(ios), said),
        Setting("io_size", "1t", "number_ios ends the job, before its bytes do"),
    ]


def _files(load: Load, part: Part, pattern: Pattern) -> List[Setting]:
    size = min(max(pattern.room, 1), _SIZE_LIMIT)
    span = f"{text.counted(load.files, 'file')} of {load.size:,} bytes" + (" on average" if load.files > 1 else "")
    if load.files > 1:
        span += f", {load.smallest or 0:,} to {load.largest:,}"
    if size > load.size:
        span += "; more, so that runs and blocks of this size have room"
    elif size < load.size:
        span += "; each run went over so much"
    found = [Setting("filesize", splits.quantity(size), span + " (size, highest_offset)")]
    if load.files > 1:
        found.append(Setting("nrfiles", str(load.files), f"{load.files:,} files behave alike"))
        if part.pace is not None and part.pace.every and (pattern.turn or not pattern.sequential):
            value = f"roundrobin:{part.pace.every + 1}"
            found.append(Setting("file_service_type", value, "the writes of a file and their sync, then the next file"))
        elif pattern.sequential and not pattern.turn and (load.side_by_side < 1.5 or part.pace is not None):
            found.append(
                Setting(
                    "file_service_type",
                    "sequential",
                    "one file after the other was used (first and last times)",
                )
            )
        elif pattern.turn:
            value = f"roundrobin:{pattern.turn}"
            found.append(Setting("file_service_type", value, "a run on a file, then the next file"))
    if grows(load):
        found += [
            Setting(
                "create_on_open",
                "1",
                f"{load.write.bytes:,} bytes written to {load.activity.size:,}, and none read: files that grew",
            ),
            Setting("fallocate", "none", "the same"),
        ]
    elif part.reads is not None and load.activity.read.from_storage < _CACHED and not load.direct:
        share = text.share(load.activity.read.from_storage)
        found.append(
            Setting(
                "invalidate", "0", f"{share} of the bytes read came from storage (storage_bytes): the cache had them"
            )
        )
    return found


def grows(load: Load) -> bool:
    """Whether the files came into being by being written."""
    size = load.activity.size
    return not load.read.calls and not load.lowest and _GROWN * size <= load.write.bytes <= size / _GROWN and size > 0


def _syncs(load: Load, part: Part) -> List[Setting]:
    pace = part.pace
    if pace is None or part.writes is None:
        return []
    counts = ", ".join(f"{name} {count:,}" for name, count in splits.listed(load.syncs))
    said = f"{counts} for {load.write.calls:,} writes"
    if load.synced:
        said += f"; {load.between:,.0f} bytes between two (bytes_between_syncs)"
    found = []
    if pace.every:
        if "uring_fsync" in load.syncs and pace.option == "fdatasync":
            said += "; io_uring's fsync may be either: the profile does not tell them apart"
        found.append(Setting(pace.option, pace.value, said))
    if pace.at_the_end:
        found.append(
            Setting(
                "end_fsync", "1", "nothing was left unsynced (bytes_unsynced)" + ("" if pace.every else f"; {said}")
            )
        )
    return found


def _jobs(load: Load, part: Part) -> int:
    """How many threads do it at once."""
    threads = min(load.activity.threads, _MOST_JOBS)
    if threads < 2 or load.activity.asynchronous:
        return 1
    at_once = load.at_once
    if load.files > names.LISTED:  # fio forgets filename_format for all but the first of them
        return 1
    found = threads if at_once >= _BUSY * threads else max(int(at_once + 0.5), 1)
    return max(min(found, threads, part.calls), 1)


def _concurrency(load: Load, engine: Engine, jobs: int) -> List[Setting]:
    found = []
    if engine.queues and load.depths:
        depth, why = depth_of(load)
        found.append(Setting("iodepth", str(min(depth, _DEEPEST)), why))
    if load.activity.threads > 1 and not load.activity.asynchronous:
        why = (
            f"{load.activity.threads} threads (threads), {load.at_once:.2f} calls under way at a time (latency_sum_ns)"
        )
        if jobs > 1:
            found += [Setting("numjobs", str(jobs), why), Setting("group_reporting", "1")]
    return found


def depth_of(load: Load) -> Tuple[int, str]:
    """The deepest that a queue was, if it mostly was about that deep; else as deep as it was half of the time."""
    most = max(load.activity.queue_depth, 1)
    total, before, median = sum(load.depths.values()), 0, 1
    for lower, count in sorted(load.depths.items()):
        before += count
        median = max(lower, 1)
        if 2 * before >= total:
            break
    if 2 * median >= most or 4 * median > most >= 2 * median:
        return most, f"{most} requests of a file in flight at most (queue_depth)"
    return median, f"half of the time {median} requests of a file in flight or fewer, {most} at most (queue_depth)"


def _pace(load: Load, jobs: int) -> List[Setting]:
    """Think time, where the profile says in which intervals anything was done."""
    if not load.active or not load.calls:
        return []
    active = bin(load.active).count("1") * load.interval
    idle = max(active * jobs - load.busy, 0)
    think = idle // load.calls // 1000
    if think < _SHORTEST:
        return []
    why = (
        f"{text.duration(idle)} without a call in {text.duration(active)} of intervals with calls (series); "
        "without this line: as fast as it goes"
    )
    return [Setting("thinktime", f"{think}us", why)]
