"""Names that change, by whomever: the path at the open counts, and what became of it is what the kernel says.

What is expected is what each script does, by rename(2), mount(2) and their like: no figure comes from iotrace.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Tuple

import pytest

from tests import needs

from .naming import fates, run
from .observe import path_of

pytestmark = needs.root

FORMS = pytest.mark.parametrize("form", ["raw", "perf"])


@FORMS
def test_two_files_that_are_exchanged(place: Path, form: str) -> None:
    found = run(
        place,
        form,
        """
        put("a", 10); put("b", 20)
        rename2(b"a", b"b", 2)
        get("a", 20); get("b", 10)
        """,
    )
    # Each path leads to the file that it was opened for last, which the other name led to before.
    assert fates(found) == {"a": ("present", None, 10, 20), "b": ("present", None, 20, 10)}
    assert [found[name]["incarnations"] for name in "ab"] == [2, 2]


@FORMS
def test_two_files_that_are_exchanged_and_left_alone(place: Path, form: str) -> None:
    found = run(place, form, 'put("a", 10); put("b", 20); rename2(b"a", b"b", 2)')
    assert fates(found) == {"a": ("replaced", "b", 10, 0), "b": ("replaced", "a", 20, 0)}


@FORMS
def test_a_rename_that_leaves_a_whiteout(place: Path, form: str) -> None:
    found = run(place, form, 'put("a", 10); rename2(b"a", b"b", 4)')
    assert fates(found) == {"a": ("replaced", "b", 10, 0)}


@FORMS
def test_a_chain_of_renames_and_one_over_another_link(place: Path, form: str) -> None:
    found = run(
        place,
        form,
        """
        put("n0", 1)
        for number in range(9):
            os.rename(f"n{number}", f"n{number + 1}")
        put("a", 2); os.link("a", "b"); put("c", 4)
        os.rename("c", "a")
        get("b", 2)
        os.mkdir("d"); put("f", 8); os.rename("f", "d/f")
        put("e", 16); os.rename("e", "E"); os.rename("E", "e")
        """,
    )
    assert fates(found) == {
        "n0": ("deleted", "n9", 1, 0),
        "a": ("replaced", None, 2, 0),
        "b": ("present", None, 0, 2),
        "c": ("deleted", "a", 4, 0),
        "f": ("deleted", "d/f", 8, 0),
        "e": ("present", None, 16, 0),
    }


@FORMS
def test_renamed_and_deleted_by_processes_that_are_not_traced(place: Path, form: str) -> None:
    found = run(
        place,
        form,
        """
        put("a", 1); put("b", 2); fd = create("c"); os.write(fd, bytes(4)); put("d", 8)
        def others():
            os.rename("a", "a2"); os.unlink("b"); os.rename("c", "c2"); os.rename("c2", "c3"); os.link("d", "d2")
            os.unlink("d")
        child(others)
        os.write(fd, bytes(16))
        """,
        "--no-follow",
    )
    assert fates(found) == {
        "a": ("deleted", "a2", 1, 0),
        "b": ("deleted", None, 2, 0),
        "c": ("deleted", "c3", 20, 0),
        "d": ("deleted", None, 8, 0),
    }


@FORMS
def test_through_a_symbolic_link_that_is_swapped(place: Path, form: str) -> None:
    found = run(
        place,
        form,
        """
        os.mkdir("A"); os.mkdir("B"); put("B/f", 2); put("B/g", 2)
        os.symlink("A", "link")
        put("link/f", 10); put("link/g", 20); put("link/h", 40)
        os.unlink("link"); os.symlink("B", "link")
        os.unlink("link/f"); os.rename("link/g", "link/g2")
        """,
    )
    assert fates(found) == {
        "A/f": ("present", None, 10, 0),
        "A/g": ("present", None, 20, 0),
        "A/h": ("present", None, 40, 0),
        "B/f": ("deleted", None, 2, 0),
        "B/g": ("deleted", "B/g2", 2, 0),
    }


@FORMS
def test_in_a_chroot(place: Path, form: str) -> None:
    found = run(
        place,
        form,
        """
        os.makedirs("root/dir"); put("f", 1); put("g", 1)
        def jailed():
            os.chroot("root"); os.chdir("/")
            put("/f", 2); put("/g", 4); put("/dir/h", 8)
            os.rename("/f", "/f2"); os.unlink("/g"); os.rename("/dir", "/d")
        child(jailed)
        """,
    )
    assert fates(found) == {
        "f": ("present", None, 1, 0),
        "g": ("present", None, 1, 0),
        "root/f": ("deleted", "root/f2", 2, 0),
        "root/g": ("deleted", None, 4, 0),
        "root/dir/h": ("deleted", "root/d/h", 8, 0),
    }


@FORMS
def test_a_log_that_is_rotated_by_copying(place: Path, form: str) -> None:
    """As logrotate's copytruncate does: the writer's file stays."""
    found = run(
        place,
        form,
        """
        fd = create("log", flags=RW | os.O_APPEND)
        for turn in range(3):
            os.write(fd, bytes(100))
            source, target = os.open("log", os.O_RDONLY), create(f"log.{turn}")
            os.write(target, os.read(source, 1000)); os.close(source); os.close(target)
            os.truncate("log", 0)
        os.write(fd, bytes(7))
        """,
    )
    copies: Dict[str, Tuple[Any, ...]] = {f"log.{turn}": ("present", None, 100, 0) for turn in range(3)}
    assert fates(found) == {"log": ("present", None, 307, 300), **copies}
    assert found["log"]["incarnations"] == 1 and found["log"]["rewrites"] == 3


@FORMS
@pytest.mark.parametrize("length", [4500, 8000])
def test_paths_that_no_system_call_takes(place: Path, form: str, length: int) -> None:
    """Made step by step, and renamed and deleted there."""
    found = run(
        place,
        form,
        f"""
        here = os.getcwd()
        path, at = here, os.open(here, os.O_RDONLY)
        while len(path) < {length}:
            name = "d" * min(200, max(1, {length} - len(path) - 1))
            os.mkdir(name, dir_fd=at)
            deeper = os.open(name, os.O_RDONLY, dir_fd=at); os.close(at); at = deeper
            path += "/" + name
        for name, size in (("kept", 1), ("moved", 2), ("gone", 4)):
            fd = os.open(name, RW, dir_fd=at); os.write(fd, bytes(size)); os.close(fd)
        os.rename("moved", "moved\\n2", src_dir_fd=at, dst_dir_fd=at)
        os.unlink("gone", dir_fd=at)
        say(path)
        """,
    )
    top = Path(found.said)
    files = {path_of(file): file for file in found.document["files"] if file["path"].startswith(found.said)}
    told = {path: (file["bytes_written"], file["state"], file["renamed_to"]) for path, file in files.items()}
    assert told == {
        bytes(top / "kept"): (1, "present", None),
        bytes(top / "moved"): (2, "deleted", str(top / "moved\n2")),
        bytes(top / "gone"): (4, "deleted", None),
    }


@FORMS
def test_a_directory_that_is_deleted_under_its_files(place: Path, form: str) -> None:
    found = run(
        place,
        form,
        """
        os.mkdir("d"); fd = create("d/f"); os.write(fd, bytes(1))
        os.chdir("d"); os.unlink("f"); os.rmdir("../d")
        os.write(fd, bytes(2)); os.close(fd)
        again = os.open("..", os.O_RDONLY); os.fchdir(again)
        os.mkdir("d"); put("d/f", 4)
        """,
    )
    assert fates(found) == {"d/f": ("present", None, 7, 0)}
    assert found["d/f"]["incarnations"] == 2
