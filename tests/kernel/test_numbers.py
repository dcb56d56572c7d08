"""Where the kernel keeps the numbers of processes, as two sources have it, and the numbers themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, List

import pytest

from tests import needs

ROOT = Path(__file__).resolve().parents[2]
CONTAINER = ["unshare", "--pid", "--fork", "--mount", "--mount-proc"]
pytestmark = needs.programs("unshare")


def contained(script: str, *words: str, depth: int = 1) -> Any:
    """What a Python script prints as JSON in a container, or in one within that."""
    command: List[str] = [*CONTAINER * depth, sys.executable, "-c", script, *words]
    printed = subprocess.run(command, cwd=str(ROOT), stdout=subprocess.PIPE, check=True, timeout=60).stdout
    return json.loads(printed)


CALIBRATED = """
import json, os, sys
from contextlib import ExitStack
from iotrace.kernel import offsets, pids
from pybpf.calibration.calibrate import calibrate_numbers
from pybpf.types.tracefs import Tracefs
with ExitStack() as stack:
    tracefs = stack.enter_context(Tracefs.open()) if sys.argv[1] == "perf" else None
    known = pids.from_members(offsets.from_btf(os.uname().machine).members)
    print(json.dumps([vars(known), calibrate_numbers(tracefs)]))
"""


@needs.file(needs.VMLINUX, "a kernel with BTF")
@pytest.mark.parametrize("way", ["raw", "perf"])
@pytest.mark.parametrize("depth", [1, 2])
def test_calibration_finds_what_the_kernel_s_types_say(way: str, depth: int) -> None:
    known, found = contained(CALIBRATED, way, depth=depth)
    assert found == known


NUMBERED = """
import json, os, sys, threading, time
from iotrace.tracing.numbers import Numbers
from iotrace.tracing.session import Session, Settings
from pybpf.features import pretend
pretend((4, 14) if sys.argv[1] == "perf" else None)
done = threading.Event()
thread = threading.Thread(target=done.wait)
thread.start()
with Session(Settings(attach=sys.argv[1], max_files=16, comms=[b"python*"])) as session:
    numbers = Numbers(session.loaded)
    found = [numbers.of(os.getpid()), numbers.of(os.getpid(), thread.native_id), numbers.of(1 << 21)]
    back = numbers.back(found[:1] + [1 << 21], [os.getpid()])
print(json.dumps([found, list(back.items()), os.getpid(), os.readlink("/proc/self/ns/pid")]), flush=True)
input()
done.set()
"""


@pytest.mark.parametrize("way", ["raw", "perf"])
def test_numbers_are_those_of_the_initial_namespace(way: str) -> None:
    """As its proc shows them: NSpid of its status has the numbers from there on down."""
    command = [*CONTAINER, sys.executable, "-c", NUMBERED, way]
    with subprocess.Popen(command, cwd=str(ROOT), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        (own, thread, nobody), back, pid, namespace = json.loads(process.stdout.readline())
        for line in Path(f"/proc/{own}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                assert line.split()[-2:] == [str(own), str(pid)]
        assert os.readlink(f"/proc/{own}/ns/pid") == namespace
        assert str(thread) in [entry.name for entry in Path(f"/proc/{own}/task").iterdir()]
        assert nobody is None
        assert back == [[own, pid]]
        process.communicate(b"\n", timeout=60)
