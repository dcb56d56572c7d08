"""`iotrace fio`: the job made from a fio job's profile has that job's parameters, and behaves like it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Dict, Iterator, Mapping, NamedTuple

import pytest

from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.writer import write
from tests import needs

from .observe import DISK, iotrace

pytestmark = [needs.root, needs.programs("fio")]

# Options of a job -> what must come back. Where there is nothing on the right, the same.
KNOWN: Dict[str, Mapping[str, str]] = {
    "bssplit": {"rw": "randwrite", "bssplit": "4k/50:16k/30:64k/20", "number_ios": "3000", "ioengine": "psync"},
    "randrw": {"rw": "randrw", "rwmixread": "70", "bs": "8k", "ioengine": "pvsync", "number_ios": "2000"},
    "sequential-fsync": {"rw": "write", "bs": "4k", "fsync": "16", "ioengine": "sync"},
    "libaio": {"rw": "randread", "bs": "4k", "ioengine": "libaio", "iodepth": "32", "direct": "1", "number_ios": "500"},
    "io_uring": {"rw": "randwrite", "bs": "4k", "ioengine": "io_uring", "fdatasync": "8", "number_ios": "500"},
    "direct": {"rw": "read", "bs": "128k", "direct": "1", "ioengine": "psync"},
    "dsync": {"rw": "randwrite", "bs": "4k", "sync": "dsync", "ioengine": "pvsync2", "number_ios": "100"},
    "runs": {"rw": "randread:8", "bs": "4k", "ioengine": "psync", "number_ios": "2000"},
    "share": {"rw": "randwrite", "percentage_random": "30", "bs": "4k", "ioengine": "psync", "number_ios": "3000"},
    "files": {"rw": "write", "bs": "16k", "nrfiles": "4", "filesize": "1m", "ioengine": "vsync"},
}
SOME = {"rw": "randrw", "rwmixread": "40", "percentage_random": "40", "bssplit": "4k/60:12k/40", "ioengine": "psync"}
UNEVEN = {"rw": "randwrite", "bssplit": "4k/99:1m/1", "ioengine": "psync", "number_ios": "400"}


def section(place: Path, name: str, options: Mapping[str, str]) -> str:
    """A job with these options, on files in a directory of its own."""
    random = options["rw"].startswith("rand")
    lines = [f"[{name}]", f"directory={place}/{name}", *(f"{option}={value}" for option, value in options.items())]
    if "filesize" not in options:
        lines.append("filesize=16m" if random else "filesize=4m")
    (place / name).mkdir()
    return "\n".join([*lines, *(["norandommap=1", "io_size=1g"] if random else []), ""])


def traced(place: Path, jobs: Mapping[str, Mapping[str, str]]) -> Dict[str, int]:
    """Run the jobs side by side, and leave their profile in `place`; the errors that fio met, by job."""
    text = "".join(section(place, name, options) for name, options in jobs.items())
    (place / "create.fio").write_text("[global]\ncreate_only=1\n" + text)
    (place / "job.fio").write_text(text)
    subprocess.run(["fio", "--output=/dev/null", str(place / "create.fio")], check=True)
    command = ["fio", "--output-format=json", f"--output={place}/fio.json", str(place / "job.fio")]
    paths = [word for name in jobs for word in ("--path", f"{place}/{name}/*")]
    subprocess.run(iotrace("run", "-q", "-o", str(place / "p.iotrace"), *paths, "--", *command))
    said = (place / "fio.json").read_text()
    return {job["jobname"]: job["error"] for job in json.loads(said[said.index("{") :])["jobs"]}


class Known(NamedTuple):
    """What came back: the text of each section, by the job that its files were of."""

    errors: Mapping[str, int]
    sections: Mapping[str, str]


@pytest.fixture(scope="module")
def known() -> Iterator[Known]:
    with tempfile.TemporaryDirectory(prefix="workload-", dir=DISK) as directory:
        place = Path(directory)
        errors = traced(place, KNOWN)
        words = iotrace("fio", str(place / "p.iotrace"), "--directory", "d", "--group", "directory")
        text = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout
    loads = text.partition("[global]")[2].split("\n\n")[1:]
    found = {name: load for name in KNOWN for load in loads if f"{directory}/{name}/" in load}
    yield Known(errors, found)


@pytest.mark.parametrize("name", KNOWN)
def test_the_same_parameters_come_back(name: str, known: Known) -> None:
    if known.errors[name]:
        needs.impossible(f"fio: {os.strerror(known.errors[name])}")
    lines = known.sections[name].splitlines()
    assert sum(line.startswith("[") for line in lines) == 1
    found = dict(line.split("=", 1) for line in lines if not line.startswith(("#", "[")))
    assert {option: found.get(option) for option in KNOWN[name]} == KNOWN[name]


def test_it_is_verified_and_nothing_is_left(place: Path) -> None:
    """A mixture that fio draws, with syncs: two sections on one file. Everything within its threshold."""
    traced(place, {"some": {**SOME, "fdatasync": "3", "number_ios": "900"}})
    before = sorted(place.iterdir())
    for log in ([], ["--iolog"]):
        words = iotrace("fio", str(place / "p.iotrace"), "--directory", str(place), "--verify", *log)
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
        assert done.returncode == 0 and "MISSED" not in done.stdout, done.stdout
        assert sum(line.endswith("  ok") for line in done.stdout.splitlines()) >= 9
        assert sorted(place.iterdir()) == before


def test_what_is_missed_is_said(place: Path) -> None:
    """Two writes of very different sizes: with a hundredth of them, a job cannot be right."""
    traced(place, {"uneven": UNEVEN})
    words = iotrace("fio", str(place / "p.iotrace"), "--directory", str(place), "--verify", "--scale", "0.01")
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "MISSED" in done.stdout, done.stdout


def test_when_it_is_interrupted_fio_ends_and_nothing_is_left(place: Path) -> None:
    many = SyscallStats(10**8, 4096 * 10**8, completed={4096: 10**8}, common_sizes={4096: 10**8})
    file = FileStats(1, b"/f", size=1 << 20, sequential_read={4096: 10**8}, syscalls={"pread64": many})
    write(place / "p.iotrace", Header(), [file])
    (place / "bench").mkdir()
    words = iotrace("fio", str(place / "p.iotrace"), "--directory", str(place / "bench"), "--verify")
    with subprocess.Popen(words) as process:
        number = ""
        while not number.strip() and process.poll() is None:  # the number of the shell that becomes fio
            number = "".join(path.read_text() for path in place.glob("bench/*/pid"))
            time.sleep(0.01)
        process.terminate()
        assert process.wait(30) == 130
    assert not list((place / "bench").iterdir())
    assert not os.path.exists(f"/proc/{number.strip()}")
