"""doctor and a run agree: doctor ends with 0 where a run works, else with 1, and both name the same reason."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Iterator, List

import pytest

from tests import needs

ROOT = Path(__file__).resolve().parents[2]
USER = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
BOTH = "+bpf,+perfmon"

pytestmark = [needs.root, needs.programs("setpriv", "unshare")]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody may write to."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        Path(directory).chmod(0o777)
        yield Path(directory)


def iotrace(before: List[str], place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "iotrace", *words]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(ROOT), "IOTRACE_CACHE": str(place / "c")}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=120)


def without(path: str) -> List[str]:
    return ["unshare", "-m", "sh", "-c", f'umount -l {path} && exec "$@"', "sh"]


CASES = {
    "root": ([], ""),
    "user": (USER, "needs root, or CAP_BPF and CAP_PERFMON"),
    "one": ([*USER, "--inh-caps", "+bpf", "--ambient-caps", "+bpf"], "CAP_PERFMON is missing"),
    "both": ([*USER, "--inh-caps", BOTH, "--ambient-caps", BOTH], ""),
    "bounded": (["setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin"], "this root lacks CAP_BPF and CAP_PERFMON"),
    "no /proc": (without("/proc"), "mount -t proc proc /proc"),
    "no /sys": (without("/sys"), "mount -t sysfs sysfs /sys"),
    "user namespace": (["unshare", "-Ur"], "root of a user namespace"),
    "few files": (["sh", "-c", 'ulimit -n 40 && exec "$@"', "sh"], "only 40 may be open"),
    "read-only": (["unshare", "-m", "sh", "-c", 'mount -o remount,bind,ro / && exec "$@"', "sh"], ""),
    "no /tmp": (["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o ro none /tmp && exec "$@"', "sh"], ""),
}


@pytest.mark.parametrize("name", CASES)
def test_doctor_says_whether_a_run_works(name: str, place: Path) -> None:
    before, reason = CASES[name]
    if name == "read-only":
        (place / "p").mkdir()
        before = [*before[:-2], f"mount -t tmpfs none {place}/p && " + before[-2], "sh"]
    output = place / "p" / "x" if name == "read-only" else place / "x"
    ran = iotrace(before, place, "run", "-q", "-o", str(output), "--", "sh", "-c", "exit 3")
    asked = iotrace(before, place, "doctor")
    if not reason:
        assert (ran.returncode, ran.stderr) == (3, "") and (asked.returncode, asked.stderr) == (0, "")
        return
    assert ran.returncode == 125 and ran.stderr.count("\n") == 1 and reason in ran.stderr
    assert asked.returncode == 1 and asked.stderr == ran.stderr.replace("iotrace: ", "iotrace: a run would fail here: ")
    assert asked.stdout.count("tracing needs") <= 1 and "Traceback" not in asked.stdout


def test_a_tracefs_that_may_not_be_read(place: Path) -> None:
    """The way in that needs none is named, and what the other one takes."""
    mount = ["unshare", "-m", "sh", "-c", 'mount -t tracefs none /sys/kernel/tracing && exec "$@"', "sh"]
    held = [*mount, *USER, "--inh-caps", BOTH, "--ambient-caps", BOTH]
    ran = iotrace(held, place, "run", "-q", "--attach", "perf", "-o", str(place / "x"), "--", "true")
    assert ran.returncode == 125 and ran.stderr == (
        "iotrace: /sys/kernel/tracing cannot be read: run as root, or with CAP_DAC_READ_SEARCH, or use --attach raw\n"
    )
    more = BOTH + ",+dac_read_search"
    held = [*mount, *USER, "--inh-caps", more, "--ambient-caps", more]
    ran = iotrace(held, place, "run", "-q", "--attach", "perf", "-o", str(place / "x"), "--", "sh", "-c", "exit 3")
    assert (ran.returncode, ran.stderr) == (3, "")
