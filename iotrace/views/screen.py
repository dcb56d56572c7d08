"""A terminal, or what stands in for one: how wide it is, what it can draw, and that no name reaches it unescaped."""

from __future__ import annotations

import os
import shutil
from typing import Optional, TextIO

from iotrace import text


class Screen:
    """Where views draw; lets nothing through that the terminal cannot show."""

    def __init__(self, out: TextIO, columns: Optional[int] = None) -> None:
        """As wide as the terminal and 80 columns at least, if `columns` does not say."""
        self._out = out
        self.columns = max(80, shutil.get_terminal_size((80, 24)).columns) if columns is None else columns
        self.unicode = _can_encode(out, "\u2588\u258f\u2026\u65e5")
        self._bold = out.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"

    def name(self, raw: bytes) -> str:
        """A path or another name from outside."""
        return self.label(text.safe(raw))

    def words(self, unsafe: str) -> str:
        """Text from outside."""
        return self.label(text.safe_text(unsafe))

    def label(self, safe: str) -> str:
        """Safe text, in what characters the terminal has."""
        return safe if self.unicode else text.ascii_only(safe)

    def line(self, line: str = "") -> None:
        """One line of safe text."""
        self._out.write(line.rstrip(" ") + "\n")

    def wrapped(self, line: str) -> None:
        """As many lines as the safe text needs."""
        for part in text.wrap(line, self.columns):
            self.line(part)

    def beside(self, start: str, value: str) -> None:
        """Safe text behind a start, continued below itself where it is long."""
        for number, part in enumerate(text.wrap(value, max(2, self.columns - text.width(start)))):
            self.line((" " * text.width(start) if number else start) + part)

    def loud(self, line: str) -> None:
        """A line that must not be overlooked."""
        for part in text.wrap(self.words(line), self.columns):
            self._out.write(f"\x1b[1;7m{part}\x1b[0m\n" if self._bold else part + "\n")

    def field(self, title: str, value: str) -> None:
        """A line `title  value`, continued below the value where it is long."""
        self.beside(f"{title:<11} ", self.words(value or "-"))

    def flush(self) -> None:
        """Show what was drawn so far."""
        self._out.flush()


def _can_encode(out: TextIO, sample: str) -> bool:
    try:
        sample.encode(out.encoding or "utf-8")  # io.StringIO has none, and takes everything
    except (UnicodeEncodeError, LookupError):
        return False
    return True
