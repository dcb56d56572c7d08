"""The programs' time: when it was by the clock on the wall, and what is known of calls that were not timed."""

from __future__ import annotations

import time
from typing import Optional, Tuple

from programs.facts.records import ONE_IN

_MANY = 16  # calls whose latency tells that of others


class Clock:
    """Converts the programs' time, CLOCK_MONOTONIC, to unix time. Both are in nanoseconds.

    With `sampled`, data calls are timed in windows alone: `timed` and `untimed` count those that were looked at.
    """

    def __init__(self, *, sampled: bool = False) -> None:
        self.sampled = sampled
        self.timed = self.untimed = 0
        tries = []
        for _ in range(5):
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            wall = time.time_ns()
            after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            tries.append((after - before, wall - (before + after) // 2))
        self._offset = min(tries)[1]

    def unix(self, monotonic: int) -> Optional[int]:
        """The time in nanoseconds since 1970; None for 0, which means never."""
        return monotonic + self._offset if monotonic else None

    def estimate(self, succeeded: int, timed: int, latency_sum: int) -> Tuple[int, int]:
        """How many of the calls that succeeded were not timed, and how long they took, in ns, as estimated.

        Of many calls the share that was timed is known well enough, of few the chance that each of them had: ONE_IN.
        """
        untimed = max(0, succeeded - timed)
        self.timed += timed
        self.untimed += untimed
        return untimed, latency_sum * untimed // timed if timed >= _MANY else latency_sum * (ONE_IN - 1)
