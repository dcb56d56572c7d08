"""The terminal: how wide it is, what it can draw. No name reaches it without being escaped."""

from __future__ import annotations

import os
from typing import Optional, Sequence, TextIO

from iotrace import text
from iotrace.streams import columns_of_terminal


class Screen:
    """What views draw on. It lets nothing through that the terminal cannot show."""

    def __init__(self, out: TextIO, columns: Optional[int] = None) -> None:
        """Without `columns` it is as wide as the terminal, but at least 50 columns."""
        self._out = out
        self.columns = max(50, columns_of_terminal()) if columns is None else columns
        self.unicode = can_encode(out, "\u2588\u258f\u2026\u65e5")
        self._bold = out.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"

    def name(self, raw: bytes) -> str:
        """A path or another untrusted name, made safe."""
        return self.label(text.safe(raw))

    def words(self, unsafe: str) -> str:
        """Untrusted text, made safe."""
        return self.label(text.safe_text(unsafe))

    def label(self, safe: str) -> str:
        """Safe text, reduced to the characters that the terminal has."""
        return safe if self.unicode else text.ascii_only(safe)

    def line(self, line: str = "") -> None:
        """Write one line of safe text."""
        self._out.write(line.rstrip(" ") + "\n")

    def wrapped(self, line: str) -> None:
        """Write safe text on as many lines as it needs."""
        for part in text.wrap(line, self.columns):
            self.line(part)

    def beside(self, start: str, value: str) -> None:
        """Write safe text to the right of `start`; further lines of it are indented to the same column."""
        for number, part in enumerate(text.wrap(value, max(2, self.columns - text.width(start)))):
            self.line((" " * text.width(start) if number else start) + part)

    def pieces(self, start: str, pieces: Sequence[str]) -> None:
        """Write pieces of safe text, each on one line if it fits, to the right of `start`, as `beside` does."""
        room = max(2, self.columns - text.width(start))
        line = ""
        for piece in pieces:
            if line and text.width(line) + 2 + text.width(piece) > room:
                self.beside(start, line)
                start, line = " " * text.width(start), ""
            line += ("  " if line else "") + piece
        self.beside(start, line)

    def loud(self, line: str) -> None:
        """Write a line that must not be overlooked."""
        for part in text.wrap(self.words(line), self.columns):
            self._out.write(f"\x1b[1;7m{part}\x1b[0m\n" if self._bold else part + "\n")

    def field(self, title: str, value: str) -> None:
        """Write a title and its value, which may take several lines."""
        self.beside(f"{title:<11} ", self.words(value or "-"))

    def flush(self) -> None:
        """Make everything written so far visible."""
        self._out.flush()


def can_encode(out: TextIO, sample: str) -> bool:
    """Whether what is in the sample can be written there."""
    try:
        sample.encode(out.encoding or "utf-8")  # io.StringIO has no encoding and takes everything
    except (UnicodeEncodeError, LookupError):
        return False
    return True
