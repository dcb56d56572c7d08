"""The head of a report: what was traced, where, when and how, what that cost, and what was lost."""

from __future__ import annotations

import shlex
import time
from typing import Dict, List, Optional

from iotrace import text
from iotrace.profile.failed_opens import FailedOpen
from iotrace.profile.merge import with_runs
from iotrace.profile.metrics import Header
from iotrace.profile.runs import repeated, traced_ns
from iotrace.profile.values import text_of
from iotrace.views.screen import Screen


def show_header(screen: Screen, header: Header) -> None:
    """Show one field for each, and an empty line. What was lost comes last, next to the numbers that it spoils."""
    header = with_runs(header)
    if header.command:
        screen.field("command", " ".join(shlex.quote(text_of(word)) for word in header.command))
    if header.filters:
        screen.field("filters", ", ".join(f"{name}: {value}" for name, value in header.filters.items()))
    screen.field("host", f"{header.host}, Linux {header.kernel}, {header.machine}")
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(header.started_ns // 10**9))
    several = f" in {text.counted(len(header.runs), 'run')}" if len(header.runs) > 1 else ""
    screen.field(
        "traced",
        f"{started}, {text.duration(traced_ns(header.runs))}{several},"
        f" by {header.attach or 'unknown means'}, iotrace {header.version}",
    )
    screen.field("coverage", _coverage(header.coverage))
    if header.unattributed:
        calls = (
            f"{call} {errno}: {count}"
            for call, errors in sorted(header.unattributed.items())
            for errno, count in sorted(errors.items())
        )
        screen.field("on no file", ", ".join(calls))
    if header.failed_opens:
        screen.field("not opened", not_opened(header.failed_opens))
    if header.overhead:
        screen.field("overhead", _overhead(header.overhead))
    lost = losses(header)
    if lost:
        screen.loud(lost)
    twice = repeated(header.runs)
    if twice:
        screen.loud(twice)
    screen.line()


def losses(header: Header) -> Optional[str]:
    """What tracing missed, as a sentence; None if it missed nothing."""
    parts = [f"{count:,} {what}" for what, count in sorted(header.lost.items()) if count]
    if not parts:
        return None
    return f"LOST: {', '.join(parts)}. The numbers below are too small; a larger --max-files, or fewer targets, helps."


def _coverage(coverage: Dict[str, str]) -> str:
    whole = [what for what, how in coverage.items() if how == "full"]
    rest = [f"{what}: {how}" for what, how in coverage.items() if how != "full"]
    return "; ".join(rest + (["full: " + ", ".join(whole)] if whole else []))


_PATHS = 3  # of failed opens, that are shown


def not_opened(opens: List[FailedOpen]) -> str:
    """The most frequent ones."""
    named = [failed for failed in opens if failed.path is not None]
    shown = [f"{text_of(failed.path or b'')} ({failed.errno}) {failed.times:,}" for failed in named[:_PATHS]]
    more = sum(failed.times for failed in opens) - sum(failed.times for failed in named[:_PATHS])
    return ", ".join(shown) + (f"{', and ' if shown else ''}{more:,} more" if more else "")


_COST = ("bystander_ns", "own_ns", "own_share", "start_ns")
_PROGRAM_COST = ("program_runs", "program_ns", "program_share", "sampled_ns")


def _overhead(told: Dict[str, object]) -> str:
    """What tracing cost, in words. Keys or numbers that are not as expected are quoted as they are."""
    numbers = {name: value for name, value in told.items() if isinstance(value, (int, float)) and 0 <= value < 1 << 63}
    measured = "not_measured" not in told
    if told.keys() != {*_COST, *(_PROGRAM_COST if measured else ("not_measured",))} or not numbers.keys() >= {
        name for name in told if name != "not_measured"
    }:
        return ", ".join(f"{name}: {value}" for name, value in told.items())
    programs = f"time in programs not measured: {told.get('not_measured')}"
    if measured:
        runs, ns = numbers["program_runs"], numbers["program_ns"]
        programs = (
            f"{text.number(round(runs))} runs of programs, {ns / max(runs, 1):.0f} ns each, "
            f"{_share(numbers['program_share'])}"
        )
    return (
        f"{programs}; a system call that is not traced: +{numbers['bystander_ns']:.0f} ns; "
        f"iotrace itself: {text.duration(round(numbers['own_ns']))} of CPU, {_share(numbers['own_share'])}, "
        f"and {text.duration(round(numbers['start_ns']))} to start"
    )


def _share(share: float) -> str:
    return f"{share:.2%} of a CPU" if share < 0.1 else f"{share:.0%} of a CPU"
