"""A live screen that needs nothing but the standard library: a table that refreshes, on any terminal."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from types import FrameType
from typing import Any, Callable, Dict, List, Optional, Sequence

from iotrace import text
from iotrace.live import show
from iotrace.live.model import GROUPS, SORTS, Live, Table
from iotrace.live.show import Look
from iotrace.tracing.signals import Signals
from iotrace.views.screen import can_encode

SHARE = 20  # as long as a glance takes, tracing goes on without one at least: tables of 100,000 files take a while
KEYS = "q quit  space pause  s sort  g group  w write a profile"
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"


class State:
    """What the user has chosen, and what is said to him."""

    def __init__(self, *, by: str, groups: List[str], sort: str, only: str) -> None:
        self.by, self.groups, self.sort, self.only = by, groups, sort, only
        self.paused = False
        self.said = ""

    def next_sort(self, step: int = 1) -> None:
        """Another order."""
        names = list(SORTS)
        self.sort = names[(names.index(self.sort) + step) % len(names)]

    def next_group(self) -> str:
        """Another grouping, of those that can be told apart."""
        self.by = self.groups[(self.groups.index(self.by) + 1) % len(self.groups)]
        return self.by


def groups(whose: str) -> List[str]:
    """What lines can be grouped by, in a run whose rows are apart by `whose`."""
    return [name for name in GROUPS if name in ("file", "directory", whose)]


def heading(table: Table, state: State, subject: str, width: int, mark: str) -> List[str]:
    """The lines above the table: what is shown, behind a mark, what all of it does, how complete that is, and none."""
    first = f"{mark}by {state.by}, most {SORTS[state.sort].title} first"
    if state.only:
        first += f", only {text.safe_text(state.only)}"
    tables = f"{text.counted(table.files, 'file')} in the tables, {table.seconds:.1f} s, nothing lost"
    return [f"{first}: {subject}", show.totals(table.total, width), show.lost(table) or tables, ""]


def page(table: Table, state: State, look: Look, lines: int, subject: str) -> List[str]:
    """A whole screen of so many lines. Of each line only safe text."""
    found = heading(table, state, subject, look.width, "PAUSED  " if state.paused else "")
    found.append(show.titles(look, state.by))
    room = max(lines - len(found) - 2, 1)
    shown = table.lines[:room]
    found.extend(show.row(look, line, state.sort) for line in shown)
    if not shown:
        found.append("nothing was done on any file yet")
    found.extend([""] * (lines - 1 - len(found)))
    found.append(state.said or KEYS)
    return [text.head(line, look.width) for line in found[:lines]]


class Screen:
    """The terminal while the table is on it; a context manager that leaves it as it was."""

    def __init__(self) -> None:
        self._out = sys.stdout
        self._in: Optional[int] = None
        self._before: Optional[List[Any]] = None
        self._loud = "NO_COLOR" not in os.environ
        self.unicode = unicode()

    def __enter__(self) -> Screen:
        with contextlib.suppress(OSError, ValueError, termios.error):
            if os.isatty(0):
                self._in, self._before = 0, termios.tcgetattr(0)
        self._handlers: Dict[int, Any] = {
            signal.SIGTSTP: signal.signal(signal.SIGTSTP, self._stopped),
            signal.SIGWINCH: signal.signal(signal.SIGWINCH, lambda *_: None),
        }
        self._take()
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._give()

    def _take(self) -> None:
        if self._before is not None and self._in is not None:
            with contextlib.suppress(termios.error):
                tty.setcbreak(self._in, termios.TCSADRAIN)
        self._write(_ENTER)

    def _give(self) -> None:
        self._write(_LEAVE)
        if self._before is not None and self._in is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._in, termios.TCSADRAIN, self._before)

    def _stopped(self, _number: int, _frame: Optional[FrameType]) -> None:
        """Ctrl-Z: the terminal is the shell's until we go on."""
        self._give()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()

    def _write(self, words: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # it has gone, and the signal that says so comes
            self._out.write(words)
            self._out.flush()

    @property
    def look(self) -> Look:
        """How tables are drawn on it."""
        return Look(self.size.columns, self.unicode)

    @property
    def size(self) -> os.terminal_size:
        """Its size now."""
        return shutil.get_terminal_size((80, 24))

    def draw(self, lines: List[str], loud: Sequence[int]) -> None:
        """Show these lines, of which those with these numbers are to be seen first."""
        wide = self.size.columns
        shown = [
            f"\x1b[7m{line:<{wide}}\x1b[0m" if self._loud and at in loud else line for at, line in enumerate(lines)
        ]
        self._write(_HOME + f"{_CLEAR_LINE}\r\n".join(shown) + _CLEAR_LINE + _CLEAR_REST)

    def typed(self) -> str:
        """What has been typed."""
        if self._in is None or not select.select([self._in], [], [], 0)[0]:
            return ""
        try:
            found = os.read(self._in, 1024).decode("ascii", "replace")
        except OSError:
            found = ""
        if not found:
            self._in = None  # the terminal has gone
        return found

    def wait(self, signals: Signals, seconds: float) -> None:
        """Until something is typed or happens, for so long at most."""
        wait(signals, seconds, [] if self._in is None else [self._in])


def wait(signals: Signals, seconds: float, others: Sequence[int] = ()) -> None:
    """Until something happens, or there is something to read, for so long at most."""
    if signals.fileno() in select.select([signals.fileno(), *others], [], [], max(seconds, 0))[0]:
        signals.clear()


def unicode() -> bool:
    """Whether what tables are drawn with can be written to standard output."""
    return can_encode(sys.stdout, "\u2581\u2588\u00e9")


def run(
    screen: Screen,
    signals: Signals,
    state: State,
    live: Live,
    *,
    interval: float,
    subject: str,
    tick: Callable[[Live], bool],
    save: Callable[[], str],
) -> None:
    """Show the table until somebody has had enough. `tick` adds an interval, False if there are no more: then the last
    table stays until a key is pressed. `save` writes a profile, and says where."""
    last = time.monotonic()
    going, took = tick(live), 0.0
    table = live.table(sort=state.sort, only=state.only)
    while True:
        size = screen.size
        if not state.paused:
            table = live.table(sort=state.sort, only=state.only, limit=size.lines)
        if not going:
            state.said = "all that was traced has ended: q quits"
        loud = (2, 4) if table.lost_so_far else (4,)
        screen.draw(page(table, state, screen.look, size.lines, subject), loud)
        until = last + max(interval, SHARE * took)
        screen.wait(signals, until - time.monotonic() if going else 3600.0)
        if signals.signals:
            return
        for key in screen.typed():
            if key in "qQ\x03":
                return
            _pressed(key, state, live, save)
        if going and time.monotonic() >= until:
            last = begun = time.monotonic()
            going = tick(live)
            took = time.monotonic() - begun


def _pressed(key: str, state: State, live: Live, save: Callable[[], str]) -> None:
    state.said = ""
    if key in " p":
        state.paused = not state.paused
    elif key == "s":
        state.next_sort()
    elif key == "g":
        live.group(state.next_group())
    elif key == "w":
        state.said = save()
