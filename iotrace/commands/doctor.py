"""`iotrace doctor`: what this kernel offers, what a run would use and why, and what to do about what is missing."""

from __future__ import annotations

import argparse
import os
import platform
from resource import RLIM_INFINITY
from typing import Iterator, NamedTuple, Optional, Union

from iotrace import text
from iotrace.errors import Failure
from iotrace.kernel import facts, offsets, uring, way_in
from iotrace.kernel.quirks import QUIRKS
from iotrace.release import __version__
from iotrace.tracing.coverage import coverage
from iotrace.tracing.loader import default_files
from iotrace.tracing.session import Session, Settings
from programs.facts import maps
from programs.facts.kernel import Uring
from pybpf.features import FEATURES, State, lockdown
from pybpf.maps import footprint
from pybpf.privileges import Capability, capabilities, memlock
from pybpf.types.tracefs import Tracefs, TracefsError

HELP = """\
Say what this kernel offers, what a run would use, and what is missing
iotrace doctor        on the host to be traced, as the user who will trace
"""


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
    found = _facts()
    findings = [*_privileges(), *_memory(found), *_structures(found), *_ways_in(), *_coverage(), *_quirks()]
    failed = None
    if not args.no_load:
        trial = _trial(found)
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
    locked = lockdown()
    if locked == "confidentiality":
        yield Finding("lockdown", "!", "confidentiality: programs may not read kernel memory, so nothing can be traced")
    else:
        yield Finding("lockdown", "ok", locked or "none")


def _facts() -> Union[facts.Facts, Failure]:
    """This kernel as a run would find it, or why it would not."""
    try:
        with way_in.tracefs_for(way_in.choose("auto")) as tracefs:
            return facts.gather(tracefs)
    except Failure as error:
        return error


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


def _coverage() -> Iterator[Finding]:
    """What a run sees of each family of calls."""
    for what, how in coverage(way_in.choose("auto"), _io_uring()).items():
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
    """Whether the kernel accepts the programs, which says more than any probe."""
    if isinstance(found, Failure):
        return Finding("programs", "!", str(found))
    try:
        with Session(Settings(max_files=16), found) as session:
            programs = session.loaded.programs
            total = sum(program.info().xlated_len for program in programs)
            bound = text.size(session.loaded.memory_bound(session.loaded.default_files))
            return Finding(
                "programs",
                "ok",
                f"{len(programs)} loaded, {text.size(total)}; maps of a run take up to {bound} of kernel memory",
            )
    except Failure as error:
        return Finding("programs", "!", str(error))
