"""Profiles merged into one against one trace of everything, of the same system calls."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

from iotrace import trace
from tests import needs

from . import observe
from .observe import iotrace

pytestmark = needs.root

WORKER = """
import os, sys
own, start = sys.argv[1], int(sys.argv[2])
sys.stdin.readline()
shared = os.open("shared", os.O_RDWR | os.O_CREAT, 0o644)
for number in range(23):
    os.pwrite(shared, bytes(1000 + start), start + 8192 * number)
    os.pread(shared, 512 + start, start)
try:
    os.pread(shared, 10, -1)
except OSError:
    pass
fd = os.open(own, os.O_RDWR | os.O_CREAT, 0o644)
for number in range(7 + start):
    os.write(fd, bytes(4096))
    os.fsync(fd)
os.close(fd)
os.rename(own, own + ".done")
"""


def counted(document: Dict[str, Any], place: Path) -> Dict[bytes, Dict[str, Any]]:
    """What a profile says of the workload's files, but for clocks, which each tracer reads for itself, the host, and
    how many threads there were, which is a lower bound."""

    def without(values: Dict[str, Any]) -> Dict[str, Any]:
        return {key: value for key, value in values.items() if not key.endswith("_ns") or key == "mnt_ns"}

    found = {}
    for file in document["files"]:
        if observe.path_of(file).startswith(bytes(place)):
            kept = without(file)
            del kept["host"], kept["threads"]
            kept["syscalls"] = {name: without(call) for name, call in file["syscalls"].items()}
            found[observe.path_of(file)] = kept
    return found


def test_runs_of_two_processes_make_the_run_of_both(place: Path, tmp_path: Path) -> None:
    """Three tracers watch two processes at once: one each, and one both of them."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, own, str(start)], stdin=subprocess.PIPE, cwd=place, universal_newlines=True
        )
        for own, start in (("one", 0), ("two", 4096))
    ]
    pids = [worker.pid for worker in workers]
    with contextlib.ExitStack() as stack:
        runs = [
            stack.enter_context(trace(pids=whom, output=tmp_path / name))
            for name, whom in (("one", pids[:1]), ("two", pids[1:]), ("both", pids))
        ]
        for worker in workers:
            worker.communicate("go\n", timeout=60)
        for run in runs:
            run.wait()
    names = [str(tmp_path / name) for name in ("one", "two")]
    subprocess.run(iotrace("merge", *names, "-o", str(tmp_path / "merged")), check=True, stdout=subprocess.DEVNULL)
    documents = {name: observe.export(tmp_path / name) for name in ("merged", "both")}
    merged, both = (counted(documents[name], place) for name in ("merged", "both"))
    assert json.dumps(list(both.values()), sort_keys=True, indent=1) == json.dumps(
        [merged[path] for path in both], sort_keys=True, indent=1
    )
    assert sorted(both) == sorted(merged) == sorted(bytes(place / name) for name in ("one", "two", "shared"))
    shared = both[bytes(place / "shared")]
    assert (shared["syscalls"]["pwrite64"]["calls"], shared["opens"]) == (46, 2)
    assert len(documents["merged"]["runs"]) == 2
