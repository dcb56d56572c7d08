"""What a run loads: the programs for this kernel and these options, assembled, and the facts that they were made from.

Making it takes most of the time that a start takes: reading the kernel's types, probing what it can do, assembling.
None of that changes while the kernel and iotrace stay the same, so it is kept (`iotrace.kernel.cache`).
"""

from __future__ import annotations

import marshal
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Tuple

from iotrace.kernel import procfs
from programs.facts.hooks import Hook
from programs.facts.kernel import Kernel, Options, Pids, Uring
from pybpf import features
from pybpf.types.binary import Binary

SOURCES = ("auto", "btf", "calibrate")  # of offsets, where they are the kernel's own


CALLS, OTHERS = HALVES = ("calls", "others")
"""The halves in which a plan is assembled: `Plan.form`, and `Plan.others`."""


class Order(NamedTuple):
    """What programs are assembled from. `raw`: the kernel has raw tracepoints."""

    kernel: Kernel
    options: Options
    preallocate: bool
    raw: bool


class Form(NamedTuple):
    """Programs by name, ready to load; what is attached where, in this order; the tail-call table by index; the rows
    of the `syscalls` map; and the names of those that run at the entry of a call (see `programs.build.ProgramSet`)."""

    programs: Dict[str, Binary]
    hooks: List[Tuple[str, Hook]]
    jumps: Dict[int, str]
    syscalls: Dict[int, int]
    entering: FrozenSet[str]

    @property
    def map_names(self) -> FrozenSet[str]:
        return frozenset(name for program in self.programs.values() for name in program.map_names)


class Others(NamedTuple):
    """Forms with a table of tail calls of their own, which are loaded after the programs for system calls.

    `rings` are the programs for io_uring, `fates` those that tell in the end what has become of files, `numbers` is the
    one that tells numbers of processes. `entries` and `timing` are for runs whose data calls have no entry: the
    programs on entries of other calls, and those that time data calls now and then.
    """

    fates: Form
    rings: Optional[Form] = None
    numbers: Optional[Form] = None  # where iotrace is in the initial PID namespace
    entries: Optional[Form] = None
    timing: Optional[Form] = None

    @property
    def map_names(self) -> FrozenSet[str]:
        """The maps that any of their programs uses."""
        return frozenset(name for form in self if form is not None for name in form.map_names)


@dataclass(frozen=True)
class Plan:
    """All that a run needs to know of its kernel, and what it loads.

    `form` are the programs for system calls. `others` waits for what another process may still assemble: the first can
    be loaded meanwhile.
    """

    kernel: Kernel
    options: Options
    preallocate: bool  # maps must take all their memory at once
    form: Form
    others: Callable[[], Others]
    kept: bool = False  # made by an earlier run

    def packed(self) -> bytes:
        """As bytes that `unpacked` takes, in the same version of Python."""
        return marshal.dumps(
            (
                asdict(self.kernel),
                asdict(self.options),
                self.preallocate,
                form_as_tuple(self.form),
                [form and form_as_tuple(form) for form in self.others()],
                {name: feature.known for name, feature in features.FEATURES.items() if feature.known is not None},
            )
        )


def unpacked(raw: bytes) -> Plan:
    """The plan that was packed; this process takes over its answers to probes. Raises ValueError for other bytes."""
    try:
        kernel, options, preallocate, form, raw_others, answers = marshal.loads(raw)
        others = Others(*(other and form_of(other) for other in raw_others))
        plan = Plan(kernel_of(kernel), Options(**options), preallocate, form_of(form), lambda: others, kept=True)
        known: Mapping[str, bool] = dict(answers)
    except (EOFError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no plan: {error}") from None
    for name, answer in known.items():
        with suppress(KeyError):
            features.FEATURES[name].assume(answer)
    return plan


def kernel_of(words: Dict[str, Any]) -> Kernel:
    """The facts of which `asdict` made this. Raises KeyError, TypeError."""
    uring, pids = words["uring"], words["pids"]
    parts = {"uring": uring and Uring(**uring), "pids": pids and Pids(**pids)}
    return Kernel(**{**words, **parts})


def form_as_tuple(form: Form) -> Tuple[Any, ...]:
    """As what `marshal` takes."""
    return (
        [tuple(program) for program in form.programs.values()],
        [(name, tuple(hook)) for name, hook in form.hooks],
        {int(index): name for index, name in form.jumps.items()},
        form.syscalls,
        form.entering,
    )


def form_of(raw: Tuple[Any, ...]) -> Form:
    """The form of which `form_as_tuple` made this. Raises ValueError, TypeError."""
    programs, hooks, jumps, syscalls, entering = raw
    made = [Binary(*program) for program in programs]
    return Form(
        {program.name: program for program in made},
        [(name, Hook(*hook)) for name, hook in hooks],
        jumps,
        syscalls,
        entering,
    )


def identity(options: Options, source: str) -> Optional[Tuple[str, ...]]:
    """What a plan depends on, as far as it may change: the kernel, its settings at run time, and what is wanted.

    None where nothing tells this kernel from another one.
    """
    words = [repr(features.pretended()), repr(procfs.is_initial())]
    for path in ("/sys/kernel/notes", "/proc/version", "/proc/sys/kernel/pid_max", "/proc/sys/net/core/bpf_jit_enable"):
        try:
            with open(path, "rb") as file:
                words.append(file.read(1 << 16).hex())
        except OSError:
            if path == "/sys/kernel/notes":  # which holds the build id
                return None
            words.append("")
    return (*words, os.uname().machine, repr(options), source)
