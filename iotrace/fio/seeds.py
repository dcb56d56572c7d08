"""The seed for a section: the one with which what fio draws comes nearest to the profile."""

from __future__ import annotations

from typing import Optional, Tuple

from iotrace.fio import draws, sizes
from iotrace.fio.compare import ALLOWED_JOB
from iotrace.fio.inference import Section
from iotrace.profile.latencies import by_powers


def chosen(section: Section, job: int, budget: int) -> Tuple[Optional[int], int]:
    """The seed, None where any will do, and how many draws of the budget it has taken."""
    plan = section.plan
    assert plan is not None
    whole = sum(direction.calls for direction in section.expected) or 1

    def off(drawn: draws.Drawn) -> float:
        """How far the draws are off, the worst figure of all; 1 is what is allowed."""
        worst = 0.0
        for way, direction in enumerate(section.expected):
            if not direction.calls:
                continue
            share = plan.ios * direction.calls / whole  # the calls there should be
            calls = sum(drawn.sizes[way].values())
            moved = sizes.total(drawn.sizes[way])
            worst = max(worst, abs(calls / share - 1) / ALLOWED_JOB.calls)
            worst = max(worst, abs(moved / max(direction.bytes * share / direction.calls, 1) - 1) / ALLOWED_JOB.bytes)
            spread = sizes.distance(by_powers(drawn.sizes[way]), by_powers(direction.sizes))
            worst = max(worst, spread / ALLOWED_JOB.sizes)
            if plan.random[way] < 100 and direction.runs:
                runs = direction.runs * share / direction.calls
                # Of several files each one's first run begins without a jump.
                firsts = min(section.files, calls) if section.files > 1 else 0
                begun = firsts + drawn.jumps[way] * (1 - firsts / max(calls, 1))
                worst = max(worst, abs(runs / max(begun, 1) - 1) / ALLOWED_JOB.run)
        return worst

    seed, _, used = draws.choose(plan, job, off, budget)
    return seed, used
