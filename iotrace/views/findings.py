"""Findings and rules as text, and findings as JSON."""

from __future__ import annotations

import json
from typing import Dict, List, Mapping, Sequence, TextIO

from iotrace import text
from iotrace.findings.engine import Finding
from iotrace.findings.rule import Rule, Severity
from iotrace.findings.rules import RULES
from iotrace.views.screen import Screen

_SIGNS = {Severity.HIGH: "!!", Severity.MEDIUM: " !", Severity.LOW: "  "}


def show(screen: Screen, findings: Sequence[Finding], *, advice: bool = True, limit: int = 0) -> None:
    """Show findings, at most `limit` of them, 0 for all; with `advice` what to do, and what would disprove them."""
    shown = findings[:limit] if limit else findings
    for finding in shown:
        rule = finding.rule
        screen.beside(f"{_SIGNS[finding.severity]} ", f"{rule.name}: {finding.sentence}")
        if finding.worst:
            room = screen.columns - 3
            more = finding.files - len(finding.worst)
            for name in finding.worst if advice else finding.worst[:1]:
                screen.line("   " + text.shorten_path(screen.name(name), room))
            if advice and more:
                screen.line(f"   and {text.counted(more, 'more file')}")
        if advice:
            screen.beside("   do: ", rule.advice)
            screen.beside("   but not if: ", rule.disproof)
    if len(shown) < len(findings):
        screen.line(f"and {text.counted(len(findings) - len(shown), 'more finding')}")


def show_nothing(screen: Screen) -> None:
    """Say that no rule holds."""
    screen.line(f"no findings: none of the {len(RULES)} rules holds (--rules lists them)")


def condition(rule: Rule, changed: Mapping[str, float]) -> str:
    """When a rule holds, with the numbers in force."""
    return rule.condition.format(**{name: f"{number:,.12g}" for name, number in rule.limits(changed).items()})


def show_rules(screen: Screen, changed: Mapping[str, float]) -> None:
    """Show every rule, its thresholds, what to do, and what would disprove it."""
    for rule in RULES:
        screen.line(f"{rule.name} ({rule.severity.value})")
        screen.beside("   if ", condition(rule, changed))
        for name, number in rule.limits(changed).items():
            screen.beside(f"   {rule.name}.{name}=", f"{number:.12g}  {rule.thresholds[name].meaning}")
        screen.beside("   do: ", rule.advice)
        screen.beside("   but not if: ", rule.disproof)


def table() -> List[str]:
    """The rules as a table in Markdown, as the document has it."""
    lines = ["| rule | severity | holds if | thresholds |", "|---|---|---|---|"]
    for rule in RULES:
        numbers = [f"`{name}={each.default:.12g}` {each.meaning}" for name, each in rule.thresholds.items()]
        lines.append(f"| {rule.name} | {rule.severity.value} | {condition(rule, {})} | {'; '.join(numbers)} |")
    return lines


def write_json(out: TextIO, findings: Sequence[Finding]) -> None:
    """Write a JSON array with an object for each finding, in the order of `show`."""
    objects: List[Dict[str, object]] = [
        {
            "rule": finding.rule.name,
            "severity": finding.severity.value,
            "sentence": finding.sentence,
            "time_ns": finding.concern.ns,
            "share_of_time": round(finding.share, 4),
            "bytes": finding.concern.bytes,
            "files": finding.files,
            "worst": [text.portable(name) for name in finding.worst],
            "advice": finding.rule.advice,
            "disproof": finding.rule.disproof,
        }
        for finding in findings
    ]
    out.write(json.dumps(objects, indent=1) + "\n")
