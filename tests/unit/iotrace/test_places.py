"""The way to a file that is to be written: which links are followed, and where it ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Tuple

import pytest

from iotrace.errors import UserError
from iotrace.places import Place, numbered, spares
from tests import needs

OTHER = 65534  # a user who is neither root nor us


def found(path: object, *, follow: bool = True) -> Tuple[str, str]:
    """The directory that a path leads to, as the kernel names it, and the name there."""
    with Place(str(path), follow=follow).opened() as spot:
        return os.readlink(f"/proc/self/fd/{spot.directory}"), os.fsdecode(spot.name)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "file").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("path", "directory", "name"),
    [
        ("p", "", "p"),
        ("file", "", "file"),
        ("a/b/p", "a/b", "p"),
        ("a//b/./p", "a/b", "p"),
        ("a/b/../p", "a", "p"),
        ("a/b", "a/b", "."),
        ("a/b/", "a/b", "."),
        ("a/b/..", "a", "."),
        (".", "", "."),
    ],
)
def test_paths(tree: Path, monkeypatch: pytest.MonkeyPatch, path: str, directory: str, name: str) -> None:
    expected = (str(tree / directory), name)
    assert found(f"{tree}/{path}") == expected
    monkeypatch.chdir(tree)
    assert found(path) == expected


@pytest.mark.parametrize("path", ["absent/p", "file/p", "file/", "absent/"])
def test_paths_that_lead_nowhere(tree: Path, path: str) -> None:
    with pytest.raises((FileNotFoundError, NotADirectoryError)):
        found(f"{tree}/{path}")


def test_a_relative_path_means_the_same_after_a_change_of_directory(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree / "a")
    place = Place("b/p")
    monkeypatch.chdir("/")
    with place.opened() as spot:
        assert os.path.samefile(f"/proc/self/fd/{spot.directory}", tree / "a" / "b")


def test_links_of_ones_own_are_followed(tree: Path) -> None:
    (tree / "link").symlink_to("a/b")
    (tree / "a" / "b" / "up").symlink_to(f"{tree}/link/../c")
    assert found(tree / "link" / "p") == (str(tree / "a/b"), "p")
    assert found(tree / "link" / "up") == (str(tree / "a"), "c")
    assert found(tree / "link" / "up", follow=False) == (str(tree / "a/b"), "up")
    (tree / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        found(tree / "loop")


def test_links_of_the_kernels_lead_where_the_kernel_says(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree / "a")
    assert found("/proc/self/cwd/b/p") == (str(tree / "a/b"), "p")
    reading, writing = os.pipe()
    try:
        for end in (reading, writing):
            with pytest.raises(UserError, match="not the name of a file"):
                found(f"/proc/self/fd/{end}")
    finally:
        os.close(reading)
        os.close(writing)
    with open(tree / "file") as opened, pytest.raises(UserError, match="not the name of a file"):
        found(f"/proc/self/fd/{opened.fileno()}")


@needs.root
@pytest.mark.parametrize("mode", [0o1777, 0o777, 0o1773])
@pytest.mark.parametrize("leads_to", ["../a", "absent", "/etc", "../file"])
@pytest.mark.parametrize("path", ["link", "link/p", "own/p", "own"])
def test_another_users_link_where_anybody_can_plant_one_is_not(tree: Path, mode: int, leads_to: str, path: str) -> None:
    """Not as the last name, not on the way, and not by a link of one's own that leads there; whoever owns that."""
    shared = tree / "shared"
    shared.mkdir()
    shared.chmod(mode)
    (shared / "link").symlink_to(leads_to)
    os.chown(shared / "link", OTHER, OTHER, follow_symlinks=False)
    (tree / "own").symlink_to("shared/link")
    for owner in (0, OTHER):
        os.chown(shared, owner, owner)
        with pytest.raises(UserError, match=f"link is a symbolic link of another user's .uid {OTHER}."):
            found(tree / path if path.startswith("own") else shared / path)


@needs.root
def test_roots_link_is_followed_there_and_another_users_in_a_directory_of_his_own(tree: Path) -> None:
    (tree / "shared").mkdir()
    (tree / "shared").chmod(0o1777)
    (tree / "shared" / "link").symlink_to("../a")
    assert found(tree / "shared" / "link" / "p") == (str(tree / "a"), "p")
    (tree / "his").symlink_to("a")
    os.chown(tree / "his", OTHER, OTHER, follow_symlinks=False)
    assert found(tree / "his" / "p") == (str(tree / "a"), "p")


def test_no_descriptor_stays_open(tree: Path) -> None:
    before = os.listdir("/proc/self/fd")
    (tree / "link").symlink_to("a/b")
    found(tree / "link" / "p")
    with pytest.raises(OSError):
        found(tree / "link" / "absent" / "p")
    place = Place("p")
    with place.opened():
        assert len(os.listdir("/proc/self/fd")) == len(before) + 2
    del place
    assert os.listdir("/proc/self/fd") == before


def test_spare_places(monkeypatch: pytest.MonkeyPatch) -> None:
    for chosen, expected in (
        ("/mine", ["/mine", "/var/tmp", "/tmp"]),
        ("/tmp", ["/tmp", "/var/tmp"]),
        ("relative", ["/var/tmp", "/tmp"]),
        ("", ["/var/tmp", "/tmp"]),
    ):
        monkeypatch.setenv("TMPDIR", chosen)
        assert spares() == expected


def test_numbers_are_put_before_the_ending() -> None:
    for name, second in ((b"a.b.iotrace", b"a.b-2.iotrace"), (b"a", b"a-2"), (b".a", b".a-2")):
        names = numbered(name)
        assert (next(names), next(names)) == (name, second)
