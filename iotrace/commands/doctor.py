"""`iotrace doctor`: what this kernel offers, what a run would use and why, and what to do about what is missing."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from resource import RLIM_INFINITY
from typing import Dict, Iterator, NamedTuple, Optional, Sequence, Union

from iotrace import text
from iotrace.atomic import standard_output
from iotrace.errors import Failure, words
from iotrace.kernel import cgroups, facts, offsets, procfs, uring, way_in
from iotrace.kernel.quirks import QUIRKS
from iotrace.kernel.quirks import facts as abilities
from iotrace.release import __version__
from iotrace.tracing import processes
from iotrace.tracing.coverage import coverage
from iotrace.tracing.loader import default_files
from iotrace.tracing.session import Session, Settings
from programs.facts import maps
from programs.facts.kernel import Uring
from pybpf.features import FEATURES, State, lockdown
from pybpf.maps import footprint
from pybpf.privileges import Capability, capabilities, lacking, memlock
from pybpf.types.tracefs import Tracefs, TracefsError

HELP = """\
Say what this kernel offers, what a run would use, and what is missing
iotrace doctor        on the host to be traced, as the user who will trace
"""

# What a run without CAP_SYS_ADMIN, which is more than these together, cannot do for want of them.
_HELPFUL: Dict[Capability, str] = {
    Capability.DAC_READ_SEARCH: "there is no --attach perf",
    Capability.SYS_PTRACE: "waits for Linux AIO that began before the run are not seen",
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
    findings = [_privileges(), _lockdown()]
    problem = findings[0].meaning if findings[0].state == "!" else ""
    if not problem:  # otherwise all probes would be refused, and tell nothing
        found = _facts()
        findings += [
            _processes(),
            *_memory(found),
            *_structures(found),
            *_ways_in(),
            *_coverage(),
            _by(),
            _light(),
            *_quirks(),
        ]
        if not args.no_load:
            findings.append(_trial(found))
            problem = findings[-1].meaning if findings[-1].state == "!" else ""
    with standard_output():
        print(f"iotrace {__version__}, Python {platform.python_version()}, Linux {system.release}, {system.machine}\n")
        _show(findings)
        sys.stdout.flush()
    if problem:
        raise Failure(f"a run would fail here: {problem}")
    return 0


def _show(findings: Sequence[Finding]) -> None:
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        words = text.safe_text(" ".join(finding.meaning.split("\n")))
        meaning = text.wrap(words, max(40, 96 - width)) if words else [""]
        print(f"{finding.subject:{width}}  {finding.state:3} {meaning[0]}".rstrip())
        for line in meaning[1:]:
            print(" " * (width + 6) + line)


def _privileges() -> Finding:
    reason = lacking()
    if reason:
        return Finding("privileges", "!", reason)
    held = capabilities()
    if Capability.SYS_ADMIN in held:
        return Finding("privileges", "ok", "CAP_SYS_ADMIN")
    without = [capability for capability in _HELPFUL if capability not in held]
    more = "".join(f"; without {capability} {_HELPFUL[capability]}" for capability in without)
    return Finding("privileges", "ok", f"CAP_BPF and CAP_PERFMON{more}")


def _lockdown() -> Finding:
    locked = lockdown()
    if locked == "confidentiality":
        return Finding(
            "lockdown", "!", "confidentiality: programs may not read kernel memory, so nothing can be traced"
        )
    return Finding("lockdown", "ok", locked or "none")


def _processes() -> Finding:
    """Whose numbers a run takes and shows, and whom it can trace."""
    try:
        seen = f"{sum(1 for _ in processes.names()):,} processes"
        if procfs.is_initial():
            return Finding("processes", "ok", f"in the initial PID namespace: {seen} seen")
        number = procfs.namespace(os.getpid(), "pid")
    except Failure as error:
        return Finding("processes", "!", str(error))
    meaning = f"in a PID namespace of its own ({number}): {seen} seen, by their numbers there"
    return Finding("processes", "ok", f"{meaning}; --all and --comm leave those outside of it out")


def _facts() -> Union[facts.Facts, Failure]:
    """This kernel as a run would find it, or why it would not."""
    try:
        with way_in.tracefs_for(way_in.choose("auto")) as tracefs:
            return facts.gather(tracefs)
    except Failure as error:
        return error
    except OSError as error:
        return Failure(words(error))


def _memory(found: Union[facts.Facts, Failure]) -> Iterator[Finding]:
    """How many files a run has room for where locked memory is limited: before 5.11, without CAP_SYS_RESOURCE."""
    soft, hard = memlock()
    bounded = FEATURES["memcg"].state is not State.SUPPORTED and Capability.SYS_RESOURCE not in capabilities()
    if not bounded or isinstance(found, Failure):
        return
    usual = default_files(preallocate=found.preallocate)
    limit = text.size(soft) if soft == hard else f"{_limit(soft)}, which a run raises to {_limit(hard)}"
    files = usual
    while files and hard != RLIM_INFINITY and _tables(found, files) > hard:
        files //= 2
    if files == usual:
        yield Finding("RLIMIT_MEMLOCK", "ok", f"{limit}: enough for the tables of a run")
    elif files:
        yield Finding("RLIMIT_MEMLOCK", "no", f"{limit}: it takes --max-files {files} for the tables to fit")
    else:
        least = text.size(_tables(found, 1))
        yield Finding(
            "RLIMIT_MEMLOCK",
            "!",
            f"{limit}, but even with --max-files 1 the tables take {least}: raise it (ulimit -l, LimitMEMLOCK= of "
            "systemd), or keep CAP_SYS_RESOURCE",
        )


def _tables(found: facts.Facts, files: int) -> int:
    """Bytes of kernel memory that the tables of a run with `--max-files files` take."""
    specs = maps.declare(found.kernel, files, preallocate=found.preallocate)
    return sum(footprint(spec) for spec in specs.all().values())


def _limit(size: int) -> str:
    return "no limit" if size == RLIM_INFINITY else text.size(size)


def _structures(found: Union[facts.Facts, Failure]) -> Iterator[Finding]:
    """Where programs find what they read in the kernel's memory."""
    if isinstance(found, Failure):
        yield Finding("kernel structures", "!", str(found))
    else:
        yield Finding("kernel structures", "ok", f"offsets from {found.offsets_from}")
    if FEATURES["kernel_btf"].supported():
        yield _calibration()


