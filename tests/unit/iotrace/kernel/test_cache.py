"""The cache: what it gives back, and what it does not trust."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iotrace.kernel import cache
from tests import needs

WORDS = ("a kernel", "and its options")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own, below directories that are trusted."""
    chosen = tmp_path / "cache" / "iotrace"
    monkeypatch.setenv(cache.VARIABLE, str(chosen))
    return chosen


def only(place: Path) -> Path:
    (file,) = place.iterdir()
    return file


def test_what_is_stored_comes_back(place: Path) -> None:
    assert cache.load(WORDS) is None
    assert cache.store(WORDS, b"payload")
    assert cache.load(WORDS) == b"payload"
    assert cache.load(("another kernel", WORDS[1])) is None
    assert place.stat().st_mode & 0o777 == 0o700
    assert only(place).stat().st_mode & 0o777 == 0o600


def test_an_empty_variable_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, "")
    assert not cache.store(WORDS, b"payload")
    assert cache.load(WORDS) is None


@pytest.mark.parametrize("at", [0, 5, 20, 40, -1])
def test_a_changed_byte_is_noticed(place: Path, at: int) -> None:
    cache.store(WORDS, b"payload" * 100)
    raw = bytearray(only(place).read_bytes())
    raw[at] ^= 1
    only(place).write_bytes(raw)
    assert cache.load(WORDS) is None


@pytest.mark.parametrize("length", [0, 3, 16, 20, 21, 700])
def test_a_cut_file_is_noticed(place: Path, length: int) -> None:
    cache.store(WORDS, b"payload" * 100)
    raw = only(place).read_bytes()
    only(place).write_bytes(raw[:length])
    assert cache.load(WORDS) is None


def test_a_file_of_other_words_under_the_same_name_is_none(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_name", lambda _key: "same.plan")
    cache.store(WORDS, b"payload")
    assert cache.load(("other", "words")) is None
    assert cache.load(WORDS) == b"payload"


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o1777])
def test_a_directory_that_others_can_write_is_not_trusted(place: Path, mode: int) -> None:
    cache.store(WORDS, b"payload")
    place.chmod(mode)
    assert cache.load(WORDS) is None
    assert not cache.store(WORDS, b"payload")


def test_nor_is_one_below_it(place: Path) -> None:
    cache.store(WORDS, b"payload")
    place.parent.chmod(0o777)
    assert cache.load(WORDS) is None
    place.parent.chmod(0o1777)  # others can add to it, but not put theirs in the place of ours
    assert cache.load(WORDS) == b"payload"


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_nor_a_file_that_others_can_write(place: Path, mode: int) -> None:
    cache.store(WORDS, b"payload")
    only(place).chmod(mode)
    assert cache.load(WORDS) is None


def test_nor_a_link(place: Path, tmp_path: Path) -> None:
    cache.store(WORDS, b"payload")
    file = only(place)
    elsewhere = tmp_path / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    assert cache.load(WORDS) is None
    file.unlink()
    elsewhere.rename(file)
    assert cache.load(WORDS) == b"payload"
    moved = place.rename(tmp_path / "moved")
    place.symlink_to(moved)
    assert cache.load(WORDS) is None


@needs.root
def test_nor_what_another_user_owns(place: Path) -> None:
    cache.store(WORDS, b"payload")
    os.chown(only(place), 65534, 65534)
    assert cache.load(WORDS) is None
    os.chown(only(place), 0, 0)
    os.chown(place, 65534, 65534)
    assert cache.load(WORDS) is None


def test_other_sources_do_not_take_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.store(WORDS, b"payload")
    monkeypatch.setattr(cache, "_stamp", lambda path, state: f"{path} {state.st_size + 1}")
    assert cache.load(WORDS) is None


def test_only_the_newest_stay(place: Path) -> None:
    for number in range(cache.KEPT + 3):
        cache.store((f"kernel {number}",), b"payload")
        newest = max(place.iterdir(), key=lambda file: file.stat().st_mtime_ns)
        os.utime(newest, ns=(number, number))
    assert len(list(place.iterdir())) == cache.KEPT
    assert cache.load((f"kernel {cache.KEPT + 2}",)) == b"payload"
    assert cache.load(("kernel 0",)) is None


@pytest.mark.parametrize("where", ["/proc/nothing/iotrace", "/dev/null", "/dev/null/iotrace", "/" + "n" * 300])
def test_a_place_that_cannot_be_is_no_failure(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setenv(cache.VARIABLE, where)
    assert not cache.store(WORDS, b"payload")
    assert cache.load(WORDS) is None


@needs.root
@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_another_users_link_on_the_way_is_not_followed(place: Path, tmp_path: Path, mode: int) -> None:
    """Nothing is made where it leads to, either. Root's own is followed."""
    tmp_path.chmod(mode)
    private = tmp_path / "private"
    private.mkdir()
    place.parent.symlink_to(private)
    os.chown(place.parent, 65534, 65534, follow_symlinks=False)
    assert not cache.store(WORDS, b"payload") and list(private.iterdir()) == []
    os.chown(place.parent, 0, 0, follow_symlinks=False)
    assert cache.store(WORDS, b"payload") and cache.load(WORDS) == b"payload"
    os.chown(place.parent, 65534, 65534, follow_symlinks=False)
    assert cache.load(WORDS) is None


@needs.root
def test_nor_is_anything_kept_in_another_users_home(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    monkeypatch.setenv(cache.VARIABLE, str(home / ".cache" / "iotrace"))
    assert not cache.store(WORDS, b"payload") and cache.load(WORDS) is None and list(home.iterdir()) == []


@pytest.mark.parametrize("what", ["fifo", "directory", "link"])
def test_what_stands_in_the_place_of_a_file(place: Path, what: str) -> None:
    cache.store(WORDS, b"payload")
    file = only(place)
    file.unlink()
    if what == "fifo":
        os.mkfifo(file, 0o600)
    elif what == "directory":
        file.mkdir()
    else:
        file.symlink_to(file.name)
    assert cache.load(WORDS) is None
    assert cache.store(WORDS, b"new") == (what != "directory")
    assert cache.load(WORDS) == (None if what == "directory" else b"new")
