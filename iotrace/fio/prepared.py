"""What is handed over to be run: a job file, and how its files lead back to what it was made from."""

from __future__ import annotations

from typing import Callable, NamedTuple, Sequence


class Prepared(NamedTuple):
    """The text of a job file."""

    text: str
    room: int  # bytes that its files take
    names: Sequence[str]  # of the loads
    load_of: Callable[[str], str]  # the name of the load that a file is of
