"""What works on which kernel: builds iotrace in one file, has each guest try it, and lays out what they say."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Dict, Iterable, List, Optional, Sequence, Tuple

from . import compat, machine
from .kernels import Kernel

ROOT = Path(__file__).resolve().parents[2]
RESULT = "RESULT "  # what guest.py starts a result with
# iotrace once as the one file that it is; then its contents, which Python need not compile anew for each run.
COMMAND = """\
python3 iotrace.pyz --version && python3 -m zipfile -e iotrace.pyz iotrace && exec python3 guest.py iotrace"""
TIMEOUT = 900.0


@dataclass(frozen=True)
class Result:
    """One case, one way to attach, one source of offsets, one kernel."""

    kernel: str
    release: str
    machine: str
    attach: str
    offsets: str
    case: str
    status: str  # what guest.py says of it
    reason: str


def build() -> bytes:
    """iotrace.pyz of this checkout."""
    with tempfile.TemporaryDirectory(prefix="pyz-") as directory:
        target = Path(directory) / "iotrace.pyz"
        command = [sys.executable, str(ROOT / "tools/build-pyz"), "-o", str(target)]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        return target.read_bytes()


def examine(
    kernel: Kernel, pyz: bytes, options: Sequence[str] = (), show: Optional[IO[str]] = None
) -> Tuple[List[Result], str]:
    """Every result of one kernel, and how often it had to be booted if more than once.  Raises machine.GuestError."""
    tests = ROOT / "tests"
    files: Dict[str, machine.Content] = {
        "work/iotrace.pyz": pyz,
        "work/compat": (compat.program(kernel.architecture), 0o755),
    }
    for name in ("guest.py", "workloads.py"):
        files[f"work/{name}"] = (tests / "vm" / name).read_bytes()
    for name in ("__init__.py", "strace.py", "compare.py"):
        files[f"work/apps/{name}"] = (tests / "apps" / name).read_bytes()
    command = " ".join([COMMAND, *options])
    outcome = machine.run(kernel, command, files, timeout=TIMEOUT, show=show)
    results = list(parse(kernel.name, outcome.output.splitlines()))
    if outcome.status != 0 or not results:
        raise machine.GuestError(f"{kernel.name}: guest.py ended with {outcome.status}:\n{outcome.output}")
    return results, f"{kernel.name} took {outcome.boots} boots" if outcome.boots > 1 else ""


def parse(kernel: str, lines: Iterable[str]) -> Iterable[Result]:
    """The results among what a guest printed."""
    for line in lines:
        if line.startswith(RESULT):
            yield Result(kernel=kernel, **json.loads(line[len(RESULT) :]))


def table(results: Sequence[Result]) -> str:
    """A row for each kernel, a column for each way to run (as Markdown), and below it the reasons."""
    ways = list(dict.fromkeys((result.attach, result.offsets) for result in results))
    kernels = list(dict.fromkeys((result.release, result.machine) for result in results))
    rows = [["kernel", "machine", *(f"{attach}, {offsets}" for attach, offsets in ways)]]
    rows.append(["---"] * len(rows[0]))
    for release, architecture in kernels:
        cells = [
            _cell([r for r in results if (r.release, r.attach, r.offsets) == (release, *way)]) for way in ways
        ]
        rows.append([release, architecture, *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines[1] = lines[1].replace(" ", "-").replace("|-", "| ").replace("-|", " |")
    return "\n".join([*lines, "", *_reasons(results)])


def _reasons(results: Sequence[Result]) -> List[str]:
    """What went wrong, each thing once with all the cases that it befell."""
    cases: Dict[Tuple[str, str], List[str]] = {}
    for result in results:
        if result.status in ("failed", "incomplete"):
            for line in result.reason.splitlines():
                cases.setdefault((f"{result.release} {result.attach} {result.offsets}", line), []).append(result.case)
    return [f"{way} {' '.join(names)}: {line}" for (way, line), names in cases.items()]


def _cell(results: Sequence[Result]) -> str:
    impossible = sorted({result.reason for result in results if result.status == "impossible"})
    if impossible:
        return f"not possible: {', '.join(impossible)}"
    failed = [result.case for result in results if result.status == "failed"]
    incomplete = [result.case for result in results if result.status == "incomplete"]
    parts = [f"{what}: {' '.join(cases)}" for what, cases in (("failed", failed), ("incomplete", incomplete)) if cases]
    return "; ".join(parts) or ("ok" if results else "")
