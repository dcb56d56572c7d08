"""fio logs: a job file that replays them, and the lines of each."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Dict, Iterable, Iterator, List, NamedTuple, Tuple

from iotrace import text
from iotrace.errors import UserError
from iotrace.fio import limits, names, operations
from iotrace.fio.engines import Engine, engine_of
from iotrace.fio.groups import Groups
from iotrace.fio.inference import Setting, depth_of
from iotrace.fio.job import head, written
from iotrace.fio.model import Load
from iotrace.fio.operations import Behaviour
from iotrace.fio.splits import quantity
from iotrace.profile.folding import final_name
from iotrace.profile.metrics import FileStats, Header

VERSIONS = (2, 3)
_MOST_FILES = 5000
_MOST_LINES = 1_000_000
_LISTED = 1000  # files whose names stand in the job file
_TOGETHER = 100  # files in one line
_LONGEST_NAME = 240  # fio reads names into 256 bytes


@dataclass
class Replay:
    """What one log has: the files that the same engine uses in the same way."""

    engine: Engine
    load: Load
    files: List[Tuple[str, Behaviour]] = field(default_factory=list)
    paths: List[bytes] = field(default_factory=list)  # of the first ones

    @property
    def room(self) -> int:
        """Bytes that its files take, each as large as the power of two above what it needs."""
        return sum(_size(behaviour) for _, behaviour in self.files)


class Replays(NamedTuple):
    """All logs of a profile, and what is in none."""

    made: List[Replay]
    left_out: Load


def replays(files: Iterable[FileStats], scale: float = 1.0) -> Replays:
    """A log for each engine, with its flags. Raises UserError if there are too many operations."""
    found: Dict[Tuple[Any, ...], Replay] = {}
    left_out = Load(())
    number = lines = 0
    for file in files:
        one = Load(())
        one.add(file)
        if not one.calls and not one.synced:
            continue
        if number == _MOST_FILES:
            left_out.merge(one)
            continue
        number += 1
        busiest = max((one.read, one.write), key=lambda direction: direction.calls)
        engine = engine_of(busiest.commonest)
        key = (engine.name, engine.options, one.direct, one.durable)
        behaviour = operations.behaviour(file, scale)
        lines += behaviour.operations
        if lines > _MOST_LINES:
            raise UserError(
                f"a log of more than {_MOST_LINES:,} operations: --scale, --path or --exclude make it shorter"
            )
        replay = found.setdefault(key, Replay(engine, Load(key)))
        replay.load.merge(one)
        replay.files.append((f"f{number:06}", behaviour))
        if len(replay.paths) < _LISTED:
            replay.paths.append(final_name(file))
    made = sorted(found.values(), key=lambda replay: -replay.load.calls)
    return Replays(made, left_out)


def check_directory(directory: str) -> None:
    """Raise UserError if fio cannot read names below it in a log."""
    if any(char.isspace() for char in directory) or len(directory.encode()) > _LONGEST_NAME - 8:
        raise UserError(
            f"{text.shorten(directory, 100)}: in a log fio reads no names with spaces, or of more than 256 bytes"
        )


def job(header: Header, source: str, found: Replays, directory: str, log_names: List[str]) -> str:
    """The job file that makes the files, and replays the logs."""
    check_directory(directory)
    loads = [replay.load for replay in found.made]
    lines = [*head(header, source, limits.of_log(header, Groups(loads, found.left_out))), "[global]"]
    for number, replay in enumerate(found.made, 1):
        lines += ["", f"# The files of log {number}, each as large as the power of two above what it needs"]
        for part, (size, files) in enumerate(_alike(replay), 1):
            lines += [
                f"[{number:02d}-files-{part}]",
                f"directory={names.directory(directory)}",
                "filename=" + ":".join(files),
                f"filesize={quantity(size)}",
                "rw=read",
                f"bs={quantity(min(size, 4096))}",
                "create_only=1",
            ]
        lines += ["", *_replay(number, replay, log_names[number - 1])]
    return "\n".join(lines) + "\n"


def _replay(number: int, replay: Replay, log: str) -> Iterator[str]:
    load, engine = replay.load, replay.engine
    yield from names.comment(load.summary)
    for (name, _), path in zip(replay.files, replay.paths):
        yield f"#   {name}: {names.path_comment(path)}"
    if load.files > len(replay.paths):
        yield f"#   and {load.files - len(replay.paths):,} more"
    yield f"[{number:02d}-{engine.name}]"
    settings = [Setting("ioengine", engine.name, ", ".join(sorted({*load.read.by_call, *load.write.by_call})))]
    settings += [Setting(option, value) for option, value in engine.options]
    if load.direct:
        settings.append(Setting("direct", "1", "direct_calls"))
    if load.durable:
        settings.append(Setting("sync", "dsync", "durable_writes"))
    if engine.queues and load.depths:
        depth, why = depth_of(load)
        settings.append(Setting("iodepth", str(depth), why))
    settings += [
        Setting("read_iolog", names.escaped(log), "run fio where the log is"),
        Setting(
            "replay_no_stall", "1", "without it, at the pace of the files' first and last times, in logs of version 3"
        ),
    ]
    for setting in settings:
        yield from written(setting)


def write(replay: Replay, directory: str, seed: int, version: int, stream: BinaryIO) -> None:
    """Write a log. The same seed draws the same one."""
    stream.write(b"fio version %d iolog\n" % version)
    stamp = version > 2
    for name, _ in replay.files:
        stream.write(f"{'0 ' if stamp else ''}{directory}/{name} add\n".encode())
    begun = min(behaviour.begun for _, behaviour in replay.files)
    streams = (_timed(name, behaviour, seed, number) for number, (name, behaviour) in enumerate(replay.files))
    for moment, _, name, operation in heapq.merge(*streams, key=lambda line: line[:2]):
        place = "" if operation.action in ("open", "close") else f" {operation.offset} {operation.size}"
        time = f"{(moment - begun) // 1000} " if stamp else ""
        stream.write(f"{time}{directory}/{name} {operation.action}{place}\n".encode())


def _timed(
    name: str, behaviour: Behaviour, seed: int, number: int
) -> Iterator[Tuple[int, int, str, operations.Operation]]:
    """The operations of a file, spread over the time in which it was used."""
    span, total = max(behaviour.ended - behaviour.begun, 0), behaviour.operations + 2
    for index, operation in enumerate(operations.drawn(behaviour, f"{seed} {name}")):
        yield behaviour.begun + span * min(index, total) // total, number, name, operation


def _size(behaviour: Behaviour) -> int:
    return 1 << max(behaviour.room - 1, 1).bit_length()


def _alike(replay: Replay) -> Iterator[Tuple[int, List[str]]]:
    """Files of the same size, as many as fit one line."""
    found: Dict[int, List[str]] = {}
    for name, behaviour in replay.files:
        found.setdefault(_size(behaviour), []).append(name)
    for size, files in sorted(found.items()):
        for start in range(0, len(files), _TOGETHER):
            yield size, files[start : start + _TOGETHER]