def _ways_in() -> Iterator[Finding]:
    """What a run attaches to, and what it could attach to."""
    yield _tracefs()
    why = {
        "raw": "raw tracepoints, the cheapest way in that this kernel has",
        "perf": "perf tracepoints: this kernel has no cheaper way in",
    }
    try:
        yield Finding("attach", "ok", why[way_in.choose("auto")])
    except Failure as error:
        yield Finding("attach", "!", str(error))


def _light() -> Finding:
    """Whether a run can do without programs at the entry of reads and writes."""
    try:
        with way_in.tracefs_for(way_in.choose_light(), light=True):
            pass
    except Failure as error:
        return Finding("--light", "no", str(error))
    return Finding("--light", "ok", "reads and writes are seen at their exit alone, and one in 25 is timed")


def _by() -> Finding:
    """What `--by` takes and costs."""
    try:
        mounted = cgroups.choose((), apart=True).mounted
        where = f"cgroups are those of {mounted.directory}"
    except Failure as error:
        where = f"no --by cgroup: {error}"
    cost = "a traced call takes 25 ns more, by cgroup 40"
    return Finding("--by", "ok", f"process, cgroup, user: {cost}, and a file a row for each; {where}")


def _coverage() -> Iterator[Finding]:
    """What a run sees of each family of calls."""
    has_types, looping = FEATURES["kernel_btf"].supported(), abilities()
    straight = not (looping["loops"] or looping["back_jumps"])
    seen = coverage(way_in.choose("auto"), _io_uring(), straight=straight, folios=has_types)
    for what, how in seen.items():
        yield Finding(what, "ok" if how == "full" else "no", how)


def _io_uring() -> Optional[Uring]:
    try:
        return uring.find(offsets.kernel_types())
    except Failure:
        return None  # no type information


def _calibration() -> Finding:
    """Whether a run without the kernel's type information would find the same offsets."""
    try:
        with way_in.tracefs_for(way_in.choose("auto")) as tracefs:
            members = offsets.compare(facts.machine(), tracefs)
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


def _quirks() -> Iterator[Finding]:
    """How this kernel differs from others, and what that means for a run."""
    for quirk in QUIRKS:
        what = f"{quirk.description} ({'.'.join(map(str, quirk.since))})"
        if quirk.state is State.UNKNOWN:
            yield Finding(quirk.name, "?", f"could not tell: {quirk.error}")
        elif quirk.good:
            yield Finding(quirk.name, "ok", what if quirk.welcome else f"no {what}")
        else:
            yield Finding(quirk.name, "no", f"{what}: {'not here, so ' if quirk.welcome else ''}{quirk.otherwise}")


def _trial(found: Union[facts.Facts, Failure]) -> Finding:
    """Whether the kernel takes the programs and attaches them, as in a run, which says more than any probe."""
    if isinstance(found, Failure):
        return Finding("programs", "!", str(found))
    try:
        with Session(Settings(), found) as session:
            session.loaded.attach()  # they take no calls until they are switched on
            programs = session.loaded.programs
            total = sum(program.info().xlated_len for program in programs)
            bound = text.size(session.loaded.memory_bound())
            return Finding(
                "programs",
                "ok",
                f"{len(programs)} loaded and attached, {text.size(total)}; "
                f"maps of a run take up to {bound} of kernel memory; --interval costs some 20 ns more a call",
            )
    except Failure as error:
        return Finding("programs", "!", str(error))
    except OSError as error:
        return Finding("programs", "!", words(error))
