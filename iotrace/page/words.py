"""Figures and names as the page shows them: those of `iotrace.text`, with the letters that a terminal may lack."""

from __future__ import annotations

from typing import Optional

from iotrace import text

LONGEST_NAME = 400
"""Characters of a name that are shown."""


def name(path: bytes, longest: int = LONGEST_NAME) -> str:
    """A path, or a part of one, for the page; of a very long one both ends, and how long it is."""
    if len(path) > longest:
        head, tail = path[: longest // 3], path[-2 * longest // 3 :]
        return f"{text.safe(head)} ... {text.safe(tail)} ({len(path):,} bytes)"
    return text.safe(path)


def words(unsafe: str, longest: int = 4000) -> str:
    """Untrusted text for the page."""
    return text.safe_text(unsafe if len(unsafe) <= longest else f"{unsafe[:longest]} ... ({len(unsafe):,} characters)")


def duration(ns: Optional[int]) -> str:
    """A time."""
    return "-" if ns is None else micro(text.duration(ns))


def micro(shown: str) -> str:
    """A figure with the letter that stands for a millionth."""
    return shown.replace(" us", " \u00b5s")
