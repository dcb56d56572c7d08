"""What a rule is, and what one is applied to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Callable, Dict, Mapping, NamedTuple, Optional

from iotrace.profile.activity import Activity
from iotrace.profile.metrics import FileStats, Header


class Severity(Enum):
    """How much there is to gain. The order is that of the members, the worst first."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


MOST_OF_THE_TIME, HARDLY_ANY_TIME = 0.5, 0.02
"""Shares of all time in I/O: what concerns at least the one is a step more severe than its rule says, and less than the
other, a step less."""


def graded(severity: Severity, share: float) -> Severity:
    """The severity of a finding whose calls took this share of all time in I/O, 0 for what is not about time."""
    if share >= MOST_OF_THE_TIME:
        return list(Severity)[max(severity.rank - 1, 0)]
    if 0 < share < HARDLY_ANY_TIME:
        return list(Severity)[min(severity.rank + 1, len(Severity) - 1)]
    return severity


class Threshold(NamedTuple):
    """A number that a rule compares with; users may set another."""

    default: float
    meaning: str


Limits = Mapping[str, float]
"""Name of a threshold -> the number in force."""


class Concern(NamedTuple):
    """What a rule that holds for a file concerns there: by this findings are ranked."""

    ns: int = 0  # time that the calls took
    bytes: int = 0


@dataclass
class Evidence:
    """One file, and the activity that its record says."""

    file: FileStats
    activity: Activity


@dataclass
class Sum:
    """All files for which a rule holds."""

    activity: Activity = field(default_factory=Activity)
    concern: Concern = field(default_factory=Concern)


@dataclass
class Run:
    """The whole run, for rules that are not about single files."""

    header: Header
    activity: Activity

    @property
    def busy_ns(self) -> int:
        """Time that all calls took."""
        return self.activity.busy_ns


@dataclass(frozen=True)
class Rule:
    """One rule.

    A rule is about files, one by one (`holds`), or about the run (`of_run`); both return what it concerns, or None
    where the rule does not hold. `sentence` says it with the figures of all files that it holds for, or of the run.
    """

    name: str
    severity: Severity  # see `graded`
    condition: str  # in words, with the names of thresholds in braces
    thresholds: Dict[str, Threshold]
    sentence: Callable[[Sum, Run], str]
    advice: str
    disproof: str
    holds: Optional[Callable[[Evidence, Limits], Optional[Concern]]] = None
    of_run: Optional[Callable[[Run, Limits], Optional[Concern]]] = None

    def limits(self, changed: Mapping[str, float]) -> Dict[str, float]:
        """The numbers in force. `changed` has those that the user has set, by "rule.threshold"."""
        return {name: changed.get(f"{self.name}.{name}", each.default) for name, each in self.thresholds.items()}
