"""The Python library as a program uses it: what it imports, what it finds, and that no name is in one list alone."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

import iotrace
from iotrace.profile.writer import write
from tests.unit.iotrace.profile.samples import sample

ROOT = Path(iotrace.__file__).parent.parent
README = (Path(iotrace.__file__).parent / "README.md").read_text()
LISTED = [name for name in iotrace.__all__ if name not in ("__version__", "version")]


def test_a_profile_is_opened_and_walked(tmp_path: Path) -> None:
    write(tmp_path / "p", iotrace.Header(host="h"), sample(30))
    with iotrace.open(tmp_path / "p") as profile:
        assert profile.header.host == "h"
        found = [(file.path, file.syscalls["pread64"].calls) for file in profile.files(sort="read", limit=2)]
        chosen = list(profile.files(selection=iotrace.Selection((b"*/000007.dat",))))
    assert found == [(b"/srv/029/000029.dat", 2), (b"/srv/028/000028.dat", 1)]
    assert [file.inode for file in chosen] == [7]
    with pytest.raises(iotrace.ProfileError):
        iotrace.open(tmp_path)


def test_names_are_imported_when_they_are_asked_for() -> None:
    """Who only wants the version does not wait for SQLite, and who reads profiles does not wait for the loader."""
    for words, there, missing in (
        ("iotrace.version()", "iotrace.release", ["sqlite3", "iotrace.profile", "iotrace.tracing", "pybpf"]),
        ("iotrace.open", "sqlite3", ["iotrace.tracing", "iotrace.views", "pybpf", "asm"]),
    ):
        program = f"import iotrace, sys; {words}; print(*sys.modules)"
        out = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT, check=True).stdout
        modules = out.decode().split()
        assert there in modules and not set(missing) & set(modules), words


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        iotrace.nonsense  # type: ignore[attr-defined]  # noqa: B018


def test_what_is_imported_late_and_for_type_checkers_is_what_is_offered() -> None:
    tree = ast.parse(Path(iotrace.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name))
    shown = {
        (node.module, alias.name) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert shown == {(module, name) for name, module in iotrace._HOME.items()}
    assert sorted(name for _module, name in shown) == sorted(LISTED)


def blocks() -> List[str]:
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_first_example_of_the_readme_runs(tmp_path: Path) -> None:
    write(tmp_path / "run.iotrace", iotrace.Header(host="here"), sample(3))
    example = next(block for block in blocks() if "iotrace.open" in block)
    words = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{example}"]
    out = subprocess.run(words, stdout=subprocess.PIPE, cwd=tmp_path, check=True).stdout.decode().splitlines()
    assert out[:3] == ["here {'events': 0, 'files': 0, 'calls': 0}", "b'/srv/000/000000.dat' 3 0", "    close 1 {} {}"]
