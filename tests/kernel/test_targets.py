"""Whom a session traces, as processes rename themselves, have children and end."""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from pathlib import Path
from typing import Callable

import pytest

from tests import needs
from tests.children import in_child
from tests.kernel.sessions import (
    BLOCK,
    CALLS,
    Child,
    Form,
    Pause,
    Profile,
    both_ways,
    data,
    every_form,
    file_of,
    finished,
    made,
    nothing_lost,
    paths,
    write_calls,
)

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_NAME = 15


def name_thread(name: bytes) -> None:
    """The calling thread's own name, which for the first thread is the process's."""
    assert LIBC.prctl(PR_SET_NAME, name, 0, 0, 0) == 0


def in_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def by_name(form: Form, work: Callable[[], None], *, follow: bool = False) -> Profile:
    """The profile of the processes called iotr-wanted while a child works."""
    with Child(lambda _pause: work()) as child, form.session(comms=[b"iotr-wanted"], follow=follow) as session:
        session.trace_running()
        child.end()
        return finished(session)


@both_ways
def test_a_process_is_known_by_its_first_threads_name(form: Form, tmp_path: Path) -> None:
    def renamed(name: bytes, path: Path) -> None:
        name_thread(name)
        write_calls(path)

    def unwanted() -> None:
        name_thread(b"iotr-unwanted")
        in_thread(lambda: renamed(b"iotr-wanted", tmp_path / "thread of unwanted"))
        write_calls(tmp_path / "unwanted")

    def work() -> None:
        in_child(unwanted)
        name_thread(b"iotr-wanted")
        in_thread(lambda: renamed(b"iotr-thread", tmp_path / "thread of wanted"))

    assert paths(by_name(form, work), tmp_path) == ["thread of wanted"]


@both_ways
def test_a_process_that_renames_itself_comes_and_goes(form: Form, tmp_path: Path) -> None:
    def work() -> None:
        for number, name in enumerate([b"iotr-other", b"iotr-wanted", b"iotr-wanted2", b"iotr-wanted", b"x"]):
            name_thread(name)
            write_calls(tmp_path / f"{number} as {name.decode()}")

    profile = by_name(form, work)
    assert nothing_lost(profile)
    assert paths(profile, tmp_path) == ["1 as iotr-wanted", "3 as iotr-wanted"]


@both_ways
def test_a_thread_that_renames_the_process(form: Form, tmp_path: Path) -> None:
    """By /proc/PID/comm, whose owner's threads may write it: the event's current task is not the one renamed."""

    def work() -> None:
        def rename() -> None:
            with open(f"/proc/{os.getpid()}/comm", "wb", buffering=0) as comm:
                comm.write(b"iotr-wanted")

        write_calls(tmp_path / "before")
        in_thread(rename)
        write_calls(tmp_path / "after")

    assert paths(by_name(form, work), tmp_path) == ["after"]


@both_ways
def test_a_name_that_comes_and_goes_with_exec(form: Form, tmp_path: Path) -> None:
    tool = needs.program("dd")
    for name in ("iotr-wanted", "iotr-other"):
        (tmp_path / name).symlink_to(tool)

    def work() -> None:
        def run(name: str) -> None:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            words = [name, "if=/dev/zero", f"of={tmp_path}/by {name}", "bs=512", f"count={CALLS}"]
            os.execv(str(tmp_path / name), words)

        in_child(lambda: run("iotr-wanted"))
        name_thread(b"iotr-wanted")
        in_child(lambda: run("iotr-other"))

    profile = by_name(form, work)
    assert nothing_lost(profile)
    assert data(profile, tmp_path / "by iotr-wanted") == {"write": made([512] * CALLS)}
    assert "by iotr-other" not in paths(profile, tmp_path)


@both_ways
@pytest.mark.parametrize("follow", [False, True], ids=["no-follow", "follow"])
def test_children_of_a_named_process(form: Form, follow: bool, tmp_path: Path) -> None:
    """A child inherits the name, and so is wanted itself; what it is after a change of name depends on `follow`."""

    def work() -> None:
        def child() -> None:
            write_calls(tmp_path / "child")
            name_thread(b"iotr-other")
            write_calls(tmp_path / "renamed child")
            in_child(lambda: write_calls(tmp_path / "grandchild"))

        name_thread(b"iotr-wanted")
        in_child(child)
        name_thread(b"iotr-other")
        in_child(lambda: write_calls(tmp_path / "child of left"))

    more = ["grandchild", "renamed child"] if follow else []
    profile = by_name(form, work, follow=follow)
    assert nothing_lost(profile)
    assert paths(profile, tmp_path) == ["child", *more]


