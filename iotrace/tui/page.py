"""Draws views on the whole terminal by textual, and brings them keys and the mouse."""

from __future__ import annotations

from typing import Callable, List, Optional

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import App, ComposeResult
from textual.strip import Strip
from textual.widget import Widget

from iotrace import text
from iotrace.tui.view import View, advance

_PLAIN, _BOLD, _BAR, _CHOSEN, _DIM = (
    Style(),
    Style(bold=True),
    Style(reverse=True),
    Style(reverse=True, bold=True),
    Style(dim=True),
)


class Page(Widget):
    """The view that is on top, as lines; names reach the terminal as the safe text that views make of them."""

    can_focus = True
    DEFAULT_CSS = "Page { width: 1fr; height: 1fr; background: ansi_default; color: ansi_default; }"

    def __init__(self, stack: List[View]) -> None:
        super().__init__()
        self.stack = stack

    @property
    def view(self) -> View:
        """The one on top."""
        return self.stack[-1]

    def _above(self) -> int:
        """How many lines are above the list."""
        width = self.size.width
        return len(self.view.head(width)) + bool(self.view.titles(width))

    @property
    def room(self) -> int:
        """How many lines of the list there is room for."""
        return max(self.size.height - self._above() - 1, 1)

    def render_line(self, y: int) -> Strip:
        """A line of the terminal."""
        view, width = self.view, self.size.width
        head, titles = view.head(width), view.titles(width)
        style = _PLAIN
        if y == self.size.height - 1:
            line, style = view.foot(), _DIM
        elif y < len(head):
            line, style = head[y], _BOLD if y == 0 else _PLAIN
        elif titles and y == len(head):
            line, style = titles, _BAR
        else:
            index = view.top + y - len(head) - bool(titles)
            line = view.line(index, width) if index < view.count() else ""
            if index < view.count():
                style = _CHOSEN if view.chooses and index == view.cursor else _BOLD if view.loud(index) else _PLAIN
        line = text.head(line, width)
        return Strip([Segment(line + " " * (width - text.width(line)), style)], width)

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
