"""What the package offers to others, and what it costs to ask for a part of it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pybpf
from asm import ProgramType
from pybpf.examples import scheduler_latency, syscalls_by_process
from pybpf.types.tracefs import TraceField, TracepointFormat

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "pybpf/README.md").read_text()


def test_every_name_is_there() -> None:
    for name in pybpf.__all__:
        assert getattr(pybpf, name) is not None, name
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        pybpf.no_such_name  # type: ignore[attr-defined]  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    """`__all__`, what is imported late, and what is imported for type checkers are three lists of one thing."""
    tree = ast.parse((ROOT / "pybpf/__init__.py").read_text())
    checked, _ = (node for node in tree.body if isinstance(node, ast.If))
    shown = {
        (node.module, alias.name) for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert shown == {(home, name) for name, home in pybpf._HOME.items()}
    assert {name for _home, name in shown} == set(pybpf.__all__)
    assert (ROOT / "pybpf/py.typed").exists()


def test_a_part_is_imported_without_the_rest() -> None:
    code = "import sys, pybpf; pybpf.BpfError; print(*(name for name in sys.modules if name.startswith('pybpf')))"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True)
    assert set(done.stdout.split()) == {"pybpf", "pybpf.attributes", "pybpf.privileges", "pybpf.syscalls"}


def test_examples_need_no_more_than_4_14() -> None:
    numbers = ["prev_pid", "prev_state", "next_pid", "pid"]
    fields = {name: TraceField(name, "int", 8 * number, 4, True) for number, name in enumerate(numbers, 1)}
    event = TracepointFormat("sched_switch", 1, fields)
    for program in (
        scheduler_latency.switched(event, [1, 2]),
        scheduler_latency.woken(event, []),
        syscalls_by_process.counter(ProgramType.TRACEPOINT),
    ):
        assert program.requires().version <= (4, 14), program.name
        assert program.slots < 4096


def test_the_readme_shows_the_example_of_the_package() -> None:
    """The one that tests/kernel/test_examples.py runs."""
    assert pybpf.__doc__ is not None
    code = [line[4:] for line in pybpf.__doc__.splitlines() if line.startswith("    ") or not line]
    (shown,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert "\n".join(code).strip() == shown.strip()


def test_the_readme_names_every_module() -> None:
    table = [row.partition("|")[0] for row in re.findall(r"^\| (`.*)$", README, re.MULTILINE)]
    named = {name for row in table for name in re.findall(r"`(\w+)`", row)}
    modules = {path.name.partition(".")[0] for path in (ROOT / "pybpf").iterdir() if path.suffix in ("", ".py")}
    assert named == modules - {"__init__", "__pycache__", "examples"}
