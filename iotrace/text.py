"""Text for terminals, out of names that may hold anything: escaping, display width, truncation, human numbers."""

from __future__ import annotations

import re
import unicodedata
from typing import List, Sequence

# Control characters (C0, DEL, C1) drive the terminal; format characters (bidirectional overrides and isolates, zero
# width, tags) make a name look like another; surrogates stand for bytes that are not UTF-8; line and paragraph
# separators break lines; private use and unassigned have no agreed look. The backslash goes too, so that the
# escapes of two names never look alike.
_UNSAFE_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_PLAIN = re.compile(r"[ -\[\]-~]*\Z")
CUT = "..."
"""Stands where something was cut off: at the front of paths."""


def _escape(char: str) -> str:
    if char != "\\" and unicodedata.category(char) not in _UNSAFE_CATEGORIES:
        return char
    return _bytes_of(char)


def _bytes_of(char: str) -> str:
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


# What a file for other programs must not hold, by number: what is unassigned today would depend on the version of
# Python. Controls, the backslash, surrogates, and what has no width or turns the direction of writing.
_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f\\\\\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
# A cell that begins so is a formula, and where a spreadsheet takes another character for the separator, or for the
# quote, a cell may begin in the middle of one of ours. Some spreadsheets know the wide forms too.
_FORMULA = re.compile("(?:^|[;,|\"'])\\s*[=+@\uff1d\uff0b\uff20\uff0d-]")


def portable_text(text: str) -> str:
    """`text` for files that other programs read: UTF-8 without control characters or formulas.

    What cannot stay is written \\xNN, byte by byte, as are backslashes. It does not depend on the version of Python.
    """
    if _UNFIT.search(text):
        text = _UNFIT.sub(lambda match: _bytes_of(match.group()), text)
    if _FORMULA.search(text):
        text = _FORMULA.sub(lambda match: match.group()[:-1] + _bytes_of(match.group()[-1]), text)
    return text


def portable(path: bytes) -> str:
    """A path for files that other programs read, see `portable_text`."""
    return portable_text(path.decode("utf-8", "surrogateescape"))


def unescape(text: str) -> bytes:
    """The path that is written as `text`, with \\xNN for some of its bytes, on the terminal and in exports.

    Raises ValueError for text that stands for no bytes.
    """
    raw = text.encode("utf-8", "surrogateescape")
    return re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes((int(match.group(1), 16),)), raw)


def ascii_only(text: str) -> str:
    """Safe text for a terminal that has no more than ASCII: the rest as \\xNN too."""
    return "".join(c if c < "\x80" else "".join(f"\\x{byte:02x}" for byte in c.encode()) for c in text)


def _char_width(char: str) -> int:
    if char < "\u0300":
        return 1
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0  # drawn over the character before
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def width(text: str) -> int:
    """How many columns of a terminal safe text takes."""
    return len(text) if text.isascii() else sum(map(_char_width, text))


def _fitting(text: str, start: int, columns: int) -> int:
    """Where the longest piece of safe text that begins at `start` and fits ends."""
    used = 0
    for index in range(start, len(text)):
        used += _char_width(text[index])
        if used > columns:
            return index
    return len(text)


def head(text: str, columns: int) -> str:
    """The longest start of safe text that fits."""
    return text[: _fitting(text, 0, columns)]


def wrap(text: str, columns: int) -> List[str]:
    """Safe text in lines of at most `columns` (2 or more), broken at spaces, or inside words where it must be.

    The time that it takes grows with the length of the text and no faster: a profile may hold text of any length.
    """
    lines, used = [""], 0
    for word in text.split(" "):
        needed = width(word)
        if lines[-1] and used + 1 + needed <= columns:
            lines[-1] += " " + word
            used += 1 + needed
            continue
        if lines[-1]:
            lines.append("")
        start = 0
        while needed > columns:
            end = _fitting(word, start, columns)
            needed -= width(word[start:end])
            lines[-1] = word[start:end]
            lines.append("")
            start = end
        lines[-1], used = word[start:], needed
    return lines


