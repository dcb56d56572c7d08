"""The benchmark, in small: whoever measures must count right, and take away what was attached."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests import needs

BENCH = Path(__file__).resolve().parents[2] / "tools" / "bench"


def test_small_measurement() -> None:
    needs.program("cc")
    done = subprocess.run(
        [
            sys.executable,
            str(BENCH),
            "calls",
            "requests",
            "processes",
            "--only",
            "empty-raw,iotrace-raw",
            "--rounds",
            "1",
            "--calls",
            "10240",
            "--patience",
            "0",
            "--json",
        ],
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
    )
    told = json.loads(done.stdout)
    assert told["problems"] == [] and done.returncode == 0
    assert set(told["ns"]) == {"untraced", "empty-raw", "iotrace-raw"}
    titles = set(told["ns"]["untraced"])
    assert titles >= {"pread64", "pwrite64", "getppid", "~pread64", "~getppid", "process"}
    assert len(told["rows"]) == len(titles)
    assert all(len(numbers) == 1 and numbers[0] > 0 for numbers in told["ns"]["iotrace-raw"].values())
