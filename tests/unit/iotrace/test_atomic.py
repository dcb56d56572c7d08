"""Files that appear whole or not at all, and replace nothing but their own kind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict

import pytest

from iotrace import atomic
from iotrace.atomic import Fresh, Kind, writing
from iotrace.errors import IotraceError, UserError
from iotrace.places import Place

KIND = Kind("a poem", lambda head: head.startswith(b"poem:"))


def write(path: object, text: bytes = b"poem: new", *, force: bool = False) -> None:
    with writing(str(path), KIND, force=force) as stream:
        stream.write(text)


def check(path: object, *, force: bool = False) -> None:
    atomic.check(Place(str(path)), KIND, force=force)


def test_a_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    with writing(tmp_path / "p", KIND) as stream:
        stream.write(bytes(100_000))
        stream.flush()
        assert os.listdir(tmp_path) == []
    assert (tmp_path / "p").read_bytes() == bytes(100_000)
    assert os.listdir(tmp_path) == ["p"]


def test_a_file_that_is_given_up_is_not(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writing(tmp_path / "p", KIND) as stream:
        stream.write(b"poem: unfinished")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_what_was_made_meanwhile_stays(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a poem"), writing(tmp_path / "p", KIND) as stream:
        stream.write(b"poem: late")
        (tmp_path / "p").write_text("somebody else's")
    assert (tmp_path / "p").read_text() == "somebody else's" and os.listdir(tmp_path) == ["p"]


def test_what_took_the_place_of_the_file_to_be_replaced_stays(tmp_path: Path) -> None:
    write(tmp_path / "p")
    with pytest.raises(UserError, match="not a poem"), writing(tmp_path / "p", KIND, force=True) as stream:
        stream.write(b"poem: late")
        (tmp_path / "p").unlink()
        (tmp_path / "p").write_text("somebody else's")
    assert (tmp_path / "p").read_text() == "somebody else's" and os.listdir(tmp_path) == ["p"]


def _precious(path: Path) -> str:
    path.with_name("real").write_text("precious")
    return "real"


MAKE: Dict[str, Callable[[Path], object]] = {
    "another file": lambda path: path.write_text("precious"),
    "an empty file": lambda path: path.touch(),
    "a directory": lambda path: path.mkdir(),
    "a FIFO": os.mkfifo,
    "a socket": lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
    "a link to another file": lambda path: path.symlink_to(_precious(path)),
    "a link to a directory": lambda path: path.symlink_to("."),
    "a link to a device": lambda path: path.symlink_to("/dev/null"),
    "a link to itself": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("what", MAKE)
@pytest.mark.parametrize("force", [False, True])
def test_nothing_else_is_replaced(tmp_path: Path, what: str, force: bool) -> None:
    MAKE[what](tmp_path / "p")
    before = {path.name: path.lstat().st_ino for path in tmp_path.iterdir()}
    for attempt in (write, check):
        with pytest.raises(IotraceError) as caught:
            attempt(tmp_path / "p", force=force)
        assert str(tmp_path / "p") in str(caught.value) and "\n" not in str(caught.value)
    assert {path.name: path.lstat().st_ino for path in tmp_path.iterdir()} == before
    assert all(path.read_text() in ("", "precious") for path in tmp_path.iterdir() if path.is_file())


def test_its_own_kind_is_replaced_by_force_alone(tmp_path: Path) -> None:
    write(tmp_path / "p", b"poem: old")
    os.link(tmp_path / "p", tmp_path / "other name")
    with pytest.raises(UserError, match="there is a poem already: choose another name, or replace it with --force"):
        write(tmp_path / "p")
    write(tmp_path / "p", force=True)
    assert (tmp_path / "p").read_text() == "poem: new"
    assert (tmp_path / "other name").read_text() == "poem: old"
    assert sorted(os.listdir(tmp_path)) == ["other name", "p"]


def test_through_a_link_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "p").symlink_to("real")
    write(tmp_path / "p", b"poem: old")
    write(tmp_path / "p", force=True)
    assert (tmp_path / "p").is_symlink() and (tmp_path / "real").read_text() == "poem: new"


@pytest.mark.parametrize("umask", [0, 0o027])
def test_the_mode_is_the_umasks(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        write(tmp_path / "p")
    finally:
        os.umask(old)
    assert (tmp_path / "p").stat().st_mode & 0o7777 == 0o666 & ~umask


@pytest.mark.parametrize("name", ["n" * 256, "", "absent/p", "p/"])
def test_names_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IotraceError):
        write(name)
    with pytest.raises(UserError):
        atomic.check(Place(name), KIND)
    assert os.listdir(tmp_path) == []


def test_a_name_of_255_bytes(tmp_path: Path) -> None:
    for force in (False, True):
        write(tmp_path / ("n" * 255), force=force)
    assert os.listdir(tmp_path) == ["n" * 255]


@pytest.fixture
def without_tmpfile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is asked for what it cannot do: O_TMPFILE is made of O_DIRECTORY, so that old kernels refuse it."""
    monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY)


@pytest.mark.usefixtures("without_tmpfile")
def test_a_hidden_name_where_there_must_be_one(tmp_path: Path) -> None:
    for force in (False, True):
        with writing(tmp_path / "p", KIND, force=force) as stream:
            stream.write(b"poem: %d" % force)
            (hidden,) = set(os.listdir(tmp_path)) - {"p"}
            assert hidden.startswith(".iotrace-")
        assert (tmp_path / "p").read_text() == f"poem: {force:d}" and os.listdir(tmp_path) == ["p"]
    with pytest.raises(UserError, match="not a poem"), writing(tmp_path / "q", KIND) as stream:
        (tmp_path / "q").touch()
    with pytest.raises(ZeroDivisionError), writing(tmp_path / "r", KIND) as stream:
        raise ZeroDivisionError
    assert sorted(os.listdir(tmp_path)) == ["p", "q"]


def test_a_file_system_without_links(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_PATH)
    try:
        for name in ("a", "b"):
            (tmp_path / name).write_text(name)
        with pytest.raises(FileExistsError):
            atomic._rename_to_nothing(directory, b"a", b"b")
        atomic._rename_to_nothing(directory, b"a", b"c")
    finally:
        os.close(directory)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"b": "b", "c": "a"}


def test_a_process_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from iotrace.atomic import Kind, writing
with writing(sys.argv[1], Kind("", bytes.isalpha)) as stream:
    stream.write(bytes(100_000))
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "p")])
    assert done.returncode == -9 and os.listdir(tmp_path) == []


def test_fresh_files_are_closed_once(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_PATH)
    try:
        with Fresh(directory) as fresh:
            fresh.close()
            taken = os.dup(directory)
        os.fstat(taken)
        os.close(taken)
    finally:
        os.close(directory)
