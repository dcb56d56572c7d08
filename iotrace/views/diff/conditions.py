"""Conditions on what has changed, for use in continuous integration: `p99(fsync)>+20%`.

    CONDITION  = METRIC "(" CALLS ")" COMPARISON THRESHOLD
    METRIC     = a name in `figures.METRICS`, or in `figures.SHIFTS`
    CALLS      = "read" | "write" | "sync" | "all" | the name of a system call, such as pread64
    COMPARISON = ">" | "<"
    THRESHOLD  = [ "+" | "-" ] NUMBER [ UNIT ]
    UNIT       = "%" | "ns" | "us" | "ms" | "s" | "KiB" | "MiB" | "GiB" | "TiB"

With a sign, the threshold is a change from the first run to the second: by so many percent, or by so much. Without one
it is the value in the second run. Figures of `SHIFTS` are changes themselves. Spaces are allowed everywhere.

A condition on a change is met if the change is beyond the threshold and told (`figures`): not if it may be chance, or
there are too few calls to tell.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple, Optional, Sequence, Tuple

from iotrace.errors import UserError
from iotrace.views.diff.figures import METRICS, SHIFTS, Change, Figure, Unit, Verdict
from iotrace.views.diff.side import FAMILIES, Side
from programs.facts.catalogue import BY_NAME

_CONDITION = re.compile(
    r"\s*(?P<metric>[\w./]+)\s*\(\s*(?P<calls>\w+)\s*\)\s*(?P<comparison>[<>])\s*"
    r"(?P<sign>[+-]?)\s*(?P<number>\d{1,18}(?:\.\d{1,9})?|\.\d{1,9})\s*(?P<unit>%|[A-Za-z]*)\s*",
    re.ASCII,
)
_TIMES = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}
_SIZES = {"B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40}
_SCALES = {
    Unit.NS: _TIMES,
    Unit.BYTES: {"": 1.0, **_SIZES},
    Unit.BYTE_RATE: {"": 1.0, **_SIZES},
    Unit.NUMBER: {"": 1.0},
    Unit.NUMBER_RATE: {"": 1.0},
    Unit.SHARE: {"": 1.0},
    Unit.POWERS: {"": 1.0},
}


class Outcome(Enum):
    """What has become of a condition."""

    MET = "met"
    NOT_MET = "not met"
    UNKNOWN = "cannot tell"


class Condition(NamedTuple):
    """A condition, as it was given and what it says."""

    text: str
    metric: str
    calls: str
    above: bool  # ">"
    change: bool  # with a sign
    relative: bool  # in percent
    threshold: float  # in the unit of the metric, or as a share

    @property
    def unit(self) -> Unit:
        """What its metric is counted in."""
        return METRICS[self.metric].unit if self.metric in METRICS else SHIFTS[self.metric].unit


class Judged(NamedTuple):
    """A condition, what has become of it, and what it is about."""

    condition: Condition
    outcome: Outcome
    change: Change
    why: str  # it is not met although the figures are beyond the threshold, or cannot be told


def parse(text: str) -> Condition:
    """A condition. Raises UserError."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise UserError(f"{text!r} is not a condition such as 'p99(fsync)>+20%' or 'errors(all)>0'")
    metric, calls, sign, unit = match["metric"], match["calls"], match["sign"], match["unit"]
    if metric not in METRICS and metric not in SHIFTS:
        raise UserError(f"{text!r}: there is no figure {metric}, but {', '.join((*METRICS, *SHIFTS))}")
    if calls not in FAMILIES and calls not in BY_NAME:
        raise UserError(f"{text!r}: {calls} is not a system call that is traced, nor one of {', '.join(FAMILIES)}")
    number = float(match["number"]) * (-1 if sign == "-" else 1)
    above = match["comparison"] == ">"
    if unit == "%":
        if not sign or metric in SHIFTS:
            raise UserError(f"{text!r}: percents are of a change: +20% or -20%, of a figure of each run")
        return Condition(text, metric, calls, above, True, True, number / 100)
    wanted = METRICS[metric].unit if metric in METRICS else SHIFTS[metric].unit
    scales = _SCALES[wanted]
    if unit not in scales:
        raise UserError(f"{text!r}: {metric} is in {wanted.value}; units: {', '.join(filter(None, scales)) or 'none'}")
    return Condition(text, metric, calls, above, bool(sign) or metric in SHIFTS, False, number * scales[unit])


def judge(condition: Condition, sides: Sequence[Side]) -> Judged:
    """What has become of a condition."""
    before, after = (side.of(condition.calls) for side in sides)
    if condition.metric in SHIFTS:
        found = SHIFTS[condition.metric].compute(before, after)
        zero = None if found is None else Figure(0.0, 0.0, 0.0, found.calls, found.needed)
        change = Change(zero, found)
    else:
        compute = METRICS[condition.metric].compute
        change = Change(compute(before, sides[0].seconds), compute(after, sides[1].seconds))
    outcome, why = _decide(condition, change)
    return Judged(condition, outcome, change, why)


def _decide(condition: Condition, change: Change) -> Tuple[Outcome, str]:
    value = _value(condition, change)
    if value is None:
        return Outcome.UNKNOWN, f"{'neither' if change.before is change.after else 'one'} of the runs has it"
    few = few_words(change if condition.change else Change(change.after, change.after))
    if few:
        return Outcome.UNKNOWN, few
    if not (value > condition.threshold if condition.above else value < condition.threshold):
        return Outcome.NOT_MET, ""
    if condition.change and change.verdict in (Verdict.CHANCE, Verdict.FEW):
        return Outcome.UNKNOWN, "no more than chance would do" + counts_words(change)
    return Outcome.MET, ""


def _value(condition: Condition, change: Change) -> Optional[float]:
    """What is compared with the threshold."""
    if change.after is None or (condition.change and change.before is None):
        return None
    if not condition.change:
        return change.after.value
    if condition.relative:
        return change.relative
    assert change.before is not None
    return change.after.value - change.before.value


def few_words(change: Change) -> str:
    """How many calls there are and how many it takes, if there are too few; else nothing."""
    figures = [figure for figure in change if figure is not None]
    if all(figure.enough for figure in figures):
        return ""
    return f"too few calls to tell{counts_words(change)}; it takes {max(figure.needed for figure in figures):,}"


def counts_words(change: Change) -> str:
    """How many calls there are."""
    counts = dict.fromkeys(f"{figure.calls:,}" for figure in change if figure is not None)
    return f" ({' and '.join(counts)} calls)"
