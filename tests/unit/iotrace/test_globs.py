"""Shell globs on paths, and what a selection of several lets through."""

from __future__ import annotations

from typing import List

import pytest

from iotrace.errors import UserError
from iotrace.globs import EVERYTHING, Selection, glob_matcher
from programs.way import patterns

PATHS = [b"/srv/a/1.log", b"/srv/b/2.log", b"/srv/b/2.dat", b"/tmp/\xff"]


def chosen(selection: Selection) -> List[bytes]:
    return list(filter(selection.matcher(), PATHS))


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        (b"/srv/*", b"/srv/a/b", True),
        (b"/srv/?", b"/srv/a/b", False),
        (b"/tmp/?", b"/tmp/\xff", True),
        (b"/tmp/?", "/tmp/ä".encode(), True),
        (b"*", b"/with\nnewline", True),
        (b"srv", b"/srv", False),
    ],
)
def test_a_glob_matches_whole_paths_and_slashes(glob: bytes, path: bytes, matches: bool) -> None:
    assert glob_matcher(glob)(path) is matches


@pytest.mark.parametrize(
    ("glob", "name"),
    [
        *((glob, name) for glob in (b"[!a-c]x", b"[^a-c]x") for name in (b"ax", b"dx", b"!x", b"^x", b"x")),
        *(
            (glob, name)
            for glob in (b"a\\*", b"a\\?", b"a\\[b]", b"a[b]", b"a\\b", b"a\\", b"a\\\\")
            for name in (b"a*", b"a?", b"ab")
        ),
        *((b"a\\[b]", name) for name in (b"a[b]", b"a\\b")),
        *((glob, b"a\\") for glob in (b"a\\", b"a\\\\", b"a[\\]", b"a?", b"a*")),
        *(
            (glob, name)
            for glob in (b"[]a]", b"[!]a]", b"[^]a]", b"[ab", b"[a-]")
            for name in (b"]", b"a", b"-", b"[ab")
        ),
    ],
)
def test_globs_for_paths_are_those_for_names_of_processes(glob: bytes, name: bytes) -> None:
    assert glob_matcher(glob)(name) is patterns.matches([glob], name)


@pytest.mark.parametrize("glob", [b"[z-a]", b"*[z-a]/*", b"a[!z-a]b", b"[a-cz-y]", b"[a--]", b"[]-a\\-!]"])
def test_a_range_that_ends_before_it_begins_is_refused(glob: bytes) -> None:
    with pytest.raises(UserError, match="nothing lies between"):
        glob_matcher(glob)


@pytest.mark.parametrize("glob", [b"[a-a]", b"[a-z-c]", b"[--a]", b"[z-]", b"[z-a", b"z-a", b"[]-a]"])
def test_what_only_looks_like_it_is_not(glob: bytes) -> None:
    glob_matcher(glob)


def test_without_globs_everything_is_wanted() -> None:
    assert chosen(EVERYTHING) == PATHS


def test_any_of_the_wanted_and_none_of_the_excluded() -> None:
    assert chosen(Selection(path=(b"/srv/a/*", b"*.dat"))) == [PATHS[0], PATHS[2]]
    assert chosen(Selection(exclude=(b"*.log", b"/tmp/*"))) == [PATHS[2]]
    assert chosen(Selection((b"/srv/*",), (b"/srv/b/*",))) == [PATHS[0]]


def test_a_renamed_file_has_two_names() -> None:
    """It is wanted if one of them is, and not if one of them is excluded."""
    wanted, excluded = Selection(path=(b"*.gz",)).matcher(), Selection(exclude=(b"*.gz",)).matcher()
    for selected, expected in ((wanted, [True, True, False, False]), (excluded, [False, False, True, True])):
        names = [(b"/a.tmp", b"/a.gz"), (b"/a.gz", b"/b"), (b"/a.tmp", b"/b"), (b"/a.tmp", None)]
        assert [selected(*pair) for pair in names] == expected


def test_a_value_that_is_no_path_is_kept_to_be_refused_later() -> None:
    selected = Selection((b"/srv/*",), (b"*",)).matcher()
    assert selected(None) and selected("text") and selected(b"/a", "text")
