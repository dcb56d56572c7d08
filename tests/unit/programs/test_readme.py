"""What the document of the programs says of them, held to them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List, Set

import pytest

import programs
from asm import Register, r7, r8
from programs.facts import maps, records
from programs.facts.catalogue import SYSTEM_CALLS
from programs.way import registers
from tests.unit.programs.edges import edges
from tests.unit.programs.forms import NEWEST

HERE = Path(programs.__file__).parent
README = (HERE / "README.md").read_text()
OF_REQUESTS = re.compile(r"enter_aio|exit_aio_\w+|aio_\w+|uring_\w+")


def rows(section: str) -> List[List[str]]:
    """The cells of the table under a heading, without its head."""
    text = README.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return cells[2:]


def names(cell: str) -> List[str]:
    return re.findall(r"`(\w+)`", cell)


def expanded(name: str) -> List[str]:
    """The programs that a name stands for: NAME is that of any system call."""
    if not name.endswith("NAME"):
        return [name]
    endless = [call.name for call in SYSTEM_CALLS if not call.returns]
    calls = [call.name for call in SYSTEM_CALLS if name.startswith("enter") or call.name not in endless]
    return [name.replace("NAME", call) for call in calls]


def told() -> Dict[str, Set[str]]:
    """The table of programs, and what each goes on with."""
    found: Dict[str, Set[str]] = {}
    for program, _, _, after in rows("Programs"):
        first, *more = names(program)
        several = [f"enter_{arity}" for arity in range(7)] if "..." in program else [first, *more]
        for name in (each for one in several for each in expanded(one)):
            found[name] = {name} if after == "itself" else set(names(after))
    return found


@pytest.mark.slow
def test_the_table_lists_every_program_and_what_it_goes_on_with() -> None:
    assert told() == {program: after for program, after in edges().items() if not OF_REQUESTS.fullmatch(program)}


def test_the_table_of_maps_lists_every_map_with_its_records() -> None:
    declared = maps.declare(NEWEST).all()
    table = {names(name)[0]: (key, value) for name, _, key, value, _ in rows("Maps")}
    assert set(table) == set(declared)
    for name, (key, value) in table.items():
        for cell, kind in ((key, declared[name].key), (value, declared[name].value)):
            record = [each for each in names(cell) if hasattr(records, each)]
            if record:
                assert kind is getattr(records, record[0]), name
            else:
                assert getattr(kind, "name", None) in (None, "u32", "u64"), name


def test_the_table_of_registers_names_roles_of_those_registers() -> None:
    for phase, *cells in rows("Registers"):
        for cell, register in zip(cells, (r7, r8)):
            assert {getattr(registers, role) for role in names(cell)} == {register}, phase


def test_every_role_of_a_register_says_what_it_is() -> None:
    text = Path(registers.__file__).read_text()
    roles = [name for name, value in vars(registers).items() if isinstance(value, Register) and name.isupper()]
    assert roles and all(re.search(rf'^{role} = r[6-9]\n"""\w', text, re.MULTILINE) for role in roles)


def test_the_modules_that_it_names_are_there() -> None:
    named = set(re.findall(r"`((?:\w+/)*\w+\.(?:py|md)|(?:\w+/)+)`", README))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (HERE / name).exists() and not (HERE.parent / name).exists()] == []
