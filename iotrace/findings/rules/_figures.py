"""What several rules ask of the figures, and how they put them into words."""

from __future__ import annotations

from iotrace import text
from iotrace.findings.rule import Run, Sum
from iotrace.profile.activity import Activity
from iotrace.profile.values import Histogram


def of_time(total: Sum, run: Run) -> str:
    """The time that is concerned, and its share; or, where none of it was measured (`run --light`), that it was not."""
    found = total.activity
    if not total.concern.ns and found.read.latencies.untimed + found.written.latencies.untimed:
        return "a time that is not known, as none of them was timed"
    share = total.concern.ns / run.busy_ns if run.busy_ns else 0.0
    return f"{text.duration(total.concern.ns)}, {text.share(min(1.0, share))} of all time in I/O"


def each(bytes_: int, calls: int) -> str:
    """Bytes a call."""
    return text.size(round(bytes_ / calls)) if calls else "0"


def below(histogram: Histogram, size: int) -> int:
    """How many values are smaller than `size`, a power of two."""
    return sum(count for lower, count in histogram.items() if lower < size)


def half_below(histogram: Histogram, size: int) -> bool:
    """Whether at least half of the values are smaller than `size`, a power of two."""
    return 2 * below(histogram, size) >= sum(histogram.values()) > 0


def median_below(histogram: Histogram, size: float) -> bool:
    """Whether the median of the values that are not 0 lies in a bucket that ends at or before `size`."""
    counts = {lower: count for lower, count in histogram.items() if lower}
    return 2 * sum(count for lower, count in counts.items() if 2 * lower <= size) >= sum(counts.values()) > 0


def writes_per_sync(found: Activity) -> float:
    """Writes for each sync, of which there is at least one."""
    return found.written.calls / found.syncs.calls
