"""iotrace in a container, that is in a PID namespace of its own: the numbers that it is given and shows are those of
that namespace, and the right processes are traced. Expected counts are those of dd's blocks."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from tests import needs

from . import observe
from .observe import Document, iotrace

pytestmark = [needs.root, needs.programs("unshare", "nsenter", "dd")]

BLOCK = 512
WAYS: Dict[str, List[str]] = {"raw": [], "perf": ["--attach", "perf"], "4.14": []}
every_way = pytest.mark.parametrize("way", WAYS)
# What the scripts share: `begun` waits until tracing has, `writer NAME BLOCKS` writes then, `ended NAME...` waits for
# such.
SHARED = """
begun() { while [ ! -e go ]; do sleep 0.02; done; }
writer() { begun; ./iotr-dd if=/dev/zero of=$1 bs=512 count=$2 2> /dev/null; touch done-$1; }
ended() { for name; do while [ ! -e done-$name ]; do sleep 0.02; done; done; }
run() { ./iotrace run -o profile "$@"; }
"""
CONTAINER = ["unshare", "--pid", "--fork", "--mount", "--mount-proc"]


@pytest.fixture
def here(place: Path, way: str) -> Path:
    """A directory with ./iotrace, that is this checkout's in one of WAYS, ./iotr-dd, and what scripts share."""
    pretended = ["--pretend-kernel", "4.14"] if way == "4.14" else []
    words = [*iotrace(), *pretended, "run", *WAYS[way]]
    (place / "iotrace").write_text(f'#!/bin/sh\nshift\nexec {shlex.join(words)} "$@"\n')
    (place / "iotrace").chmod(0o755)
    (place / "iotr-dd").symlink_to(needs.program("dd"))
    (place / "shared").write_text(SHARED)
    return place


def shell(script: str) -> List[str]:
    return ["sh", "-ec", ". ./shared\n" + script]


def contained(here: Path, script: str, *, container: List[str] = CONTAINER) -> str:
    """Run a shell script as the first process of a container; what it says on standard error."""
    command = [*container, *shell(script)]
    done = subprocess.run(command, cwd=str(here), stderr=subprocess.PIPE, timeout=120, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def profile(here: Path) -> Document:
    """What was traced; nothing of it may be lost."""
    document = observe.export(here / "profile")
    assert not any(document["lost"].values()), document["lost"]
    return document


def written(here: Path, document: Document) -> Dict[str, Tuple[int, int]]:
    """The writes and their bytes of each file of the directory that was written to."""
    below = f"{here}/"
    found: Dict[str, Any] = {f["path"][len(below) :]: f for f in document["files"] if f["path"].startswith(below)}
    calls = {name: file["syscalls"].get("write") for name, file in found.items()}
    return {name: (call["calls"], call["bytes"]) for name, call in calls.items() if call}


def blocks(**counts: int) -> Dict[str, Tuple[int, int]]:
    return {name: (count, count * BLOCK) for name, count in counts.items()}


@every_way
def test_a_command(here: Path) -> None:
    contained(here, "touch go; run -- sh -c '. ./shared; writer one 23 & writer two 17; wait'")
    assert written(here, profile(here)) == blocks(one=23, two=17)


@every_way
def test_a_process_by_its_number(here: Path) -> None:
    """The number is that of the namespace; in the initial one a thread of the kernel or another process has it."""
    contained(here, "writer other 13 & writer chosen 23 & run --pid $! --follow -- touch go; wait")
    assert written(here, profile(here)) == blocks(chosen=23)


@every_way
def test_a_process_in_a_namespace_below(here: Path) -> None:
    """It has a number there and one in the container, and so have its threads."""
    contained(
        here,
        """
        unshare --pid --fork sh -c '. ./shared; writer below 23' &
        until child=$(cat /proc/$!/task/$!/children) && [ "$child" ]; do sleep 0.02; done
        run --pid $child --follow -- touch go
        wait
        """,
    )
    assert written(here, profile(here)) == blocks(below=23)


@every_way
def test_a_command_that_makes_a_namespace(here: Path) -> None:
    contained(here, "touch go; run -- unshare --pid --fork sh -c '. ./shared; writer below 23'")
    assert written(here, profile(here)) == blocks(below=23)


def child_of(pid: int) -> int:
    """The only child of a process, once it has one."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if found:
            return int(found[0])
        time.sleep(0.01)
    raise AssertionError(f"process {pid} has no child")


@every_way
@pytest.mark.parametrize("whom", ["--all", "--comm iotr-dd"])
def test_all_and_names_are_those_of_the_container(here: Path, whom: str) -> None:
    """That are processes in it and in namespaces below it, also such as join it while tracing, and none of the host."""
    script = f"""
        writer inside 23 &
        unshare --pid --fork sh -c '. ./shared; writer below 17' &
        run {whom} -- sh -c '. ./shared; touch go; ended inside below outside joined'
        """
    joined = "./iotr-dd if=/dev/zero of=joined bs=512 count=11 2> /dev/null; touch done-joined"
    with subprocess.Popen([*CONTAINER, *shell(script)], cwd=str(here)) as container:
        first = child_of(container.pid)
        beside = shell(f"writer outside 13 & begun; nsenter --target {first} --pid {joined}; wait")
        subprocess.run(beside, cwd=str(here), timeout=60, check=True)
        assert container.wait(60) == 0
    document = profile(here)
    assert written(here, document) == blocks(inside=23, below=17, joined=11)
    assert not [file for file in document["files"] if "profile" in file["path"]]


@every_way
def test_processes_are_named_by_their_numbers_in_the_container(here: Path) -> None:
    said = contained(here, "run -- sh -c 'sleep 60 & echo $! > number'; kill $(cat number)")
    number = (here / "number").read_text().strip()
    assert f"a process that it started goes on without being traced (--wait waits for them): sleep ({number})" in said


@every_way
def test_with_the_proc_of_the_host(here: Path) -> None:
    """There the container's processes have other numbers than those by which they know each other."""
    script = "writer other 13 & writer chosen 23 & run --pid $! --follow -- touch go; wait"
    contained(here, script, container=["unshare", "--pid", "--fork"])
    assert written(here, profile(here)) == blocks(chosen=23)


@pytest.mark.parametrize("way", ["raw"])
def test_doctor_says_where_it_is(here: Path) -> None:
    doctor = shlex.join(iotrace("doctor", "--no-load"))
    contained(here, f"stat -Lc %i /proc/self/ns/pid > number; {doctor} > said")
    (line,) = re.findall(r"^processes +ok +(.*)$", (here / "said").read_text(), re.MULTILINE)
    number = (here / "number").read_text().strip()
    assert re.match(rf"in a PID namespace of its own \({number}\): \d processes seen", line)