@both_ways
def test_globs_choose_names(form: Form, tmp_path: Path) -> None:
    def work(_pause: Pause) -> None:
        for name in (b"iotr-a1", b"iotr-b1", b"iotr-c22", b"iotr-d1", b"\xffx", b"iotr-15-letters"):
            name_thread(name)
            write_calls(tmp_path / os.fsdecode(name))

    comms = [b"iotr-[ab]?", b"iotr-c*2", b"\xff*", b"iotr-15-letters"]
    with Child(work) as child, form.session(comms=comms) as session:
        session.trace_running()
        child.end()
        profile = finished(session)
    wanted = [b"iotr-15-letters", b"iotr-a1", b"iotr-b1", b"iotr-c22", b"\xffx"]
    assert [os.fsencode(name) for name in paths(profile, tmp_path)] == sorted(wanted)


@both_ways
@pytest.mark.parametrize("follow", [False, True], ids=["no-follow", "follow"])
def test_a_process_that_runs_already_with_its_children(form: Form, follow: bool, tmp_path: Path) -> None:
    def work(pause: Pause) -> None:
        def grandchild(pause: Pause) -> None:
            write_calls(tmp_path / "grandchild")
            in_child(lambda: write_calls(tmp_path / "later one"))

        with Child(grandchild) as below:
            pause()
            write_calls(tmp_path / "itself")
            in_thread(lambda: write_calls(tmp_path / "thread"))
            below.end()
        in_child(lambda: write_calls(tmp_path / "child"))

    with Child(work) as child:
        child.step()
        with form.session(pids=[child.pid], follow=follow) as session:
            session.trace_process(child.pid, follow=follow)
            session.trace_running()
            child.end()
            profile = finished(session)
    assert nothing_lost(profile)
    descent = ["child", "grandchild", "later one"] if follow else []
    assert paths(profile, tmp_path) == sorted(["itself", "thread", *descent])


@both_ways
def test_everything_but_the_tracer(form: Form, tmp_path: Path) -> None:
    with Child(lambda _pause: write_calls(tmp_path / "theirs")) as child:
        with form.session(everything=True, max_files=16384) as session:
            child.end()
            write_calls(tmp_path / "ours")
            profile = finished(session)
    assert paths(profile, tmp_path) == ["theirs"]
    assert data(profile, tmp_path / "theirs") == {"pwrite64": made([BLOCK] * CALLS)}


@both_ways
def test_a_process_number_is_not_inherited(form: Form, tmp_path: Path) -> None:
    """Once a target has died, its place among the targets is free."""
    with form.session() as session:
        with Child(lambda _pause: in_thread(lambda: write_calls(tmp_path / "data"))) as child:
            session.trace_process(child.pid, follow=True)
            child.end()
        assert list(session.loaded.maps["targets"].items()) == []
        assert data(finished(session), tmp_path / "data") == {"pwrite64": made([BLOCK] * CALLS)}


@every_form
def test_who_was_found_to_be_no_target_is_looked_at_again(form: Form, tmp_path: Path) -> None:
    """A process and its threads make calls before it becomes a target, after, and once it is none any more."""

    def work(pause: Pause) -> None:
        own, fd = (os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in ("data", "other"))
        for stage in range(5):
            name_thread(b"iotr-wanted" if stage in (2, 3) else b"iotr-unwanted")
            for number in range(CALLS):
                os.pwrite(own, bytes(BLOCK), number)
            in_thread(lambda: [os.pwrite(fd, bytes(BLOCK), number) for number in range(CALLS)])
            in_child(functools.partial(write_calls, tmp_path / f"child {stage}"))
            pause()

    with Child(work) as child, form.session(comms=[b"iotr-wanted"], follow=True) as session:
        session.trace_running()
        for _ in range(5):
            child.step()
        profile = finished(session)
        child.end()
    assert nothing_lost(profile)
    for name in ("data", "other"):
        assert data(profile, tmp_path / name) == {"pwrite64": made([BLOCK] * CALLS * 2)}
    assert paths(profile, tmp_path) == ["child 2", "child 3", "data", "other"]


# -- names -------------------------------------------------------------------------------------------------------------


@both_ways
def test_a_rename_that_failed_is_none(form: Form, tmp_path: Path) -> None:
    """Nor is it taken for one when a call that nobody traces succeeds afterwards."""
    path = tmp_path / "data"

    def work() -> None:
        write_calls(path)
        old, absent = (ctypes.create_string_buffer(os.fsencode(name)) for name in (path, tmp_path / "no" / "where"))
        not_a_directory = ctypes.create_string_buffer(os.fsencode(path) + b"/")
        rename, unlink, harmless = LIBC.rename, LIBC.unlink, LIBC.sched_yield
        results = [rename(old, absent), harmless(), unlink(not_a_directory), harmless()]
        assert results == [-1, 0, -1, 0]

    file = file_of(form.trace(work), path)
    assert (file.renamed_to, file.deleted) == (None, False)
