"""Whose a row is, where a file has one for each process, cgroup or user that did I/O on it (`run --by`)."""

from __future__ import annotations

import json
from typing import Any, Dict, NamedTuple, Optional, Union

from iotrace.profile.values import MAX_COUNTER, Kind, check_counts, check_path, check_range, check_short_text, text_of
from iotrace.untrusted import parse_json

WHOSE = ("process", "cgroup", "user")
"""What rows of a file can be apart by."""


class Who(NamedTuple):
    """One of those that did I/O."""

    by: str  # one of WHOSE
    name: Union[bytes, int]  # of the process; the path of the cgroup; the number of the user

    @property
    def word(self) -> bytes:
        """The name; of a user the number in decimal."""
        return self.name if isinstance(self.name, bytes) else b"%d" % self.name


def _parsed(value: Any) -> Optional[Who]:
    """From an object of one key, such as {"process": "postgres"}, or None. Raises ValueError."""
    if value is None:
        return None
    if type(value) is not dict or len(value) != 1 or next(iter(value)) not in WHOSE:
        raise ValueError("not one of whom a row can be of")
    ((by, name),) = value.items()
    if by == "user":
        check_counts((name,))
        check_range((name,))
        return Who(by, name)
    check_short_text(name)
    path = name.encode("utf-8", "surrogateescape")
    check_path(path)
    return Who(by, path)


def _loaded(value: Any) -> Optional[Who]:
    if value is None:
        return None
    check_short_text(value)
    return _parsed(parse_json(value))


def _dumped(who: Optional[Who]) -> Optional[Dict[str, Union[str, int]]]:
    return None if who is None else {who.by: text_of(who.name) if isinstance(who.name, bytes) else who.name}


def stored(who: Optional[Who]) -> Optional[str]:
    """The JSON text that a profile has for it."""
    if who is not None and isinstance(who.name, int) and who.name > MAX_COUNTER:
        raise OverflowError("a number is larger than 2^63-1")
    return None if who is None else json.dumps(_dumped(who))


WHO = Kind("TEXT", _loaded, store=stored, parse=_parsed, dump=_dumped)
"""How the values of the metric look in each of their forms."""
