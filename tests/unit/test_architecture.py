"""The picture of imports, held to one table; and the size that a reader can take in at once.

Every import counts, also a late one and one for type checkers alone: a reader follows them all.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Set, Tuple

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Which package imports which.
PACKAGES = {"asm": "", "programs": "asm", "pybpf": "asm", "iotrace": "asm programs pybpf"}

# Each room of a package, that is a module or a sub-package, with the rooms of the package that it imports. A room names
# only rooms above it, so what is read from the top down needs no look ahead.
ROOMS: Dict[str, Dict[str, str]] = {
    "asm": {
        "errors": "",
        "isa": "",
        "kinds": "",
        "liveness": "errors",
        "layout": "errors",
        "maps": "kinds layout",
        "operands": "errors isa layout",
        "instruction": "errors isa maps operands",
        "requirements": "errors instruction isa kinds",
        "disassembly": "errors instruction isa requirements",
        "listing": "disassembly instruction isa operands",
        "program": "errors instruction isa kinds listing maps requirements",
        "emitter": "errors instruction isa kinds layout liveness operands program",
        "hazards": "errors isa liveness",
        "arithmetic": "emitter errors hazards instruction isa liveness operands",
        "memory": "emitter errors hazards instruction isa kinds liveness maps operands",
        "control": "emitter errors hazards instruction isa liveness operands requirements",
        "assembler": "arithmetic control errors isa maps memory operands",
    },
    "programs": {
        "facts": "",
        "way": "facts",
        "counting": "facts way",
        "files": "counting facts way",
        "calls": "counting facts files way",
        "requests": "calls counting facts files way",
        "build": "calls facts files requests way",
    },
    "pybpf": {
        "attributes": "",
        "privileges": "",
        "syscalls": "attributes privileges",
        "descriptor": "",
        "cpus": "",
        "parallel": "descriptor",
        "mounts": "syscalls",
        "types": "descriptor mounts",
        "features": "attributes descriptor privileges syscalls types",
        "maps": "attributes cpus descriptor features parallel syscalls types",
        "verifier": "syscalls types",
        "programs": "attributes descriptor features maps parallel syscalls types verifier",
        "links": "attributes cpus descriptor parallel programs syscalls",
        "grace": "maps syscalls",
        "events": "attributes cpus descriptor maps syscalls",
        "calibration": "links maps programs syscalls types",
        "examples": "",
    },
    "iotrace": {
        "errors": "",
        "streams": "",
        "text": "",
        "release": "",
        "untrusted": "",
        "globs": "errors",
        "places": "errors",
        "atomic": "errors places",
        "directories": "atomic errors places",
        "forked": "",
        "kernel": "atomic errors forked places untrusted",
        "profile": "atomic errors globs places untrusted",
        "tracing": "errors forked globs kernel places profile release text",
        "findings": "errors globs profile text",
        "views": "errors findings globs profile streams text",
        "page": "errors findings globs profile release text views",
        "live": "errors globs profile text tracing views",
        "tui": "errors findings globs live profile text views",
        "starting": "",
        "fio": "errors globs profile release text tracing",
        "commands": "atomic directories errors findings fio globs kernel live page profile release starting text "
        "tracing tui views",
        "cli": "errors release starting streams text",
        "environment": "",
        "__main__": "cli environment starting streams",
    },
}

MODULE_LINES, FUNCTION_LINES = 450, 60
REASON = "Long because"  # how the sentence begins, in the docstring of what is longer


def modules() -> Dict[str, Path]:
    """Every module of the four packages by its dotted name; a package's is that of its `__init__`."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name[: -len(".__init__")] if name.endswith(".__init__") else name] = path
    return found


