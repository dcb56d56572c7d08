"""What each package offers: `__all__`, the list of names in its README.md, and the docstrings agree."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Iterator, List, Set, Tuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECTION = "## Names"


PACKAGES = ("asm", "programs", "pybpf", "iotrace")

every_package = pytest.mark.parametrize("name", PACKAGES)


def listed(text: str) -> List[str]:
    """The names that a README documents: those in back-ticks before the colon of each item under "## Names"."""
    _, _, section = text.partition(f"\n{SECTION}\n")
    items = re.split(r"^- ", section.partition("\n## ")[0], flags=re.MULTILINE)[1:]
    return [name for item in items for name in re.findall(r"`(\w+)`", item.partition(":")[0])]


def documented_parts(text: str, names: Set[str]) -> Iterator[str]:
    """Attributes of public names that a README mentions, as `Name.part`."""
    for name, part in re.findall(r"`(\w+)\.(\w+)[`(]", text):
        if name in names:
            yield f"{name}.{part}"


def parts(package: str, value: object) -> Iterator[Tuple[str, object]]:
    """The public methods and properties of a class, also of those that it inherits from in its package."""
    if not inspect.isclass(value):
        return
    for base in value.__mro__:
        if base.__module__.partition(".")[0] == package:
            for name, part in vars(base).items():
                is_method = isinstance(part, (property, classmethod, staticmethod)) or inspect.isfunction(part)
                if not name.startswith("_") and is_method:
                    yield f"{value.__name__}.{name}", part


def is_documented(value: object) -> bool:
    """Whether there is a docstring that somebody wrote, not one that the standard library made up."""
    made_up = f"{getattr(value, '__name__', '')}("
    text = getattr(value, "__doc__", None) or ""
    return bool(text.strip()) and not text.startswith(made_up) and text != "An enumeration."


def load(name: str) -> Tuple[ModuleType, Set[str]]:
    package = importlib.import_module(name)
    return package, set(package.__all__)


@every_package
def test_every_name_of_all_exists_once(name: str) -> None:
    package, names = load(name)
    assert len(package.__all__) == len(names)
    assert [each for each in names if not hasattr(package, each)] == []


@every_package
def test_what_a_package_imports_is_offered(name: str) -> None:
    """A name without an underscore is public; modules are reached as such, and names of others are not ours."""
    package, names = load(name)
    ours = {
        each
        for each, value in vars(package).items()
        if not each.startswith("_") and getattr(value, "__module__", "").partition(".")[0] == name
    }
    assert ours - names == set()


@every_package
def test_the_readme_lists_the_names_of_all_and_no_others(name: str) -> None:
    _, names = load(name)
    found = listed((ROOT / name / "README.md").read_text())
    assert sorted(found) == sorted(names)


@every_package
def test_what_a_readme_says_of_a_name_exists(name: str) -> None:
    package, names = load(name)
    text = (ROOT / name / "README.md").read_text()
    missing = []
    for each in documented_parts(text, names):
        owner, _, part = each.partition(".")
        value = getattr(package, owner)
        if not hasattr(value, part) and part not in getattr(value, "__annotations__", {}):
            missing.append(each)
    assert missing == []


@every_package
def test_everything_public_has_a_docstring(name: str) -> None:
    package, names = load(name)
    undocumented = []
    for each in sorted(names):
        value = getattr(package, each)
        if inspect.isclass(value) or inspect.isfunction(value):
            undocumented += [what for what, part in [(each, value), *parts(name, value)] if not is_documented(part)]
    assert undocumented == []


@every_package
def test_types_are_part_of_what_is_offered(name: str) -> None:
    assert (ROOT / name / "py.typed").read_text() == ""


def test_the_names_of_a_readme_are_those_before_the_colon() -> None:
    text = "# x\n`no`\n## Names\n\n- `a`, `b`: like `c`.\n- `d`:\n  more of `e`.\n\n## Else\n\n- `f`: no.\n"
    assert listed(text) == ["a", "b", "d"]
    assert list(documented_parts("`a.x`, `a.y(1)`, `z.x`", {"a"})) == ["a.x", "a.y"]


def test_missing_docstrings_are_found() -> None:
    class Silent:
        def method(self) -> None: ...

        @property
        def documented(self) -> int:
            """One."""
            return 1

    Silent.__module__ = "made.up"
    assert not is_documented(Silent)
    assert [(what, is_documented(part)) for what, part in parts("made", Silent)] == [
        ("Silent.method", False),
        ("Silent.documented", True),
    ]
