"""How kernels differ, and what a run does about it: the only table of these differences.

Each row names the features whose probes decide (`pybpf.features` has the version and commit that brought each), the
fact that is passed to the programs, and what a run does on a kernel that is on the wrong side of it. Facts are
gathered from this table, and doctor shows it. What ended with a kernel version is a feature that began with it:
"charged to RLIMIT_MEMLOCK until 5.11" is the row of `memcg`, which came with 5.11.

To add a quirk, add its row here. One that no feature decides yet gets a probe of its own in this module:

    @feature("answer", (6, 9), "what it is")
    def _answer() -> bool:
        \"\"\"0123456789ab ("subject of the commit").\"\"\"
        return ...

Nothing compares version numbers: distributions port features back. `--pretend-kernel` hides a feature in
`Feature.hidden`, and so a quirk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

from pybpf.features import FEATURES, Feature, State, Version

SPARES = 3  # copies of each program that can be preempted


@dataclass(frozen=True)
class Quirk:
    """One difference between kernels. `otherwise` is what a run does on the less welcome side."""

    name: str
    decided_by: str  # names of FEATURES: a kernel has the quirk if it has all of them
    otherwise: str
    fact: str = ""  # the field of `programs.facts.kernel.Kernel` that it decides; none where others ask the feature
    values: Tuple[Any, Any] = (False, True)  # of that fact: where the kernel lacks it, where it has it
    welcome: bool = True  # False for a feature that makes things harder

    @property
    def features(self) -> Tuple[Feature, ...]:
        """The features whose probes decide."""
        return tuple(FEATURES[name] for name in self.decided_by.split())

    @property
    def since(self) -> Version:
        """The first kernel that has it: for messages and tests, never to decide anything."""
        return max(feature.since for feature in self.features)

    @property
    def description(self) -> str:
        """What a kernel with it has, as a noun phrase."""
        return ", ".join(feature.description for feature in self.features)

    @property
    def state(self) -> State:
        """Whether this kernel has it, probing if need be."""
        states = [feature.state for feature in self.features]
        if State.NOT_SUPPORTED in states:
            return State.NOT_SUPPORTED
        return State.UNKNOWN if State.UNKNOWN in states else State.SUPPORTED

    @property
    def error(self) -> Optional[OSError]:
        """Why the probe had no answer, after a `state` that is UNKNOWN."""
        return next((feature.error for feature in self.features if feature.error is not None), None)

    @property
    def good(self) -> bool:
        """Whether this kernel is on the welcome side."""
        return (self.state is State.SUPPORTED) == self.welcome

    @property
    def value(self) -> Any:
        """The value of its fact on this kernel; where the probe has no answer, that of a kernel that lacks it."""
        return self.values[self.state is State.SUPPORTED]


QUIRKS: Tuple[Quirk, ...] = (
    Quirk("raw tracepoints", "raw_tracepoints", "perf tracepoints are used, which make every call slower"),
    Quirk(
        "map value arguments",
        "map_value_arguments",
        "counters are kept in several records per file and operation instead of one",
        fact="big_values",
    ),
    Quirk("cgroup ids", "cgroup_ids", "there is no --by cgroup in the hierarchy of version 2"),
    Quirk("line info", "line_info", "bpftool shows the programs without notes"),
    Quirk(
        "back jumps",
        "large_programs bounded_loops",
        "programs are straight code, and account for fewer requests of Linux AIO in one call",
        fact="back_jumps",
    ),
    Quirk("kernel btf", "kernel_btf", "the layout of kernel structures is found by searching the kernel's memory"),
    Quirk("batch", "batch", "maps are read one entry at a time at the end of a run"),
    Quirk("ticks", "jiffies", "run --light reads the clock at every data call, which costs some 35 ns", fact="jiffies"),
    Quirk("ring buffer", "ring_buffer", "a perf buffer is used on each CPU", fact="ring_buffer"),
    Quirk("run time", "stats", "a profile does not say what tracing has cost"),
    Quirk(
        "memcg", "memcg", "maps count against RLIMIT_MEMLOCK, which a run raises as far as it may (CAP_SYS_RESOURCE)"
    ),
    Quirk(
        "fetch atomics",
        "fetch_atomics",
        "two CPUs that finish a run or a sync of one file at once may be seen as one",
        fact="fetch_atomics",
    ),
    Quirk("loops", "loops", "loops are followed round by round or written out, within narrower bounds", fact="loops"),
    Quirk("io_uring requests", "uring_requests", "the requests of io_uring are not traced"),
    Quirk("atomic allocation", "atomic_allocation", "maps take all their memory at the start, for fewer files"),
    Quirk("typed reads", "typed_reads", "kernel memory is read by a helper, which makes every call slower"),
    Quirk(
        "preempted programs",
        "preempted_programs",
        "each program has three spares for calls during which it is preempted",
        fact="spares",
        values=(0, SPARES),
        welcome=False,
    ),
)
"""Every quirk, by the age of the kernels that it came with."""


def facts() -> Dict[str, Any]:
    """The facts of this kernel that quirks decide, by the fields of `programs.facts.kernel.Kernel`."""
    return {quirk.fact: quirk.value for quirk in QUIRKS if quirk.fact}
