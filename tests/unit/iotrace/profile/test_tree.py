"""The tree of directories: sums of what is below, a search, and that nothing is missing where there is no room."""

from __future__ import annotations

import random
from typing import Iterator, List

import pytest

from iotrace.profile.rows import FileRow, Marks, Sums
from iotrace.profile.tree import DEPTH, Directory, Tree


def row(path: bytes, *sums: int) -> FileRow:
    return FileRow(path, 1, "8:1", "ext4", Marks(), Sums(*sums), "host")


ROWS = [
    row(b"/a/b/one", 1, 10, 3),
    row(b"/a/b/two", 2, 20, 3),
    row(b"/a/three", 4, 40, 3),
    row(b"/four", 8, 80, 3),
    row(b"/z/y/x/five", 16, 160, 3),
]


def at(tree: Tree, *names: bytes) -> Directory:
    found = tree.root
    for name in names:
        found = found.directories[name]
    return found


@pytest.mark.parametrize("seed", range(3))
def test_directories_have_the_sums_of_all_that_is_below(seed: int) -> None:
    rows = list(ROWS)
    random.Random(seed).shuffle(rows)
    tree = Tree(rows)
    for names, files, read in (((), 5, 31), ((b"a",), 3, 7), ((b"a", b"b"), 2, 3), ((b"z",), 1, 16)):
        found = at(tree, *names)
        assert (found.files, found.sums[:2]) == (files, (read, 10 * read))
    assert at(tree, b"z", b"y", b"x").path == b"/z/y/x"
    (leaf,) = tree.root.leaves
    assert (leaf.name, tree.root.path_of(leaf)) == (b"four", b"/four")


def test_a_search_finds_directories_and_files_in_any_case() -> None:
    tree = Tree([row(b"/Log/a"), row(b"/b/catalogue"), row(b"/b/c")])
    found = {directory.path if leaf is None else directory.path_of(leaf) for directory, leaf in tree.search(b"LOG")}
    assert found == {b"/Log", b"/b/catalogue"}
    assert len(list(tree.search(b"", 2))) == 2


def many(count: int) -> Iterator[FileRow]:
    for number in range(count):
        yield row(b"/d%d/e%d/f%d" % (number % 7, number % 11, number), 1, 2, 3)


def sums_of(tree: Tree) -> List[int]:
    """Of every file that is listed, and of those that are not."""
    total = [0] * len(Sums._fields)
    for directory in tree.directories():
        for part in (*[leaf.row for leaf in directory.leaves], directory.others):
            total = [a + b for a, b in zip(total, part)]
    return total


@pytest.mark.parametrize("memory", [0, 5_000, 100_000, 1 << 30])
def test_what_there_is_no_room_for_is_summed_where_it_is(memory: int) -> None:
    tree = Tree(many(1000), memory)
    listed = sum(len(directory.leaves) for directory in tree.directories())
    assert listed + sum(directory.unlisted for directory in tree.directories()) == 1000 == tree.root.files
    assert sums_of(tree) == list(tree.root.sums) == [1000, 2000, 3000, 0, 0, 0]
    assert (listed == 1000) == (memory == 1 << 30) and (memory > 0 or not tree.root.directories)


def test_deep_and_strange_paths() -> None:
    deep = b"/" + b"/".join([b"x"] * 5000) + b"/file"
    tree = Tree([row(deep, 1), row(b"//a", 2), row(b"", 4), row(b"relative/b", 8), row(b"/", 16)])
    assert tree.root.sums[0] == 31 and tree.root.files == 5
    assert sum(1 for _ in tree.directories()) <= DEPTH + 4
    (leaf,) = next(each for each in tree.directories() if each.leaves and len(each.path) > 100).leaves
    assert leaf.name.endswith(b"/x/file") and len(leaf.name) > 9000
