"""The programs as they were reviewed.

What every call passes through is kept as a listing, and so is each idiom; all programs are pinned in one table, in some
twenty forms that have every value of every axis. `pytest tests/unit/programs/test_listings.py --update-golden` writes
both anew: read the difference before it is kept.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Dict, Iterator, List, Tuple, Type, cast

import pytest

from asm import U64, Assembler, Layout, ProgramSpec, ProgramType, field, r0, r1
from tests.unit.programs import table
from tests.unit.programs.every import PINNED, every_pinned_form
from tests.unit.programs.forms import FORMS, GOLDEN_SETS, NEWEST, OLDEST, Form, built_as
from tests.unit.programs.idioms import IDIOMS, listing_of

GOLDEN = Path(__file__).parent / "golden"
TABLE = GOLDEN / "programs.txt"
LISTED = {
    "raw": ["enter", "exit", "exit_close", "exit_open", "walk_0", "enter_aio", "aio_note", "exit_aio_submit"],
    "perf": ["enter_3"],
    "fentry": ["leave_read"],
}
MEANT = "if the change is meant: pytest tests/unit/programs --update-golden"


@pytest.fixture(scope="session")
def updating(pytestconfig: pytest.Config) -> bool:
    return bool(pytestconfig.getoption("--update-golden", False))


# -- listings ----------------------------------------------------------------------------------------------------------


def compare(path: Path, found: str, updating: bool) -> None:
    """Fails with the differing lines unless `found` is what was reviewed."""
    if updating:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found)
    if not path.exists():
        pytest.fail(f"{path.name} was never reviewed; {MEANT}", pytrace=False)
    different = difference(path.read_text(), found)
    if different:
        pytest.fail("\n".join([f"{path.parent.name}/{path.name} has changed; {MEANT}", *different]), pytrace=False)


def difference(reviewed: str, found: str) -> List[str]:
    return list(difflib.unified_diff(reviewed.splitlines(), found.splitlines(), "reviewed", "found", lineterm=""))


@pytest.mark.parametrize(("form", "name"), [(form, name) for form, names in LISTED.items() for name in names])
def test_the_listing_is_the_one_that_was_reviewed(form: str, name: str, updating: bool) -> None:
    compare(GOLDEN / form / f"{name}.txt", GOLDEN_SETS[form].programs[name].listing(), updating)


@pytest.mark.parametrize("name", IDIOMS)
def test_the_idiom_is_the_one_that_was_reviewed(name: str, updating: bool) -> None:
    newest = listing_of(name, NEWEST)
    oldest = newest if IDIOMS[name].newest_only else listing_of(name, OLDEST)
    text = newest if newest == oldest else f"-- on the newest kernel\n{newest}\n-- on 4.14\n{oldest}"
    compare(GOLDEN / "idioms" / f"{name}.txt", text, updating)


def test_no_listing_is_left_of_what_is_gone(updating: bool) -> None:
    kept = {
        GOLDEN / form / f"{name}.txt" for form, names in {**LISTED, "idioms": list(IDIOMS)}.items() for name in names
    }
    for path in sorted(set(GOLDEN.glob("*/*.txt")) - kept):
        assert updating, f"{path} belongs to no program and no idiom"
        path.unlink()


def sample(fields: str, extra: bool) -> ProgramSpec:
    """Counts in a record on the stack, with a macro whose labels are numbered."""
    a = Assembler("sample", ProgramType.TRACEPOINT)
    record = cast(Type[Layout], type("Record", (Layout,), {name: field(U64) for name in fields.split()}))
    first, count = record.fields["first"], record.fields["count"]

    def skip_if_negative() -> None:
        done = a.unique("done")
        a.jslt(r0, 0, done)
        a.add(r0, 1)
        a.label(done)

    kept = a.slot("kept", record)
    a.zero(kept)
    a.ldx(r0, kept[first])
    if extra:
        skip_if_negative()
        a.ld_imm64(r1, 1 << 40, "inserted")
    skip_if_negative()
    a.addr(r1, kept[count])
    a.stx(kept[count], r0)
    a.exit()
    return a.program()


def changed(one: ProgramSpec, other: ProgramSpec) -> List[str]:
    return [line for line in difference(one.listing(), other.listing())[2:] if line[0] in "+-"]


def test_a_listing_changes_only_where_the_program_does() -> None:
    """Not behind an instruction that is inserted, nor where a field has moved, whose offset the bytes show."""
    plain = sample("first count", False)
    assert changed(plain, sample("first count", True)) == [
        "+    if r0 s< 0 goto done",
        "+    r0 += 1",
        "+done:",
        "+    r1 = 0x10000000000                      ; inserted",
    ]
    moved = sample("first between count", False)
    assert changed(plain, moved) == ["+    stack[kept].u64(16) = 0"]
    assert plain.tag() != moved.tag()


def test_a_changed_listing_is_shown_by_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "sample.txt"
    path.write_text(sample("first count", False).listing())
    compare(path, sample("first count", False).listing(), False)
    with pytest.raises(pytest.fail.Exception) as caught:
        compare(path, sample("first count", True).listing(), False)
    assert "\n+    r1 = 0x10000000000                      ; inserted\n" in str(caught.value)
    with pytest.raises(pytest.fail.Exception, match="never reviewed"):
        compare(tmp_path / "new.txt", "", False)


# -- the table ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def pinned(updating: bool) -> Tuple[Dict[str, Dict[str, str]], Dict[Form, table.Tags]]:
    """The rows of the sets and the tags of the forms that were reviewed."""
    if updating:
        TABLE.write_text(table.render(GOLDEN_SETS, {form: table.tags(built_as(form)) for form in PINNED}))
    return table.parse(TABLE.read_text())


def no_changes(lines: List[str]) -> None:
    if lines:
        pytest.fail("\n".join([f"programs have changed; {MEANT}", *lines]), pytrace=False)


@pytest.mark.parametrize("name", GOLDEN_SETS)
def test_the_programs_of_a_set_are_those_of_the_table(
    name: str, pinned: Tuple[Dict[str, Dict[str, str]], Dict[Form, table.Tags]]
) -> None:
    no_changes(table.changes(pinned[0].get(name, {}), table.rows(GOLDEN_SETS[name])))


@every_pinned_form
def test_the_programs_of_a_form_are_those_of_the_table(
    form: Form, pinned: Tuple[Dict[str, Dict[str, str]], Dict[Form, table.Tags]]
) -> None:
    no_changes(table.changes(pinned[1].get(form, {}), table.tags(built_as(form))))


def test_the_table_holds_no_other_set_and_no_other_form(
    pinned: Tuple[Dict[str, Dict[str, str]], Dict[Form, table.Tags]],
) -> None:
    assert set(pinned[0]) == set(GOLDEN_SETS)
    assert set(pinned[1]) == set(PINNED)


def test_every_value_of_every_axis_is_pinned() -> None:
    assert [set(axis) for axis in zip(*PINNED)] == [set(axis) for axis in zip(*FORMS)]


def test_the_table_reads_back_as_it_was_written() -> None:
    def made_up() -> Iterator[Tuple[Form, table.Tags]]:
        for number, form in enumerate(FORMS):
            yield form, {"same": f"{0:016x}", "own": f"{number:016x}", f"of_{form.attach}": form.machine.rjust(16, "x")}

    forms = dict(made_up())
    text = table.render({"raw": GOLDEN_SETS["raw"]}, forms)
    assert table.parse(text) == ({"raw": table.rows(GOLDEN_SETS["raw"])}, forms)
    assert sum(line.startswith("same ") for line in text.splitlines()) < 5


def test_what_has_changed_in_the_table_is_told_by_program() -> None:
    rows = {"kept": "1", "changed": "2", "gone": "3"}
    assert table.changes(rows, rows) == []
    assert table.changes(rows, {"kept": "1", "changed": "4", "new": "5"}) == [
        "changed:",
        "  - 2",
        "  + 4",
        "gone: is gone",
        "new: is new",
    ]