def shorten(text: str, columns: int, mark: str = CUT) -> str:
    """Safe text cut in the middle to at most `columns`: of a path both ends matter, the end more."""
    if width(text) <= columns:
        return text
    room = columns - len(mark)
    if room <= 0:
        return mark[:columns]
    tail = head(text[::-1], room - room // 3)[::-1]
    while tail and _char_width(tail[0]) == 0:
        tail = tail[1:]  # a combining mark whose character was cut
    return head(text, room // 3) + mark + tail


def fitting(parts: Sequence[str], columns: int) -> str:
    """As many pieces of safe text, from the first on, as a line has room for, two blanks apart; all for 0 columns."""
    found = parts[0]
    for part in parts[1:]:
        if columns and width(found) + 2 + width(part) > columns:
            break
        found += "  " + part
    return found


def _scaled(value: float, base: int, units: Sequence[str]) -> str:
    """Three significant digits in the largest of `units` (each `base` times the one before) that leaves at least 1."""
    step = 0
    while value >= base - 0.5 and step < len(units) - 1:
        value, step = value / base, step + 1
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f}{units[step]}"


def shorten_path(path: str, columns: int, mark: str = CUT) -> str:
    """A safe path cut to at most `columns`, at the front, so that its last names stay readable."""
    if width(path) <= columns:
        return path
    room = columns - len(mark)
    if room <= 0:
        return mark[: max(columns, 0)]
    tail = head(path[::-1], room)[::-1]
    whole = tail.find("/")
    if 0 < whole < len(tail) - 1:
        tail = tail[whole:]  # from the beginning of a name
    while tail and _char_width(tail[0]) == 0:
        tail = tail[1:]
    return mark + tail


def size(count: int) -> str:
    """Bytes for a reader: 0, 17 B, 4.00 KiB, 1023 MiB. At most 8 columns up to the 64 bits of a counter."""
    if count < 1024:
        return f"{count} B" if count else "0"
    return _scaled(count / 1024, 1024, (" KiB", " MiB", " GiB", " TiB", " PiB", " EiB"))


def exact_size(count: int) -> str:
    """Bytes asked for, without rounding: 8 KiB, 1 MiB, 100 B, 12,345 B; "unlimited" from 1 PiB on.

    cp(1) asks copy_file_range for SSIZE_MAX. What no file has is asked for to have all there is.
    """
    if count >= 1 << 50:
        return "unlimited"
    for shift, unit in ((30, " GiB"), (20, " MiB"), (10, " KiB")):
        if count and count % (1 << shift) == 0:
            return f"{count >> shift:,}{unit}"
    return f"{count:,} B"


def number(count: int) -> str:
    """A count for a reader: exact below 100,000, then 123k, 1.23M. At most 5 columns up to 10^15."""
    return str(count) if count < 100_000 else _scaled(count / 1000, 1000, ("k", "M", "G", "T", "P", "E"))


def counted(count: int, noun: str) -> str:
    """1 file, 1,234 files, 2 processes."""
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"


def share(part: float) -> str:
    """A share, 0 to 1, in percent: 0% and 100% are said of nothing and of all alone. At most 4 columns."""
    percent = round(100 * part)
    if part and percent == 0:
        return "<1%"
    if part < 1 and percent == 100:
        return ">99%"
    return f"{percent}%"


def duration(ns: int) -> str:
    """A time for a reader: 0, 17 ns, 4.10 us, 12.3 ms, 99.1 s, 3h07m, 42d. At most 7 columns up to 2^63."""
    if ns < 1000:
        return f"{ns} ns" if ns else "0"
    if ns < 120 * 10**9:
        return _scaled(ns / 1000, 1000, (" us", " ms", " s"))
    minutes, seconds = divmod(ns // 10**9, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 1000:
        return f"{hours // 24}d"
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{seconds:02}s"