def imports(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """The modules of ours that a module imports, anywhere in its text.

    `from a import b` imports the module a.b if there is one, else a.
    """
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
            wanted = [full if full in known else base for full in names]
        else:
            continue
        yield from (one for one in wanted if one in known)


@functools.lru_cache(maxsize=None)
def arrows() -> Set[Tuple[str, str]]:
    """Every pair of modules of which the first imports the second."""
    known = modules()
    return {(name, of) for name, path in known.items() for of in imports(name, path, known) if of != name}


def room(name: str) -> Tuple[str, str]:
    """The package that a module is of, and its room there, empty for the package's own `__init__`."""
    package, _, rest = name.partition(".")
    return package, rest.partition(".")[0]


def unit_lines(path: Path) -> Iterator[Tuple[str, int, int, str]]:
    """The module and its functions: name, lines, how many are allowed, docstring."""
    text = path.read_text()
    tree = ast.parse(text)
    place = str(path.relative_to(ROOT))
    yield place, text.count("\n"), MODULE_LINES, ast.get_docstring(tree) or ""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            yield (
                f"{place}:{node.name}",
                node.end_lineno - node.lineno + 1,
                FUNCTION_LINES,
                ast.get_docstring(node) or "",
            )


def test_the_tables_run_one_way() -> None:
    """Each names what it imports among what stands before it, so no circle can be declared."""
    for table in (PACKAGES, *ROOMS.values()):
        before: List[str] = []
        for name, below in table.items():
            assert set(below.split()) <= set(before), name
            before.append(name)
    assert list(ROOMS) == list(PACKAGES)


def test_the_design_has_every_room_and_every_tool() -> None:
    design = (ROOT / "DESIGN.md").read_text()
    rooms = [f"{package}/{name}/" for package, table in ROOMS.items() for name in table if package != "asm"]
    assert [room for room in rooms if (ROOT / room).is_dir() and f"`{room}`" not in design] == ["pybpf/examples/"]
    (line,) = (line for line in design.splitlines() if line.startswith("    tools/"))
    tools = {path.name for path in (ROOT / "tools").iterdir() if path.is_file() and not path.suffix}
    assert set(line.replace(",", "").split()[1:]) == tools


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_what_the_table_says(package: str) -> None:
    found = {room(of)[0] for name, of in arrows() if room(name)[0] == package}
    assert found - {package} == set(PACKAGES[package].split())


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_import_what_the_table_says(package: str) -> None:
    """No arrow that is not declared, and none declared that is not there."""
    found: Dict[str, Set[str]] = {room(name)[1]: set() for name in modules() if room(name)[0] == package}
    for name, of in arrows():
        (home, own), (there, other) = room(name), room(of)
        if home == there == package and other not in (own, ""):
            found[own].add(other)
    found.pop("")  # what a package offers is drawn from all of its rooms
    assert {own: " ".join(sorted(others)) for own, others in found.items()} == {
        own: " ".join(sorted(others.split())) for own, others in ROOMS[package].items()
    }


def test_no_circle_of_modules() -> None:
    """Not even within a room: whatever imports nothing that is left goes, until nothing is left."""
    left: Dict[str, Set[str]] = {name: set() for name in modules()}
    for name, of in arrows():
        left[name].add(of)
    while left:
        free = {name for name, below in left.items() if not below & set(left)}
        assert free, f"a circle among {sorted(left)}"
        left = {name: below for name, below in left.items() if name not in free}


def sources() -> List[Path]:
    """The four packages, the tools, which have no suffix, and the tests."""
    scripts = [path for path in (ROOT / "tools").iterdir() if path.is_file() and path.read_bytes()[:2] == b"#!"]
    python = [path for path in scripts if b"python" in path.read_bytes().partition(b"\n")[0]]
    return sorted([*modules().values(), *(ROOT / "tools").rglob("*.py"), *python, *(ROOT / "tests").rglob("*.py")])


def test_what_is_long_says_why() -> None:
    units = [unit for path in sources() for unit in unit_lines(path)]
    assert not [name for name, lines, most, docstring in units if lines > most and REASON not in docstring]
