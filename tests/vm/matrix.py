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
from .kernels import Bootable

ROOT = Path(__file__).resolve().parents[2]
RESULT = "RESULT "  # what guest.py starts a result with
# iotrace once as the one file that it is; then its contents, which Python need not compile anew for each run.
COMMAND = """\
python3 iotrace.pyz --version && python3 -m zipfile -e iotrace.pyz iotrace && exec python3 tests/vm/guest.py iotrace"""
TIMEOUT = 1000.0  # seconds for one kernel; some 300 are needed, of two CPUs that have nothing else to do
SILENCE = 240.0  # seconds without a line: a guest that works prints results, the slowest after a minute
# Cases that are families of calls, about which iotrace says by itself what it covers.
FAMILIES = {"aio": "Linux AIO", "io_uring": "io_uring"}
# What of tests/ runs in a guest, where there is nothing but Python's own library.
GUEST = {
    ".": "__init__ children",
    "apps": "__init__ aio compare gate observe ring rings scenario strace strace_line traced",
    "vm": "__init__ guest requests together workloads",
}


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
    coverage: str = ""  # what iotrace says that it covers, of a family of calls of its own


def build() -> bytes:
    """iotrace.pyz of this checkout."""
    with tempfile.TemporaryDirectory(prefix="pyz-") as directory:
        target = Path(directory) / "iotrace.pyz"
        command = [sys.executable, str(ROOT / "tools/build-pyz"), "-o", str(target)]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        return target.read_bytes()


def guest_files() -> List[Path]:
    """The modules that the guest imports, in the places that they have in the checkout."""
    return [ROOT / "tests" / place / f"{name}.py" for place, names in GUEST.items() for name in names.split()]


def examine(
    kernel: Bootable, pyz: bytes, options: Sequence[str] = (), show: Optional[IO[str]] = None
) -> Tuple[List[Result], str]:
    """Every result of one kernel, and how often it had to be booted if more than once.  Raises machine.GuestError."""
    files: Dict[str, machine.Content] = {
        "work/iotrace.pyz": pyz,
        "work/tests/vm/compat": (compat.program(kernel.architecture), 0o755),
    }
    for path in guest_files():
        files[f"work/{path.relative_to(ROOT)}"] = path.read_bytes()
    command = " ".join([COMMAND, *options])
    outcome = machine.run(kernel, command, files, timeout=TIMEOUT, silence=SILENCE, show=show)
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
    """Markdown: what was traced rightly, then what iotrace says that it covers of each family, then the reasons.

    A row for each kernel, or for each family on it, and a column for each way to run.
    """
    ways = list(dict.fromkeys((result.attach, result.offsets) for result in results))
    families = [result for result in results if result.case in FAMILIES]
    others = [result for result in results if result.case not in FAMILIES]
    parts = []
    if others:
        rows = [[*kernel, *(_cell(found) for found in cells)] for kernel, cells in _by_kernel(others, ways)]
        parts.append(_markdown(["kernel", "machine", *map(", ".join, ways)], rows))
    if families:
        rows = []
        for case, name in FAMILIES.items():
            own = [result for result in families if result.case == case]
            rows += [[name, *kernel, *map(_covered, cells)] for kernel, cells in _by_kernel(own, ways)]
        parts.append(_markdown(["", "kernel", "machine", *map(", ".join, ways)], rows))
    reasons = "\n".join([*_lacks(families), *_reasons(results)])
    return "\n\n".join([*parts, *([reasons] if reasons else [])])


def _by_kernel(
    results: Sequence[Result], ways: Sequence[Tuple[str, str]]
) -> Iterable[Tuple[Tuple[str, str], List[List[Result]]]]:
    """The results of each kernel and its machine, way by way."""
    for kernel in dict.fromkeys((result.release, result.machine) for result in results):
        own = [result for result in results if (result.release, result.machine) == kernel]
        yield kernel, [[result for result in own if (result.attach, result.offsets) == way] for way in ways]


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in (head, *rows)]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def _lacks(results: Sequence[Result]) -> List[str]:
    """What is not covered in full, and where."""
    where: Dict[Tuple[str, str], List[str]] = {}
    for result in results:
        if result.coverage not in ("", "full"):
            place = where.setdefault((FAMILIES[result.case], result.coverage), [])
            place.append(f"{result.release} {result.attach} {result.offsets}")
    return [f"{family}: {coverage}: {', '.join(places)}" for (family, coverage), places in where.items()]


def _reasons(results: Sequence[Result]) -> List[str]:
    """What went wrong, each thing once with all the cases that it befell."""
    cases: Dict[Tuple[str, str], List[str]] = {}
    for result in results:
        if result.status in ("failed", "incomplete"):
            for line in result.reason.splitlines():
                cases.setdefault((f"{result.release} {result.attach} {result.offsets}", line), []).append(result.case)
    return [f"{way} {' '.join(names)}: {line}" for (way, line), names in cases.items()]


def _impossible(results: Sequence[Result]) -> str:
    reasons = sorted({result.reason for result in results if result.status == "impossible"})
    return f"not possible: {', '.join(reasons)}" if reasons else ""


def _cell(results: Sequence[Result]) -> str:
    failed = [result.case for result in results if result.status == "failed"]
    incomplete = [result.case for result in results if result.status == "incomplete"]
    parts = [f"{what}: {' '.join(cases)}" for what, cases in (("failed", failed), ("incomplete", incomplete)) if cases]
    return _impossible(results) or "; ".join(parts) or ("ok" if results else "")


def _covered(results: Sequence[Result]) -> str:
    """The first word of what iotrace says, and whether that is true."""
    said = [result.coverage.partition(":")[0] for result in results]
    wrong = [result.status for result in results if result.status in ("failed", "incomplete")]
    return _impossible(results) or ", ".join([*filter(None, said), *wrong])
