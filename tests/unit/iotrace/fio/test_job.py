"""Job files: fio takes each of them, whatever is in the profile, and they say where each line comes from."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iotrace.errors import UserError
from iotrace.fio.groups import BY, grouped
from iotrace.fio.inference import Amount
from iotrace.fio.job import Options, job
from iotrace.fio.names import directory, files_of, load_of
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from programs.facts.catalogue import OPERATIONS
from tests import needs
from tests.unit.iotrace.profile import samples
from tests.unit.iotrace.views.samples import HOSTILE

fio = needs.programs("fio")
BENCH = Options("/bench")
CALLS = [operation.name for operation in OPERATIONS]


def made(files: Sequence[FileStats], by: str = "alike", options: Options = BENCH) -> str:
    return job(Header(command=[b"cp", HOSTILE]), "run\n.iotrace", grouped(files, by), options).text


def refused(text: str, place: Path) -> str:
    """What fio says against a job file."""
    (place / "job.fio").write_text(text)
    done = subprocess.run(["fio", "--parse-only", str(place / "job.fio")], capture_output=True, text=True, cwd=place)
    return done.stdout + done.stderr if done.returncode else ""


def sections(text: str) -> Dict[str, Dict[str, str]]:
    """The options of each section, without comments."""
    found: Dict[str, Dict[str, str]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            found[line] = {}
        elif line and not line.startswith("#"):
            option, _, value = line.partition("=")
            list(found.values())[-1][option] = value
    return found


@st.composite
def plausible(draw: st.DrawFn) -> FileStats:
    """A file as a trace may leave it: its counts agree with each other."""
    calls: Dict[str, SyscallStats] = {}
    moved = {"read": 0, "write": 0}
    for name in draw(st.lists(st.sampled_from(CALLS), min_size=1, max_size=4, unique=True)):
        direction = next((operation.direction for operation in OPERATIONS if operation.name == name), None)
        count = draw(st.integers(1, 100_000))
        if direction is None:
            calls[name] = SyscallStats(count, latency_sum_ns=count)
            continue
        size = draw(st.integers(1, 1 << 31) | st.sampled_from([1, 512, 4096, 1 << 20]))
        odd = draw(st.integers(0, 3))
        completed = {1 << (size.bit_length() - 1): count, **({1: odd} if odd and size > 1 else {})}
        total = size * count + (odd if size > 1 else 0)
        calls[name] = SyscallStats(
            count,
            total,
            requested=completed,
            completed=completed,
            common_sizes={size: count},
            latency_sum_ns=count * 900,
        )
        moved["write" if direction else "read"] += total
    runs = draw(st.integers(1, 1000))
    syncs = draw(st.integers(1, 1000))
    return FileStats(
        1,
        draw(samples.paths),
        bytes_read=moved["read"],
        bytes_written=moved["write"],
        bytes_synced=moved["write"],
        bytes_unsynced=draw(st.sampled_from([0, 1])),
        highest_offset=draw(st.integers(0, 1 << 40)),
        lowest_offset=0,
        opens=draw(st.integers(0, 5)),
        threads=draw(st.integers(1, 64)),
        direct_calls=draw(st.sampled_from([0, 1 << 20])),
        durable_writes=draw(st.sampled_from([0, 1 << 20])),
        queue_depth_max=draw(st.integers(0, 256)),
        queue_depth={16: 100},
        sequential_read={4096: runs},
        sequential_write={4096: runs},
        bytes_between_syncs={4096: syncs},
        first_read_ns=1,
        last_read_ns=draw(st.integers(1, 10**9)),
        syscalls=calls,
    )


@fio
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(plausible() | samples.files, min_size=1, max_size=12),
    st.sampled_from(BY),
    st.sampled_from([1.0, 0.001, 1000.0]),
    st.none() | st.floats(0.1, 1000),
)
def test_fio_takes_every_job(
    tmp_path: Path, files: List[FileStats], by: str, scale: float, runtime: Optional[float]
) -> None:
    options = Options("/a:b", amount=Amount(scale, runtime))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("iotrace.fio.job._DRAWS", 10_000)  # a better seed makes no other syntax
        text = made(files, by, options)
    if len(sections(text)) > 1:
        assert refused(text, tmp_path) == ""


def writes(path: bytes = b"/srv/log", count: int = 10, **more: object) -> FileStats:
    call = SyscallStats(count, 100 * count, requested={64: count}, completed={64: count}, common_sizes={100: count})
    return FileStats(
        1, path, bytes_written=100 * count, highest_offset=100 * count - 1, lowest_offset=0,
        sequential_write={512: 1}, syscalls={"write": call}, **more,  # type: ignore[arg-type]
    )  # fmt: skip


@fio
def test_hostile_names_are_in_comments_alone(tmp_path: Path) -> None:
    names = [
        HOSTILE,
        b"/a:b c",
        b"/new\n[global]\nrw=read",
        b"/#;${HOME}$ncpus",
        b"/" + b"x" * 5000,
        b"/\xff\xfe",
        b"/.-.",
    ]
    text = made([writes(b"/t" + name) for name in names], "file")
    assert not refused(text, tmp_path)
    assert text.isprintable() or not [line for line in text.splitlines() if not line.isprintable()]
    assert max(map(len, text.splitlines())) < 300
    found = sections(text)
    assert len(found) == 1 + len(names)  # no name has made a section of its own
    for options in list(found.values())[1:]:
        assert re.fullmatch(r"\d\d(-[\w.-]+)?", options["filename"], re.ASCII)
    assert "\\x5c" not in text  # nothing is escaped twice
    assert "a:b c" in text and "\\x0a[global]\\x0arw=read" in text


@pytest.mark.parametrize("name", ["", "a;b", "a#b", "${HOME}", " a", "a ", "a\nb", "$ncpus", "a" * 300, "\udcff", "-a"])
def test_directories_that_fio_would_take_for_something_else(name: str) -> None:
    with pytest.raises(UserError):
        directory(name)


def test_colons_in_directories_are_escaped() -> None:
    assert directory("/a:b/c d") == "/a\\:b/c d"


@pytest.mark.parametrize(("files", "jobs"), [(1, 1), (1, 4), (3, 1), (3, 2)])
@pytest.mark.parametrize("name", ["01", "02-app.db", "03-pg_wal-files"])
def test_files_lead_back_to_their_load(name: str, files: int, jobs: int) -> None:
    value = files_of(name, files, jobs).partition("=")[2].replace("$filenum", "2")
    assert {load_of(file) for file in value.split(":")} == {name}


def test_every_inferred_line_says_from_what() -> None:
    lines = made([writes(threads=3, durable_writes=10)]).splitlines()
    begun = next(number for number, line in enumerate(lines) if line.startswith("[01"))
    plain = {"filename", "group_reporting"}
    for before, line in zip(lines[begun:], lines[begun + 1 :]):
        if line and not line.startswith("#") and line.partition("=")[0] not in plain:
            assert before.startswith("# "), line


def test_what_a_job_cannot_say_is_at_its_top() -> None:
    file = writes(rewrites=7, mapped=True, bytes_between_syncs={0: 5, 64: 1})
    file.syscalls["read"] = SyscallStats(3, 0, errors={"EIO": 1}, completed={0: 2})
    file.syscalls["fsync"] = SyscallStats(6)
    file.syscalls["sendfile_write"] = SyscallStats(1, 5, completed={4: 1})
    head = " ".join(made([file]).partition("[global]")[0].replace("#", "").split())
    for said in (
        "2 reads at the end of a file",
        "1 call that failed",
        "7 rewrites",
        "1 file, mapped: what went through memory",
        "5 syncs, of a file to which nothing had been written",
        "1 call of sendfile_write: psync stands for them",
        "at what pace",
    ):
        assert said in head, said


def test_the_pace_of_a_profile_in_time_becomes_think_time() -> None:
    """100 calls of 10 ms each in 5 intervals of a second: 4 s without a call, 40 ms for each."""
    file = writes(count=100)
    file.series = [(number, 0, 0, 20, 2000, 0, 0, 200_000_000) for number in (0, 1, 2, 7, 9)]
    text = job(Header(), "p", grouped([file], interval_ns=10**9), BENCH).text
    assert sections(text)["[01-log]"]["thinktime"] == "40000us"
    assert "at what pace" not in text
    assert "thinktime" not in made([writes()])


def test_small_groups_are_put_together_and_nothing_is_lost() -> None:
    files = [writes(b"/big", 1_000_000)]
    files += [writes(b"/%d.log" % number, 1 + number) for number in range(300)]
    found = grouped(files)
    assert len(found.loads) < 20 and not found.left_out.files
    assert sum(load.calls for load in found.loads) == sum(file.syscalls["write"].calls for file in files)


def test_what_is_left_out_is_said() -> None:
    text = made([writes(b"/%d" % number, 1000 - number) for number in range(150)], "file")
    assert len(sections(text)) == 101
    assert "50 files with 43,775 calls that moved 4.17 MiB" in text.replace("\n#    ", " ")
