"""The head of a report: what was traced and what is not in the numbers; in full, how, where, when and at what cost."""

from __future__ import annotations

import shlex
import time
from typing import Dict, List, Optional, Tuple

from iotrace import text
from iotrace.profile.failed_opens import FailedOpen
from iotrace.profile.merge import with_runs
from iotrace.profile.metrics import Header
from iotrace.profile.runs import hosts, repeated, traced_ns
from iotrace.profile.values import text_of
from iotrace.views.screen import Screen


def show_header(screen: Screen, header: Header) -> None:
    """Show one field for each, and an empty line. What was lost comes last, next to the numbers that it spoils."""
    header = with_runs(header)
    if header.command:
        screen.field("command", " ".join(shlex.quote(text_of(word)) for word in header.command))
    if header.filters:
        screen.field("filters", ", ".join(f"{name}: {value}" for name, value in header.filters.items()))
    screen.field("host", system(header))
    several = f" in {text.counted(len(header.runs), 'run')}" if len(header.runs) > 1 else ""
    screen.field(
        "traced",
        f"{started(header)}, {text.duration(traced_ns(header.runs))}{several},"
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
        screen.field("overhead", overhead(header.overhead))
    warn_of(screen, header)
    screen.line()


def started(header: Header) -> str:
    """When it began, as a local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(header.started_ns // 10**9))


def system(header: Header) -> str:
    """The host, its kernel and its machine."""
    return f"{header.host}, Linux {header.kernel}, {header.machine}"


MOST_HOSTS = 4
"""Hosts that are named; of more their number is said."""

_FULL, _NONE = "full", "none"
_ALWAYS = ("mmap", "32-bit tasks")  # in the coverage of every run; said where it concerns a number


def subject(header: Header) -> str:
    """What was traced, in words."""
    filters = header.filters
    follow = filters.get("follow") is True
    parts = []
    if header.command:
        words = " ".join(shlex.quote(text_of(word)) for word in header.command)
        parts.append(text.shorten(words, 60) + (" and all that it starts" if follow else ""))
    for name, words in (("comm", "processes named"), ("pid", "process"), ("cgroup", "cgroup")):
        value = filters.get(name)
        if isinstance(value, list) and value:
            parts.append(f"{words} {', '.join(map(str, value))}")
    if filters.get("all") is True:
        parts = ["everything on the host"]
    number = max(len(header.runs), 1)
    several = text.counted(number, "run") if number > 1 or not parts else ""
    return " of ".join(filter(None, (several, " and ".join(parts))))


def place(header: Header) -> str:
    """On which host, or hosts."""
    names = hosts(header.runs)
    return f"{len(names)} hosts" if len(names) > MOST_HOSTS else " / ".join(filter(None, names)) or "an unknown host"


def what_was_traced(screen: Screen, header: Header) -> None:
    """Say what was traced, at once: a million files take a while."""
    header = with_runs(header)
    screen.wrapped(screen.words(f"{subject(header)}, {text.duration(traced_ns(header.runs))} on {place(header)}"))
    screen.flush()


def what_is_missing(screen: Screen, header: Header, mapped: Optional[int] = None, *, warn: bool = True) -> None:
    """Say what is not in the numbers; `mapped` is the number of files that were mapped, if it is known. With `warn`
    also what was lost, and what is counted twice."""
    for line in sentences(header, mapped):
        screen.wrapped(screen.words(line))
    if warn:
        warn_of(screen, header)


def sentences(header: Header, mapped: Optional[int] = None) -> List[str]:
    """Whether anything was lost, what is in none of the numbers, and what else there is to say of them, as sentences.

    `mapped` is the number of files that were mapped, if it is known.
    """
    absent, notes = not_counted(header)
    if mapped:
        absent.insert(0, f"what went through memory mappings of {text.counted(mapped, 'file')}")
    words = "nothing lost" if losses(header) is None else "INCOMPLETE"
    if absent:
        words += f"; not counted: {', '.join(absent)}"
    elif mapped is not None:
        words += "; everything is counted"
    return [words, *(f"note: {note}" for note in notes)]


def warn_of(screen: Screen, header: Header) -> None:
    """Say what was lost, and what is counted more than once."""
    for words in (losses(header), repeated(header.runs)):
        if words:
            screen.loud(words)


def heading(screen: Screen, header: Header, details: bool) -> None:
    """The head of tables: what was traced and what is missing, or with `details` everything; and an empty line."""
    if details:
        show_header(screen, header)
    else:
        what_was_traced(screen, header)
        what_is_missing(screen, header)
        screen.line()
    screen.flush()  # a million files take a while


def not_counted(header: Header) -> Tuple[List[str], List[str]]:
    """What is in none of the numbers, each in a few words; and what else there is to say of them, as sentences."""
    absent, notes = [], []
    for what, how in header.coverage.items():
        if what in _ALWAYS:
            continue
        for told in dict.fromkeys(how.split(" / ")):  # of several runs
            kind, _, why = told.partition(": ")
            if kind == _NONE and not why.endswith("; no rings made"):
                absent.append(f"{what} ({why})" if why else what)
            elif kind not in (_FULL, _NONE):
                notes.append(f"{why or told} ({what})")
    return absent, notes


_LOST = {
    "events": "events that the kernel kept from iotrace",
    "files": "files for which there was no room",
    "calls": "calls for which there was no room",
    "processes": "processes that could not be followed",
    "iovecs": "calls whose size could not be read",
    "calls_of_32_bit_tasks": "calls of 32-bit programs",
    "truncated_paths": "paths of which only the end is known",
}
_NO_ROOM = ("events", "files", "calls", "processes")  # that a larger table would have had


def losses(header: Header) -> Optional[str]:
    """What tracing missed, as a sentence; None if it missed nothing."""
    parts = [f"{count:,} {_LOST.get(what, what)}" for what, count in sorted(header.lost.items()) if count]
    if not parts:
        return None
    found = f"LOST: {', '.join(parts)}."
    if any(count for what, count in header.lost.items() if what != "truncated_paths"):
        found += " The numbers below are too small"
        found += "; a larger --max-files, or fewer targets, helps." if _lacked_room(header) else "."
    return found


def _lacked_room(header: Header) -> bool:
    return any(header.lost.get(what) for what in _NO_ROOM)


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


def overhead(told: Dict[str, object]) -> str:
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
