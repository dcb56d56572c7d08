"""Directories that appear whole or not at all, and replace nothing but their own kind."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import pytest

from iotrace import directories
from iotrace.directories import Kind, writing
from iotrace.errors import Failure, IotraceError, UserError


def _holds(name: str, head: bytes, tail: bytes) -> bool:
    return name.endswith(".poem") and head.startswith(b"poem:") and tail.endswith(b".")


KIND = Kind("a book", _holds, lambda names: "title.poem" in names)


def write(path: object, *texts: bytes, force: bool = False) -> None:
    with writing(str(path), KIND, force=force) as directory:
        for name, text in zip(("title.poem", "second.poem"), texts or (b"poem: new.",)):
            directory.create(name).write(text)


def content(path: Path) -> Dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.iterdir()}


def test_a_directory_is_there_when_it_is_whole(tmp_path: Path) -> None:
    with writing(tmp_path / "d", KIND) as directory:
        directory.create("title.poem").write(bytes(100_000))
        (hidden,) = os.listdir(tmp_path)
        assert hidden.startswith(".iotrace-")
    assert os.listdir(tmp_path) == ["d"] and content(tmp_path / "d") == {"title.poem": bytes(100_000)}


@pytest.mark.parametrize("name", ["d/", "d//", "./d", "../{}/d"])
def test_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write(name.format(tmp_path.name))
    assert list(content(tmp_path / "d")) == ["title.poem"]


def test_a_directory_that_is_given_up_is_not(tmp_path: Path) -> None:
    for force in (False, True):
        with pytest.raises(ZeroDivisionError), writing(tmp_path / "d", KIND, force=force) as directory:
            directory.create("title.poem").write(b"poem: unfinished")
            raise ZeroDivisionError
        assert os.listdir(tmp_path) == []
    write(tmp_path / "d", b"poem: old.")
    with pytest.raises(Failure, match="not written: No space"), writing(tmp_path / "d", KIND, force=True) as directory:
        directory.create("title.poem").write(b"poem: late")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert os.listdir(tmp_path) == ["d"] and content(tmp_path / "d") == {"title.poem": b"poem: old."}


def test_its_own_kind_is_replaced_by_force_alone(tmp_path: Path) -> None:
    write(tmp_path / "d", b"poem: old.", b"poem: more.")
    with pytest.raises(UserError, match="there is a book already: choose another name, or replace it with --force"):
        write(tmp_path / "d")
    write(tmp_path / "d", force=True)
    assert os.listdir(tmp_path) == ["d"] and content(tmp_path / "d") == {"title.poem": b"poem: new."}


def _book(path: Path) -> Path:
    path.mkdir()
    (path / "title.poem").write_bytes(b"poem: old.")
    return path


MAKE: Dict[str, Callable[[Path], object]] = {
    "a file": lambda path: path.write_text("poem: precious."),
    "a link to a book": lambda path: path.symlink_to(_book(path.with_name("book"))),
    "a link to nothing": lambda path: path.symlink_to("absent"),
    "a FIFO": os.mkfifo,
    "an empty directory": lambda path: path.mkdir(),
    "a book with notes": lambda path: (_book(path) / "notes.txt").write_text("precious"),
    "a book with a changed page": lambda path: (_book(path) / "second.poem").write_text("poem: precious"),
    "a book with an empty page": lambda path: (_book(path) / "second.poem").touch(),
    "a book with a directory": lambda path: (_book(path) / "second.poem").mkdir(),
    "a book with a link": lambda path: (_book(path) / "second.poem").symlink_to("title.poem"),
    "a book with a FIFO": lambda path: os.mkfifo(_book(path) / "second.poem"),
    "no title": lambda path: shutil.move(str(_book(path) / "title.poem"), str(path / "other.poem")),
}


def everything(place: Path) -> List[Tuple[str, int]]:
    return sorted((str(path), path.lstat().st_ino) for path in place.rglob("*"))


@pytest.mark.parametrize("what", MAKE)
def test_nothing_else_is_replaced(tmp_path: Path, what: str) -> None:
    MAKE[what](tmp_path / "d")
    before = everything(tmp_path)
    for force in (False, True):
        with pytest.raises(UserError) as caught:
            write(tmp_path / "d", force=force)
        assert str(tmp_path / "d") in str(caught.value) and "choose another name" in str(caught.value)
    assert everything(tmp_path) == before


def test_what_was_made_meanwhile_stays(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a book"), writing(tmp_path / "d", KIND, force=True) as directory:
        directory.create("title.poem").write(b"poem: late.")
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "notes").touch()
    assert os.listdir(tmp_path) == ["d"] and os.listdir(tmp_path / "d") == ["notes"]


@pytest.mark.parametrize("name", ["n" * 256, "", "absent/d", ".", "..", "/", "d/.."])
def test_names_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IotraceError):
        write(name, force=True)
    assert os.listdir(tmp_path) == []


def test_a_process_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    _book(tmp_path / "d")
    code = """
import os, signal, sys
from iotrace.directories import Kind, writing
with writing(sys.argv[1], Kind("", lambda *_: True, lambda names: True), force=True) as directory:
    directory.create("a").write(bytes(100_000))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    for name in ("new", "d"):
        reading, writing_end = os.pipe()
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], pass_fds=[writing_end])
        os.close(writing_end)
        assert done.returncode == -9 and os.read(reading, 1) == b""  # once the shell that cleans up has ended, too
        os.close(reading)
    assert os.listdir(tmp_path) == ["d"] and content(tmp_path / "d") == {"title.poem": b"poem: old."}


def test_a_file_system_that_cannot_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As NFS and FAT: a new directory is made all the same, one that is there stays."""

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(directories, "renameat2", refuse)
    write(tmp_path / "d", b"poem: old.")
    with pytest.raises(Failure, match="cannot be replaced on this file system: choose another name"):
        write(tmp_path / "d", force=True)
    assert os.listdir(tmp_path) == ["d"] and content(tmp_path / "d") == {"title.poem": b"poem: old."}


@pytest.mark.parametrize("umask", [0, 0o027])
def test_the_modes_are_the_umasks(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        write(tmp_path / "d")
    finally:
        os.umask(old)
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o777 & ~umask
    assert (tmp_path / "d" / "title.poem").stat().st_mode & 0o777 == 0o666 & ~umask
