"""`iotrace doctor`: what this kernel offers, what a run would use and why, and what to do about what is missing."""

from __future__ import annotations

import argparse
import os
import platform
from typing import Iterator, NamedTuple, Optional

from iotrace import __version__, text
from iotrace.errors import Failure
from iotrace.kernel import facts, offsets, uring
from iotrace.kernel.way_in import choose
from iotrace.tracing.coverage import coverage
from iotrace.tracing.session import Session, Settings
from programs.facts.kernel import Uring
from pybpf import features
from pybpf.features import State
from pybpf.privileges import Capability, capabilities, memlock
from pybpf.types.tracefs import Tracefs, TracefsError

HELP = """\
Say what this kernel offers, what a run would use, and what is missing
iotrace doctor        on the host to be traced, as the user who will trace
"""

# Features of FEATURES that a run makes use of, and what it does without.
USES = {
    "raw_tracepoints": "perf tracepoints are used, which cost a call more",
    "ring_buffer": "perf buffers are used, one a CPU",
    "fetch_atomics": "two CPUs that finish a run or a sync of one file at once may be seen as one",
    "map_value_arguments": "counters are kept in three records a file instead of one",
    "batch": "maps are read one entry at a time at the end of a run",
    "kernel_btf": "the layout of kernel structures must be found in another way",
    "line_info": "bpftool shows the programs without notes",
    "memcg": "RLIMIT_MEMLOCK bounds the maps: raise it (ulimit -l unlimited)",
}


class Finding(NamedTuple):
    """One line: what was looked at, how it stands ("ok", "no", "!"), and what that means."""

    subject: str
    state: str
    meaning: str


def setup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-load", action="store_true", help="do not load the programs to see whether the kernel takes them"
    )


def run(args: argparse.Namespace) -> int:
    system = os.uname()
    print(f"iotrace {__version__}, Python {platform.python_version()}, Linux {system.release}, {system.machine}\n")
    findings = [*_privileges(), *_kernel(), *_features()]
    failed = None
    if not args.no_load:
        trial = _trial()
        findings.append(trial)
        failed = trial if trial.state == "!" else None
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        meaning = text.wrap(text.safe_text(finding.meaning), max(40, 96 - width)) if finding.meaning else [""]
        print(f"{finding.subject:{width}}  {finding.state:3} {meaning[0]}".rstrip())
        for line in meaning[1:]:
            print(" " * (width + 6) + line)
    if failed is not None:
        raise Failure(f"a run would fail here: {failed.meaning}")
    return 0


def _privileges() -> Iterator[Finding]:
    held = capabilities()
    if Capability.SYS_ADMIN in held:
        yield Finding("privileges", "ok", "CAP_SYS_ADMIN")
    elif {Capability.BPF, Capability.PERFMON} <= held:
        yield Finding("privileges", "ok", "CAP_BPF and CAP_PERFMON (enough from 5.8 on)")
    else:
        yield Finding("privileges", "!", "run as root, or with CAP_BPF and CAP_PERFMON (5.8), CAP_SYS_ADMIN before")
    soft, hard = memlock()
    if features.FEATURES["memcg"].state is not State.SUPPORTED and Capability.SYS_RESOURCE not in held:
        yield Finding(
            "RLIMIT_MEMLOCK",
            "no",
            f"{text.size(soft)}, at most {text.size(hard)} without CAP_SYS_RESOURCE: use a small --max-files",
        )
    lockdown = features.lockdown()
    if lockdown == "confidentiality":
        yield Finding("lockdown", "!", "confidentiality: programs may not read kernel memory; no tracing here")
    else:
        yield Finding("lockdown", "ok", lockdown or "none")


def _kernel() -> Iterator[Finding]:
    try:
        machine = facts.machine()
        found = offsets.find(machine)
        found.for_programs(machine)
        yield Finding("kernel structures", "ok", f"offsets from {found.source}")
    except Failure as error:
        yield Finding("kernel structures", "!", str(error))
    if features.FEATURES["kernel_btf"].supported():
        yield _calibration()
    yield _tracefs()
    try:
        method = choose("auto")
        why = {
            "raw": "raw tracepoints, the cheapest that this kernel lets in",
            "perf": "perf tracepoints: there is nothing cheaper here",
        }[method]
        yield Finding("attach", "ok", why)
    except Failure as error:
        yield Finding("attach", "!", str(error))
    for what, how in coverage(choose("auto"), _io_uring()).items():
        yield Finding(what, "ok" if how == "full" else "no", how)


def _io_uring() -> Optional[Uring]:
    try:
        return uring.find(offsets.kernel_types())
    except Failure:
        return None  # no type information


def _calibration() -> Finding:
    """Whether a run without the kernel's type information would find the same offsets."""
    try:
        members = offsets.compare(facts.machine())
    except Failure as error:
        return Finding("calibration", "no", f"{error} (needed where a kernel has no BTF)")
    differing = [member for member, known, found in members if known != found]
    if differing:
        return Finding("calibration", "no", f"differs from the kernel's BTF in {', '.join(differing)}")
    return Finding("calibration", "ok", f"finds all {len(members)} offsets where BTF has them")


def _tracefs() -> Finding:
    """Only the perf form needs it."""
    try:
        with Tracefs.open() as tracefs:
            found = tracefs.exists("syscalls", "sys_enter_read")
    except TracefsError as error:
        return Finding("tracefs", "no", f"{error} (needed for --attach perf alone)")
    if not found:
        return Finding("tracefs", "no", "no system-call tracepoints (CONFIG_FTRACE_SYSCALLS): no --attach perf")
    return Finding("tracefs", "ok", "system-call tracepoints, for --attach perf")


def _features() -> Iterator[Finding]:
    for name, without in USES.items():
        feature = features.FEATURES[name]
        since = ".".join(map(str, feature.since))
        what = f"{feature.description} ({since})"
        if feature.state is State.SUPPORTED:
            yield Finding(name.replace("_", " "), "ok", what)
        elif feature.state is State.NOT_SUPPORTED:
            yield Finding(name.replace("_", " "), "no", f"{what}: without it, {without}")
        else:
            yield Finding(name.replace("_", " "), "?", f"could not tell: {feature.error}")


def _trial() -> Finding:
    """Whether the kernel takes the programs, which says more than any probe."""
    try:
        with Session(Settings(max_files=16)) as session:
            programs = session.loaded.programs
            total = sum(program.info().xlated_len for program in programs)
            bound = text.size(_default_bound(session))
            return Finding(
                "programs",
                "ok",
                f"{len(programs)} loaded, {text.size(total)}; maps of a run take up to {bound} of kernel memory",
            )
    except Failure as error:
        return Finding("programs", "!", str(error))


def _default_bound(session: Session) -> int:
    return session.loaded.memory_bound(session.loaded.default_files)
