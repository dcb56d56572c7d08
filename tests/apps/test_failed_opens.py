"""Opens that fail, path by path: against strace on real programs, and against what a script knows."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple
from typing import Counter as CounterOf

import pytest

from pybpf import features
from tests import needs

from . import observe
from .compare import disagreements
from .observe import Command, both
from .traced import trace

pytestmark = needs.root


@pytest.fixture(params=["raw", "4.14", "fentry"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """The options of a way in; 4.14: with what that kernel has alone."""
    if request.param == "4.14":
        monkeypatch.setenv("PRETEND_KERNEL", "4.14")
    elif request.param == "fentry" and not features.FEATURES["fentry"].supported():
        needs.impossible("no fentry on system calls")
    return ["--attach", "fentry"] if request.param == "fentry" else []


def failed(document: Mapping[str, Any]) -> Dict[Tuple[Optional[bytes], str, bool], int]:
    return {
        (None if row["path"] is None else observe.path_of(row), row["errno"], row["cut"]): row["count"]
        for row in document["failed_opens"]
    }


def sums(document: Mapping[str, Any]) -> CounterOf[str]:
    total: CounterOf[str] = Counter()
    for row in document["failed_opens"]:
        total[row["errno"]] += row["count"]
    return total


def below(found: Mapping[Tuple[Optional[bytes], str, bool], int], place: Path) -> Dict[Tuple[str, str], int]:
    """Those below a directory, by what follows it."""
    start = bytes(place) + b"/"
    return {
        (os.fsdecode(path[len(start) :]), errno): count
        for (path, errno, cut), count in found.items()
        if path is not None and path.startswith(start) and not cut
    }


@needs.programs("strace", "git")
def test_git_and_python_agree_with_strace_on_every_path(way: List[str], place: Path) -> None:
    script = (
        "git init -q . && git status >/dev/null; mkdir sub && cd sub && python3 -c 'import json' && git log; cat no; :"
    )
    found = both(Command(["sh", "-c", script], place), way)
    assert disagreements(found.strace, found.document) == []
    assert len(found.strace.refused) > 30
    assert sums(found.document) == found.document["unattributed"]["open"]


EVERY_KIND = """
os.makedirs("in/deep")
at = os.open("in", os.O_RDONLY)
def not_there(*arguments, dir_fd=None):
    refused(errno.ENOENT, lambda: os.open(*arguments, os.O_RDONLY, dir_fd=dir_fd))
for _ in range(3):
    not_there("a")
not_there("b", dir_fd=at)
refused(errno.EEXIST, os.open, "workload.py", RW | os.O_EXCL)
os.chdir("in/deep")
not_there("c")
not_there("../c")
os.rename("../../in", "../../renamed")
not_there("c")
not_there(b"\\xff\\n")
not_there("d" * 200)
refused(errno.EBADF, lambda: os.open("e", os.O_RDONLY, dir_fd=77))
how = (ctypes.c_uint64 * 3)(0, 0, 0)
libc.syscall(L(437), L(at), b"f", how, L(24))  # openat2
has_openat2 = ctypes.get_errno() != errno.ENOSYS
os.chdir("../..")
say(has_openat2)
def jailed():
    os.chroot("renamed")
    not_there("/g")
    os.chdir("/deep")
    not_there("h")
child(jailed)
os.chdir("/")
not_there("nosuch")
refused(errno.EFAULT, libc.open, P(8), 0)
not_there("/" + "x/" * 123 + "y")  # 248 bytes, and the NUL
not_there("/" + "x/" * 123)        # one less: all of it is kept
"""


def test_every_kind_of_open_and_of_directory(way: List[str], place: Path) -> None:
    """Relative to the working directory, to a descriptor, to a root that was changed, to none; names of any bytes."""
    traced = trace(place, EVERY_KIND, way)
    found = failed(traced.document)
    expected = {
        ("a", "ENOENT"): 3,
        ("in/b", "ENOENT"): 1,
        ("workload.py", "EEXIST"): 1,
        ("in/deep/c", "ENOENT"): 1,
        ("in/deep/../c", "ENOENT"): 1,
        ("renamed/deep/c", "ENOENT"): 1,
        ("renamed/deep/" + os.fsdecode(b"\xff\n"), "ENOENT"): 1,
        ("renamed/deep/" + "d" * 200, "ENOENT"): 1,
        ("renamed/g", "ENOENT"): 1,
        ("renamed/deep/h", "ENOENT"): 1,
    }
    if traced.said:
        expected["renamed/f", "ENOENT"] = 1
    assert below(found, place) == expected
    assert found[b"e", "EBADF", False] == 1 and found[b"/nosuch", "ENOENT", False] == 1
    assert found[None, "EFAULT", False] == 1
    assert found[b"/" + b"x/" * 123, "ENOENT", True] == 1 and found[b"/" + b"x/" * 123, "ENOENT", False] == 1
    assert sums(traced.document) == traced.document["unattributed"]["open"]
    assert "the paths of 1 were not seen" in traced.document["coverage"]["failed opens"]


def test_the_most_frequent_of_very_many_are_kept(way: List[str], place: Path) -> None:
    """More names than there is room for; what is asked for again and again is counted to the last."""
    traced = trace(
        place,
        """
        for number in range(30000):
            for name in (f"once-{number}", f"often-{number % 5}"):
                refused(errno.ENOENT, os.open, name, os.O_RDONLY)
        """,
        way,
    )
    found = below(failed(traced.document), place)
    assert {name: count for (name, _), count in found.items() if name.startswith("often-")} == {
        f"often-{number}": 6000 for number in range(5)
    }
    assert len(traced.document["failed_opens"]) <= 1000 + len(sums(traced.document))
    assert sums(traced.document) == traced.document["unattributed"]["open"]
    assert sums(traced.document)["ENOENT"] >= 60000
