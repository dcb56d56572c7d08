"""In which order fio goes over a file, so that its runs are as long as those of the profile."""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence, Tuple

from iotrace import text
from iotrace.fio import splits
from iotrace.fio.draws import Split
from iotrace.fio.model import Direction, Load

_CLOSE = 0.03  # how far a whole number may be from what it stands for
_MANY = 200  # calls of a run that ends with its file
_LONG = 10  # calls of a run: percentage_random would be too coarse
_FEW = 1.03  # calls of a run: nothing goes on
_PLACES, _RUNS, _LARGEST = 64, 16, 32  # room in a file: blocks, mean runs, largest blocks


class Pattern(NamedTuple):
    """How the I/Os of one job lie in a file."""

    sequential: bool  # from the begin to the end of each file, over and over
    room: int  # bytes that a file must have for that
    step: int = 0  # :N, a jump after so many I/Os; 0 without
    percent: Tuple[int, int] = (100, 100)  # percentage_random: of the reads, of the writes
    why: str = ""
    turn: int = 0  # I/Os on a file before it is the next one's turn; 0 for what fio does by itself


def pattern_of(
    load: Load, directions: Tuple[Optional[Direction], Optional[Direction]], every: Tuple[Split, Split]
) -> Pattern:
    """For reads, writes or both together (None is in another job)."""
    used = [direction for direction in directions if direction is not None]
    if all(direction.runs <= _CLOSE * load.files + load.files for direction in used) or _passes(load, used):
        found = _sequential(load, used, every)
        if found is not None:
            return found
    largest = max(splits.bounds(split)[1] for split, direction in zip(every, directions) if direction)
    least = min(splits.bounds(split)[0] for split, direction in zip(every, directions) if direction)
    longest = max(direction.mean_run for direction in used)
    room = max(load.size, _PLACES * largest, int(_RUNS * longest), _LARGEST * largest)
    room += -room % least
    said = " and ".join(_said(direction) for direction in used)
    if len(used) == 1:
        step = _step(used[0], load.files, room)
        if step is not None:
            turn = max(round(used[0].calls_a_run), 1) if step > 1 and load.files > 1 else 0
            return Pattern(False, room, step, why=said, turn=turn)
    percents = [
        100 if direction is None else _percent(direction, split, load.files, room)
        for direction, split in zip(directions, every)
    ]
    return Pattern(False, room, 0, (percents[0], percents[1]), said)


def widened(pattern: Pattern, room: int, load: Load, direction: Direction) -> Pattern:
    """The same for files that another section needs to be larger: a run may no longer end with its file."""
    if not pattern.sequential or room <= pattern.room or pattern.turn or direction.runs <= 1:
        return pattern._replace(room=room)
    length = max(round(direction.calls_a_run), 1)
    if direction.runs <= (1 + _CLOSE) * load.files:
        return pattern._replace(room=room, turn=length)
    return Pattern(False, room, length, why=pattern.why, turn=length if load.files > 1 else 0)


def _said(direction: Direction) -> str:
    calls, runs = text.counted(direction.calls, "call"), text.counted(direction.runs, "run")
    return f"{calls} in {runs} of {direction.mean_run:,.0f} bytes"


def _passes(load: Load, used: Sequence[Direction]) -> bool:
    """Whether each run goes over a whole file."""
    return bool(load.size) and all(abs(direction.mean_run / load.size - 1) <= 0.1 for direction in used)


def _sequential(load: Load, used: Sequence[Direction], every: Tuple[Split, Split]) -> Optional[Pattern]:
    said = " and ".join(_said(direction) for direction in used)
    one_size = all(len(split.parts) == 1 for split in every)
    if load.files == 1 and all(direction.runs == 1 for direction in used):
        largest = max(splits.bounds(split)[1] for split in every)
        most = max(direction.bytes for direction in used)
        # Where sizes are drawn, the end must not come too early.
        room = most if one_size else most + most // 8 + 2 * largest
        return Pattern(True, max(room, load.size), why=said)
    if len(used) > 1:
        return None
    (direction,) = used
    size = splits.mean(every[0])
    length = direction.calls_a_run
    if not one_size:  # what fits at the end of a file is not what is drawn elsewhere: that matters in short runs
        if length >= _MANY:
            return Pattern(True, int(direction.mean_run), why=said)
        if direction.runs > (1 + _CLOSE) * load.files:
            return None
        room = 2 * int(direction.mean_run) + 2 * splits.bounds(every[0])[1]
        return Pattern(True, room, why=said, turn=max(round(length), 1))
    if abs(round(length) / length - 1) > _CLOSE:
        return None
    return Pattern(True, round(length) * int(size), why=said)


def _step(direction: Direction, files: int, room: int) -> Optional[int]:
    """The N of :N, where a whole number is close enough, and more than 1; 1 where nothing goes on."""
    if direction.calls_a_run <= _FEW:
        return 0
    # Of several files each one's first run begins without a jump.
    jumps = direction.runs - (files if files > 1 else 0)
    if jumps < 1:
        return None
    length = direction.calls / jumps
    # A run that meets the end of the file goes on elsewhere, as two.
    wanted = length * (1 + direction.mean_run / room)
    return round(wanted) if wanted >= _LONG or abs(round(wanted) / wanted - 1) <= _CLOSE else None


def _percent(direction: Direction, split: Split, files: int, room: int) -> int:
    """percentage_random: of each 100 calls, those that begin a run."""
    if direction.calls_a_run <= _FEW:
        return 100
    blocks = max(room // splits.bounds(split)[0], 2)
    firsts = min(files, direction.runs, direction.calls - 1)  # each file's first run is one without a jump
    begun = (
        (direction.runs - firsts) / max(direction.calls - firsts, 1) if files > 1 else direction.runs / direction.calls
    )
    by_the_end = splits.mean(split) / room  # runs that meet the end of the file
    by_chance = 1 / blocks  # jumps that go where the run would have gone
    return splits.simplest(min(max((begun - by_the_end) / (1 - by_chance), 0.0), 1.0), direction.calls)
