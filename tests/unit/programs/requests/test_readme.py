"""What the documents of asynchronous requests say of their programs, held to the programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, Iterator, Set, Tuple

import pytest

import programs.requests
from tests.unit.programs.edges import edges

README = (Path(programs.requests.__file__).parent / "README.md").read_text()
OURS = re.compile(r"enter_aio|exit_aio_\w+|aio_\w+|uring_\w+")


def told() -> Dict[str, Set[str]]:
    """The rows of both tables: a program, and what it goes on with."""
    rows = re.findall(r"^\| `(\w+)` \|.*\|([^|]*)\|$", README, re.MULTILINE)
    return {program: set(re.findall(r"`(\w+)`", after)) for program, after in rows if OURS.fullmatch(program)}


def found() -> Dict[str, Set[str]]:
    """The same of the programs."""
    return {program: after for program, after in edges().items() if OURS.fullmatch(program)}


@pytest.mark.slow
def test_the_tables_list_every_program_and_what_it_goes_on_with() -> None:
    assert told() == found()


def modules() -> Iterator[Tuple[str, str]]:
    """What a row of a table names as a module, or a folder, of the package."""
    for row in README.splitlines():
        if row.startswith("|"):
            yield from ((row, name) for name in re.findall(r"`((?:\w+/)*\w+\.py|\w+/)`", row))


def test_the_modules_that_it_names_are_there() -> None:
    here = Path(programs.requests.__file__).parent
    assert [row for row, name in modules() if not ((here / name).exists() or (here.parent / name).exists())] == []
