"""Loads of names: what iotrace takes to end after files were renamed, replaced and removed in great numbers."""

from __future__ import annotations

import contextlib
import sqlite3
import statistics
import subprocess
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Tuple

from tools.benchmark.machine import BenchError, iotrace_command, measured
from tools.benchmark.rows import Row

END_S, PEAK_MIB, PROFILE_MIB = 10.0, 300.0, 1.0


class Load(NamedTuple):
    """A load of names.c, and what it does, in words; `rows` is how many rows a profile has of it at most."""

    name: str
    number: int
    of: int
    what: str
    rows: int = 0


LOADS = (
    Load("files", 200_000, 1000, "200,000 files"),
    Load("renamed", 200_000, 0, "200,000 files, then 200,000 renames"),
    Load("replaced", 200_000, 100, "200,000 temporary files over 100 names"),
    Load("replaced", 120_000, 1, "120,000 temporary files over one name"),
    Load("same", 200_000, 100, "200,000 times the same temporary file over 100 names", 1),
    Load("between", 200_000, 0, "200,000 renames between two names", 2),
    Load("chain", 20_000, 0, "a chain of 20,000 renames"),
    Load("unlinked", 200_000, 0, "one name made and removed 200,000 times", 1),
    Load("above", 50_000, 20_000, "50,000 files, then 20,000 renames of their directory"),
    Load("beside", 50_000, 20_000, "50,000 files, then 20,000 renames of another directory"),
    Load("deep", 1500, 1500, "1,500 renames above 1,500 directories, a file below each time"),
    Load("links", 200, 2000, "200 files whose directory became a chain of 2,000 links"),
)


class Ended(NamedTuple):
    """A run of a load."""

    seconds: float  # from the end of the load to that of iotrace
    peak_mib: float
    profile_mib: float
    missing: int  # opens that are in no row
    told: Dict[str, int]  # what is in `lost`

    @property
    def silent(self) -> bool:
        """Whether anything is missing that was not told."""
        return self.missing > self.told.get("files", 0) + self.told.get("calls", 0)


def names(directory: Path, rounds: int, divisor: int) -> Iterator[Row]:
    """A row for each load, the median of `rounds`; of numbers that are `divisor` times smaller."""
    for load in LOADS:
        number, of = max(1, load.number // divisor), load.of // divisor if load.name in ("above", "beside") else load.of
        runs = [_run(directory, load.name, number, of) for _ in range(rounds)]
        seconds = statistics.median(run.seconds for run in runs)
        peak, profile = max(run.peak_mib for run in runs), max(run.profile_mib for run in runs)
        worst = max(runs, key=lambda run: run.missing)
        lost = f"{worst.missing:,} of {number:,} files lost, {'NOT TOLD' if worst.silent else 'told'}"
        small = not load.rows or profile <= PROFILE_MIB
        yield Row(
            "names",
            load.what + (f" (a {divisor}th of it)" if divisor > 1 else ""),
            f"{seconds:.1f} s to end, {peak:.0f} MiB; profile {profile:.1f} MiB; "
            + (lost if worst.missing else "nothing lost"),
            f"{END_S:.0f} s, {PEAK_MIB:.0f} MiB, nothing lost in silence",
            seconds <= END_S and peak <= PEAK_MIB and small and not any(run.silent for run in runs),
            {"seconds": seconds, "peak_mib": peak, "profile_mib": profile, "missing": worst.missing},
        )


def _run(directory: Path, load: str, number: int, of: int) -> Ended:
    place, output = directory / "named", directory / "names.iotrace"
    subprocess.run(["rm", "-rf", str(place), str(output)], check=True)  # Python's own is not made for 1,500 directories
    place.mkdir()
    command: List[object] = [directory / "names", load, place, number, of]
    done = measured(directory, iotrace_command("run", "-q", "-o", output, "--path", f"{place}/*", "--", *command))
    if done.status:
        raise BenchError(f"iotrace run ended with status {done.status}: {done.stderr.strip()[-300:]}")
    opens, _, ended = map(int, done.stdout.split())
    seen, told = _account(output)
    size = output.stat().st_size
    subprocess.run(["rm", "-rf", str(place)], check=True)
    return Ended((done.ended_ns - ended) / 1e9, done.peak_kib / 1024, size / (1 << 20), opens - seen, told)


def _account(profile: Path) -> Tuple[int, Dict[str, int]]:
    with contextlib.closing(sqlite3.connect(profile)) as database:
        (opens,) = database.execute("SELECT coalesce(sum(opens), 0) FROM file").fetchone()
        return opens, {what: count for what, count in database.execute("SELECT what, count FROM lost") if count}
