"""Applying rules to profiles: files are streamed, so that memory does not depend on their number."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Dict, Iterable, List, Mapping, Sequence, Tuple

from iotrace.errors import UserError
from iotrace.findings.rule import Concern, Evidence, Limits, Rule, Run, Severity, Sum, graded
from iotrace.findings.rules import RULES
from iotrace.globs import EVERYTHING, Selection
from iotrace.profile import activity
from iotrace.profile.activity import Activity
from iotrace.profile.combined import combined_header, whole_files
from iotrace.profile.folding import final_name
from iotrace.profile.metrics import FileStats, Header
from iotrace.profile.reader import Profile

WORST = 3
"""Files that a finding names."""


LEAST_SHARE = "share_of_time"
"""The threshold, of rules that have it, that all files of a finding together must reach."""


@dataclass
class Finding:
    """A rule that holds, the figures that say so, and the files that it is about, the worst first."""

    rule: Rule
    sentence: str
    concern: Concern
    share: float  # of all time in I/O, 0 to 1
    files: int = 0
    worst: List[bytes] = field(default_factory=list)

    @property
    def severity(self) -> Severity:
        """That of the rule, by the share of the time a step more or less."""
        return graded(self.rule.severity, self.share)


@dataclass
class _Hits:
    """The files for which a rule holds."""

    rule: Rule
    limits: Limits
    total: Sum = field(default_factory=Sum)
    worst: List[Tuple[Concern, bytes]] = field(default_factory=list)

    def look(self, evidence: Evidence) -> None:
        assert self.rule.holds is not None
        concern = self.rule.holds(evidence, self.limits)
        if concern is None:
            return
        self.total.activity.add(evidence.file)
        self._add(concern)
        self._keep((concern, final_name(evidence.file)))

    def join(self, total: Sum, worst: Iterable[Tuple[Concern, bytes]]) -> None:
        """Add other files for which it holds."""
        self.total.activity.merge(total.activity)
        self._add(total.concern)
        for entry in worst:
            self._keep(entry)

    def _add(self, concern: Concern) -> None:
        before = self.total.concern
        self.total.concern = Concern(before.ns + concern.ns, before.bytes + concern.bytes)

    def _keep(self, entry: Tuple[Concern, bytes]) -> None:
        if len(self.worst) < WORST:
            heapq.heappush(self.worst, entry)
        else:
            heapq.heappushpop(self.worst, entry)


def thresholds(words: Iterable[str]) -> Dict[str, float]:
    """What `--set rule.threshold=number` says. Raises UserError for what is no threshold, or no number."""
    known = {f"{rule.name}.{name}" for rule in RULES for name in rule.thresholds}
    changed = {}
    for word in words:
        name, _, number = word.partition("=")
        if name not in known:
            raise UserError(f"--set {word}: there is no threshold {name!r}: iotrace findings --rules lists them")
        try:
            changed[name] = float(number)
        except ValueError:
            raise UserError(f"--set {word}: {number!r} is not a number") from None
        if not abs(changed[name]) < float("inf"):
            raise UserError(f"--set {word}: {number!r} is not a number to compare with")
    return changed


class Finder:
    """Applies the rules to the files of one or more profiles, one after the other."""

    def __init__(self, changed: Mapping[str, float] = MappingProxyType({})) -> None:
        """`changed` has the thresholds that the user has set: see `thresholds`."""
        self.whole = Activity()
        self._changed = changed
        self._hits = [_Hits(rule, rule.limits(changed)) for rule in RULES if rule.holds is not None]

    def add(self, file: FileStats) -> Activity:
        """Look at a file; what was done to it."""
        self.whole.add(file)  # faster than merging what is made of it for the rules
        evidence = Evidence(file, activity.of_files([file]))
        for hit in self._hits:
            hit.look(evidence)
        return evidence.activity

    def state(self) -> Tuple[Activity, List[Tuple[Sum, List[Tuple[Concern, bytes]]]]]:
        """What it has found, for `join` of another one, in another process too."""
        return self.whole, [(hit.total, hit.worst) for hit in self._hits]

    def join(self, state: Tuple[Activity, List[Tuple[Sum, List[Tuple[Concern, bytes]]]]]) -> None:
        """Add what another one with the same thresholds has found in other files."""
        whole, found = state
        self.whole.merge(whole)
        for hit, (total, worst) in zip(self._hits, found):
            hit.join(total, worst)

    def findings(self, header: Header) -> List[Finding]:
        """What the rules have found: the most severe first, then by the time that they concern."""
        run = Run(header, self.whole)
        found = [_of_files(hit, run) for hit in self._hits if hit.total.activity.files]
        found = [each for each in found if each.share >= each.rule.limits(self._changed).get(LEAST_SHARE, 0)]
        for rule in RULES:
            concern = rule.of_run(run, rule.limits(self._changed)) if rule.of_run is not None else None
            if concern is not None:
                found.append(Finding(rule, rule.sentence(Sum(), run), concern, _share(concern, run)))
        return sorted(
            found, key=lambda each: (each.severity.rank, -each.concern.ns, -each.concern.bytes, each.rule.name)
        )


def find(
    profiles: Sequence[Profile],
    changed: Mapping[str, float] = MappingProxyType({}),
    selection: Selection = EVERYTHING,
) -> List[Finding]:
    """What the rules find in all selected files of one or more profiles together."""
    finder = Finder(changed)
    for file in whole_files(profiles, selection):
        finder.add(file)
    return finder.findings(combined_header(profiles, selection))


def _of_files(hit: _Hits, run: Run) -> Finding:
    names = [name for _, name in sorted(hit.worst, reverse=True)]
    total = hit.total
    share = _share(total.concern, run)
    return Finding(hit.rule, hit.rule.sentence(total, run), total.concern, share, total.activity.files, names)


def _share(concern: Concern, run: Run) -> float:
    return min(1.0, concern.ns / run.busy_ns) if run.busy_ns else 0.0


def worst(findings: Iterable[Finding]) -> Severity:
    """The most severe of some findings, of which there is at least one."""
    return min((each.severity for each in findings), key=lambda severity: severity.rank)
