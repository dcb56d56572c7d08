"""The comparison as a table: original, replay, difference and verdict."""

from __future__ import annotations

from typing import Iterator, List, NamedTuple, Sequence, Tuple

from iotrace import text
from iotrace.fio.compare import Allowed, Compared, compared
from iotrace.fio.model import Load


class Verdict(NamedTuple):
    """One load, or all of them together."""

    name: str
    lines: List[Compared]


def verdicts(
    named: Sequence[Tuple[str, Load]], replays: Sequence[Load], allowed: Allowed, scale: float = 1.0
) -> List[Verdict]:
    """All loads together first, and then each."""
    found = [Verdict(name, compared(load, replay, allowed, scale)) for (name, load), replay in zip(named, replays)]
    if len(found) < 2:
        return found
    whole, other = Load(()), Load(())
    for (_, load), replay in zip(named, replays):
        whole.merge(load)
        other.merge(replay)
    return [Verdict("all together", compared(whole, other, allowed, scale)), *found]


def met(found: Sequence[Verdict]) -> bool:
    """Whether every figure is near enough."""
    return all(line.met for verdict in found for line in verdict.lines)


def lines(found: Sequence[Verdict]) -> Iterator[str]:
    """The table."""
    yield f"{'':24} {'ORIGINAL':>12} {'REPLAY':>12} {'DIFFERENCE':>10} {'AT MOST':>8}"
    for verdict in found:
        yield verdict.name
        for line in verdict.lines:
            yield (
                f"  {line.metric:22} {_figure(line, line.original):>12} {_figure(line, line.replay):>12} "
                f"{_difference(line):>10} {_allowed(line):>8}  {'ok' if line.met else 'MISSED'}"
            )
    every = [line for verdict in found for line in verdict.lines]
    missed = sum(not line.met for line in every)
    yield f"{len(every) - missed} of {len(every)} figures are as near as they should be"


def _figure(line: Compared, value: object) -> str:
    if not isinstance(value, (int, float)):
        return ""
    if line.metric == "share of reads":
        return f"{100 * value:.1f}%"
    return text.size(round(value)) if line.bytes else f"{round(value):,}"


def _difference(line: Compared) -> str:
    if line.original is None:
        return f"{line.difference:.3f}"
    return "new" if line.difference == float("inf") else f"{100 * line.difference:+.1f}%"


def _allowed(line: Compared) -> str:
    return f"{line.allowed:.2f}" if line.original is None else f"{100 * line.allowed:.0f}%"
