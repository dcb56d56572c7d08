"""What a run imports: the standard library, less what is slow in it, and of ours what tracing takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import List, Set

import pytest

from tests import needs
from tools.places import ROOT

pytestmark = needs.root

OURS = {"asm", "iotrace", "programs", "pybpf"}
# The rooms of a run that shows nothing, and those that the first screen at its end takes besides.
TRACING = {
    "__main__",
    "atomic",
    "cli",
    "commands",
    "environment",
    "errors",
    "forked",
    "globs",
    "kernel",
    "places",
    "profile",
}
TRACING |= {"release", "starting", "streams", "text", "tracing", "untrusted"}
SCREEN = {"findings", "views"}
SLOW = {"asyncio", "concurrent", "email", "hashlib", "http", "importlib.metadata", "logging", "multiprocessing"}
SLOW |= {"pathlib", "random", "ssl", "tempfile", "unittest", "urllib.request", "xml"}


def imported(place: Path, *options: str) -> Set[str]:
    """The modules that a run has imported at its end, as the interpreter tells, which has no other packages (-S)."""
    words = [sys.executable, "-I", "-S", "-X", "importtime", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})"]
    words[-1] += "; from iotrace.__main__ import command; command()"
    done = subprocess.run(
        [*words, "run", *options, "-o", str(place / "p.iotrace"), "--", "true"], stderr=subprocess.PIPE, check=True
    )
    lines = [line for line in done.stderr.decode().splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines[1:]}


@pytest.mark.parametrize(("options", "rooms"), [(["-q"], TRACING), ([], TRACING | SCREEN)], ids=["quiet", "screen"])
def test_what_a_run_imports(options: List[str], rooms: Set[str], place: Path) -> None:
    found = imported(place, *options)
    ours = {name for name in found if name.partition(".")[0] in OURS}
    assert {name.split(".")[1] for name in ours if name.startswith("iotrace.")} == rooms
    # iotrace.commands.run is imported by its name, which the interpreter does not tell.
    assert {name for name in ours if name.startswith("iotrace.commands.")} == {
        *("iotrace.commands.options", "iotrace.commands.running", "iotrace.commands.selectors")
    }
    assert not found & SLOW
