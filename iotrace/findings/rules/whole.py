"""Rules about errors, and about the run as a whole."""

from __future__ import annotations

from typing import List, Optional

from iotrace import text
from iotrace.findings.rule import Concern, Evidence, Limits, Rule, Run, Severity, Sum, Threshold
from iotrace.findings.rules._figures import each
from iotrace.profile.activity import Activity
from iotrace.profile.failed_opens import FailedOpen


def _many_small_files(run: Run, limits: Limits) -> Optional[Concern]:
    found = run.activity
    moved = found.read.bytes + found.written.bytes
    if found.files < limits["files"] or moved > limits["bytes"] * found.files:
        return None
    if found.lifetime.total < limits["share"] * run.busy_ns:
        return None
    return Concern(found.lifetime.total, moved)


def _said_many_small_files(_total: Sum, run: Run) -> str:
    found = run.activity
    moved = found.read.bytes + found.written.bytes
    part = found.lifetime.total / run.busy_ns if run.busy_ns else 0.0
    return (
        f"{found.files:,} files, of which {each(moved, found.files)} each were read or written on average: opening"
        f" and closing them took {text.duration(found.lifetime.total)}, {text.share(part)} of all time in I/O"
    )


def _missing(run: Run, times: float) -> List[FailedOpen]:
    """The paths that were tried to be opened that often, and were not there."""
    opens = run.header.failed_opens
    return [failed for failed in opens if failed.path and failed.errno == "ENOENT" and failed.times >= times]


def _missing_files(run: Run, limits: Limits) -> Optional[Concern]:
    return Concern() if _missing(run, limits["times"]) else None


def _said_missing_files(_total: Sum, run: Run) -> str:
    opens = _missing(run, 2)
    most = max(opens, key=lambda failed: failed.times)
    times = sum(failed.times for failed in opens)
    name = text.shorten_path(text.safe(most.path or b""), 60)
    return f"{times:,} opens of {text.counted(len(opens), 'file')} found nothing there, {name} {most.times:,} times"


_HARD = ("EIO", "ENOSPC", "EDQUOT", "EROFS", "ESTALE", "EUCLEAN", "EFBIG")


def _hard_errors(evidence: Evidence, limits: Limits) -> Optional[Concern]:
    if _hard(evidence.activity) < limits["errors"]:
        return None
    return Concern(0, evidence.activity.read.bytes + evidence.activity.written.bytes)


def _hard(found: Activity) -> int:
    return sum(found.errors.get(name, 0) for name in _HARD)


def _said_hard_errors(total: Sum, _run: Run) -> str:
    errors = {name: total.activity.errors[name] for name in _HARD if total.activity.errors.get(name)}
    return "calls failed with " + ", ".join(f"{name} ({count:,})" for name, count in errors.items())


RULES: List[Rule] = [
    Rule(
        "many-small-files",
        Severity.MEDIUM,
        "at least {files} files, of which {bytes} bytes each at most were read or written, and whose opening and"
        " closing took {share} of all time in I/O",
        {
            "files": Threshold(1000, "files"),
            "bytes": Threshold(65536, "bytes"),
            "share": Threshold(0.3, "of the time in I/O"),
        },
        _said_many_small_files,
        "put them together in an archive or a database",
        "it happens once, as when a program is installed",
        of_run=_many_small_files,
    ),
    Rule(
        "missing-files",
        Severity.LOW,
        "a file that is not there is tried to be opened at least {times} times",
        {"times": Threshold(50, "opens of one path")},
        _said_missing_files,
        "remember that it is not there, or shorten the search path that leads to it",
        "somebody waits for the file to appear, and has no inotify",
        of_run=_missing_files,
    ),
    Rule(
        "hard-errors",
        Severity.HIGH,
        "at least {errors} calls failed with EIO, ENOSPC, EDQUOT, EROFS, ESTALE, EUCLEAN or EFBIG",
        {"errors": Threshold(1, "calls")},
        _said_hard_errors,
        "look at the device (dmesg), at free space and quotas, and at whether the application told anybody",
        "the application asks whether it may, and takes no for an answer",
        holds=_hard_errors,
    ),
]
