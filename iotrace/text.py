"""Text for terminals, out of names that may hold anything: escaping, display width, truncation, human numbers."""

from __future__ import annotations

import re
import unicodedata

# Control characters (C0, DEL, C1) drive the terminal; format characters (bidirectional overrides and isolates, zero
# width, tags) make a name look like another; surrogates stand for bytes that are not UTF-8; line and paragraph
# separators break lines; private use and unassigned have no agreed look. The backslash goes too, so that the
# escapes of two names never look alike.
_UNSAFE_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_PLAIN = re.compile(r"[ -\[\]-~]*\Z")


def _escape(char: str) -> str:
    if char != "\\" and unicodedata.category(char) not in _UNSAFE_CATEGORIES:
        return char
    if "\ud800" <= char < "\udc80" or "\udcff" < char <= "\udfff":  # from JSON only: no bytes stand behind it
        return f"\\u{ord(char):04x}"
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


def safe_text(text: str) -> str:
    """`text` with whatever could move a terminal's cursor or mislead its reader as \\xNN, byte by byte."""
    if _PLAIN.match(text):
        return text
    return "".join(map(_escape, text))


def safe(path: bytes) -> str:
    """A path for the terminal: printable characters as they are, all else, and the backslash, as \\xNN."""
    return safe_text(path.decode("utf-8", "surrogateescape"))
