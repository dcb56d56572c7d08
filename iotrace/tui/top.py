"""The live screen of `iotrace top` with textual: a line is chosen, the list is filtered, and a file is looked into."""

from __future__ import annotations

import io
import os
import time
from typing import Callable, List, Optional, Sequence

from iotrace import text
from iotrace.live import show
from iotrace.live.model import Live, Table
from iotrace.live.plain import SHARE, State, heading
from iotrace.live.show import Look
from iotrace.profile.metrics import FileStats
from iotrace.tui.view import Text, View
from iotrace.views.one_file import show_file
from iotrace.views.screen import Screen

HELP = """\
Everything is of the last interval, a second.

  up down k j, page up and down b, home end G    move
  s S              the next, the last order; < > the same
  g                by file, by directory, by whose I/O it is
  /                only names with this in them, or a glob; escape shows all again
  space p          pause: what is counted goes on
  enter            a file: everything that is known about it, with its histograms, as it goes on;
                   a directory: the files in it
  w                write a profile of all that was counted so far
  q                back, and in the end out

"""


class Source:
    """What the live screen asks of the run that it shows."""

    def __init__(
        self,
        tick: Callable[[Live], bool],
        save: Callable[[], str],
        look: Callable[[bytes], Sequence[FileStats]],
        started_ns: int,
    ) -> None:
        """`tick` adds an interval, False if there are no more; `save` writes a profile and says where; `look` has all
        about the files of a path; tracing began at `started_ns`, unix time."""
        self.tick, self.save, self.look, self.started_ns = tick, save, look, started_ns


class LiveView(View):
    """The table, and what the user has chosen."""

    def __init__(
        self, live: Live, state: State, source: Source, *, subject: str, interval: float, unicode: bool
    ) -> None:
        super().__init__()
        self._live, self._state, self._source = live, state, source
        self._subject, self._interval, self._unicode = subject, interval, unicode
        self._table: Table = live.table(sort=state.sort, only=state.only)
        self._details: Optional[Text] = None
        self._due, self._going, self._width = 0.0, True, 80

    # -- time ------------------------------------------------------------------------------------------------------

    def pass_time(self) -> bool:
        """Add an interval if it is time; whether anything is new on the screen."""
        now = time.monotonic()
        if not self._going or now < self._due:
            return False
        self._going = self._source.tick(self._live)
        took = time.monotonic() - now
        self._due = now + max(self._interval, SHARE * took)
        if self._state.paused:
            return False
        self._again()
        if self._details is not None:
            self._details.again(self._width)
        return True

    def _again(self) -> None:
        """Lay the table out anew. The line that was chosen stays chosen."""
        lines = self._table.lines
        chosen = lines[self.cursor].key if self.cursor < len(lines) and self.cursor else None
        self._table = self._live.table(sort=self._state.sort, only=self._state.only)
        if chosen is not None:
            self.cursor = next((at for at, line in enumerate(self._table.lines) if line.key == chosen), self.cursor)

    # -- what is shown ---------------------------------------------------------------------------------------------

    def head(self, width: int) -> List[str]:
        self._width = width
        mark = "ALL HAS ENDED  " if not self._going else "PAUSED  " if self._state.paused else ""
        return heading(self._table, self._state, self._subject, width, mark)

    def titles(self, width: int) -> str:
        return show.titles(Look(width, self._unicode), self._state.by)

    def count(self) -> int:
        return len(self._table.lines)

    def line(self, index: int, width: int) -> str:
        return show.row(Look(width, self._unicode), self._table.lines[index], self._state.sort)

    def keys(self) -> str:
        return "? help  s sort  g group  / filter  space pause  enter look  w write  q quit"

    # -- what keys do ----------------------------------------------------------------------------------------------

    def own_keys(self) -> Sequence[str]:
        return ("g", "space")

    def typing(self, words: str) -> None:
        self._state.only = words
        self.cursor = 0
        self._again()

    def do(self, key: str, character: str) -> None:
        state = self._state
        if character in ("s", ">", "S", "<"):
            state.next_sort(1 if character in "s>" else -1)
            self.cursor = 0
            self._again()
        elif character == "g":
            self._live.group(state.next_group())
            self.cursor = 0
            self._again()
        elif character == "p" or key == "space":
            state.paused = not state.paused
        elif character == "/":
            self.ask("only: ", self.typing, state.only)
        elif key == "escape" and state.only:
            self.typing("")
        elif character == "w":
            self.said = self._source.save()
        elif character == "?":
            lines = [*HELP.splitlines(), *(f"  {title:<9}{meaning}" for title, meaning in show.MEANINGS.items())]
            self.next = Text(
                "keys and columns", lambda width: [part for line in lines for part in text.wrap(line, width)]
            )
        elif key in ("enter", "right", "l") and self._table.lines:
            self._open()
        elif key in ("q", "escape"):
            self.leave = True

    def _open(self) -> None:
        name = self._table.lines[self.cursor].name
        if self._state.by == "directory":
            self._state.by = "file"
            self._live.group("file")
            self.cursor = 0
            self.typing(os.fsdecode(name).rstrip("/") + "/")
        elif self._state.by == "file":
            self._details = self.next = Text(
                text.shorten_path(text.safe(name), 200), lambda width: self._file(name, width)
            )
        else:
            self.said = f"g groups by file; of one {self._state.by} alone, trace it alone"

    def _file(self, name: bytes, width: int) -> List[str]:
        """Everything about the files of a path, as far as it is in the tables."""
        out = io.StringIO()
        screen = Screen(out, max(width, 50))
        screen.unicode = self._unicode
        found = self._source.look(name)
        for file in found:
            show_file(screen, file, self._source.started_ns)
            screen.line()
        if not found:
            screen.wrapped("nothing of it is in the tables: it has not been in use for a while, or tracing has ended")
        return out.getvalue().splitlines()
