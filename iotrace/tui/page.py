"""Draws views on the whole terminal by textual, and brings them keys and the mouse."""

from __future__ import annotations

import re
import sys
from typing import Callable, Iterator, List, Optional, Tuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from iotrace import text
from iotrace.tui.view import View, advance

_COLOUR = Style(color="cyan")
_LOST = Style(reverse=True, bold=True, color="red")
_PLAIN, _BOLD, _BAR, _CHOSEN, _DIM = (
    Style(),
    Style(bold=True),
    Style(underline=True),
    Style(reverse=True, bold=True),
    Style(dim=True),
)


_BARS = re.compile("([\u2581-\u258f]+)")  # of histograms and trends


def _filled(line: str, width: int) -> str:
    """A line of exactly so many columns."""
    line = text.head(line, width)
    return line + " " * (width - text.width(line))


def _coloured(line: str, style: Style) -> Iterator[Segment]:
    """A line whose bars have a colour; the line that is chosen has none."""
    for number, part in enumerate(_BARS.split(line)):
        yield Segment(part, style + _COLOUR if number % 2 and not style.reverse else style)


class Page(Widget):
    """The view that is on top, as lines; names reach the terminal as the safe text that views make of them."""

    can_focus = True
    DEFAULT_CSS = "Page { width: 1fr; height: 1fr; background: ansi_default; color: ansi_default; }"

    def __init__(self, stack: List[View]) -> None:
        super().__init__()
        self.stack = stack
        self._head: List[Tuple[str, Style]] = []

    @property
    def view(self) -> View:
        """The one on top."""
        return self.stack[-1]

    def _laid_out(self) -> List[Tuple[str, Style]]:
        """The lines above the list."""
        width = self.size.width
        titles = self.view.titles(width)
        found = [(line, _BOLD if not at else _PLAIN) for at, line in enumerate(self.view.head(width))]
        found = [(line, _LOST if line.startswith("LOST") else style) for line, style in found]
        return [*found, (titles, _BAR)] if titles else found

    def _above(self) -> int:
        """How many lines are above the list."""
        return len(self._laid_out())

    @property
    def room(self) -> int:
        """How many lines of the list there is room for."""
        return max(self.size.height - self._above() - 1, 1)

    def render_lines(self, crop: Region) -> List[Strip]:
        """Lines of the terminal; what is above the list is laid out once for all of them."""
        self._head = self._laid_out()
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """A line of the terminal."""
        view, width = self.view, self.size.width
        index = view.top + y - len(self._head)
        line, style = "", _PLAIN
        if y == self.size.height - 1:
            line, style = view.foot(), _DIM
        elif y < len(self._head):
            line, style = self._head[y]
        elif index < view.count():
            line = view.line(index, width)
            if view.chooses and index == view.cursor:
                style = _CHOSEN
            elif view.strong(index) >= 0:
                at = view.strong(index)
                line = _filled(line, width)
                return Strip([*_coloured(line[:at], _PLAIN), *_coloured(line[at:], _BOLD)], width)
        return Strip(list(_coloured(_filled(line, width), style)), width)

    def on_resize(self, _event: events.Resize) -> None:
        self.view.settle(self.room)
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        if event.y >= self._above() and event.y < self.size.height - 1:
            self.view.choose(self.view.top + event.y - self._above())
        self.after()

    def on_mouse_scroll_down(self, _event: events.MouseScrollDown) -> None:
        self.view.scroll(3, self.room)
        self.refresh()

    def on_mouse_scroll_up(self, _event: events.MouseScrollUp) -> None:
        self.view.scroll(-3, self.room)
        self.refresh()

    def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        key = event.key
        if key == "ctrl+c":
            self.stack.clear()
        elif key == "ctrl+z":
            self.app.action_suspend_process()
        else:
            self.view.pressed(key, event.character, self.room)
        self.after()

    def after(self) -> None:
        """A view may be done, or want another one on top."""
        advance(self.stack)
        if not self.stack:
            self.app.exit()
            return
        self.view.settle(self.room)
        self.refresh()


def draw(first: View, every: Optional[float] = None, tick: Callable[[], Optional[bool]] = bool) -> None:
    """Show views until the last one is done: see `Screens`."""
    survive()
    Screens(first, every, tick).run()


def survive() -> None:
    """Have what is written to a terminal that has gone be dropped, as standard error drops it.

    A thread of textual writes to the interpreter's own standard error, and would end by it: whoever has something to
    write, be it to leave, then waits for it for ever.
    """
    vars(sys)["__stderr__"] = sys.stderr


class Screens(App[None]):
    """Views on top of each other, until the last one is done."""

    ENABLE_COMMAND_PALETTE = False
    CSS = "Screen { background: ansi_default; color: ansi_default; }"

    def __init__(self, first: View, every: Optional[float] = None, tick: Callable[[], Optional[bool]] = bool) -> None:
        """`tick` is called every so many seconds, and says whether there is anything new; None ends it."""
        super().__init__(ansi_color=True)
        self._page = Page([first])
        self._every, self._tick = every, tick

    def compose(self) -> ComposeResult:
        yield self._page

    def on_mount(self) -> None:
        """Begin."""
        self._page.focus()
        if self._every is not None:
            self.set_interval(self._every, self._ticked)

    def _ticked(self) -> None:
        new = self._tick()
        if new is None:
            self.exit()
        elif new and self._page.stack:
            self._page.view.settle(self._page.room)
            self._page.refresh()
