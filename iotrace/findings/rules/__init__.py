"""The rules, by what they are about. `iotrace findings --rules` shows them with their thresholds.

The time that a finding concerns is that of the calls in question, an upper bound of what can be gained. A rule that
would hold for a handful of calls has a threshold for how many it takes.
"""

from __future__ import annotations

from typing import List

from iotrace.findings.rule import Rule
from iotrace.findings.rules import again, durability, requests, whole

RULES: List[Rule] = [*durability.RULES, *requests.RULES, *again.RULES, *whole.RULES]
"""All rules, in the order in which they are listed."""

BY_NAME = {rule.name: rule for rule in RULES}
