"""The documents name files that exist: every relative link, and every path in back-ticks."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Iterator, List, Set

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOP = {"asm", "iotrace", "programs", "pybpf", "tests", "tools", ".ci"}
SUFFIXES = "py|md|c|bt|txt|toml|yaml"


def documents() -> List[Path]:
    """Every document of the checkout, generated directories apart."""
    return [
        path for path in sorted(ROOT.rglob("*.md")) if path.relative_to(ROOT).parts[0] in TOP or path.parent == ROOT
    ]


def without_blocks(text: str) -> str:
    """A document without its fenced and its indented blocks, which show commands and their output."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE)


def links(text: str) -> Iterator[str]:
    """Relative targets of links, without the part behind the #."""
    for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(text)):
        if not re.match(r"[a-z]+:|#", target):
            yield target.partition("#")[0]


def paths(text: str) -> Iterator[str]:
    """What is in back-ticks and looks like a path: below one of our folders, a folder, or a file by its suffix."""
    for word in re.findall(r"`([^`\s]+)`", without_blocks(text)):
        below = word.partition("/")[0] in TOP and re.fullmatch(r"[\w./-]+/[\w.-]+", word)
        if below or re.fullmatch(rf"(?:[\w.-]+/)*[\w.-]+\.(?:{SUFFIXES})|(?:[\w.-]+/)+", word):
            yield word


def exists(document: Path, name: str) -> bool:
    """Whether there is such a file in the folder of the document, or in one above it."""
    return any((place / name).exists() for place in document.parents)


def missing(document: Path) -> Set[str]:
    """What a document names that does not exist."""
    text = document.read_text()
    gone = {target for target in links(text) if not (document.parent / target).exists()}
    return gone | {path for path in paths(text) if not exists(document, path)}


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_names_files_that_exist(document: Path) -> None:
    assert missing(document) == set()


def test_every_document_can_be_reached_from_the_readme() -> None:
    """By the links and paths of documents, one after the other."""
    reached: Set[Path] = set()
    left = [ROOT / "README.md"]
    while left:
        document = left.pop()
        if document in reached:
            continue
        reached.add(document)
        text = document.read_text()
        for name in {*links(text), *paths(text)}:
            left += [
                place / name for place in (document.parent, ROOT) if name.endswith(".md") and (place / name).exists()
            ]
    assert {path.resolve() for path in documents()} - {path.resolve() for path in reached} == set()


def test_the_walk_names_functions_that_exist() -> None:
    """Each row names a module and functions, classes or methods of it, so that no step needs a search."""
    rows = re.findall(r"^\| \d+ \| (.*?) \|", (ROOT / "DESIGN.md").read_text(), re.MULTILINE)
    places = [place for row in rows for place in re.findall(r"`([\w/]+\.py)`: ((?:`[\w.]+`(?:, )?)+)", row)]
    assert len(rows) == 20 and len(places) > len(rows)
    for module, names in places:
        text = (ROOT / module).read_text()
        for name in re.findall(r"`([\w.]+)`", names):
            for part in name.split("."):
                assert re.search(rf"^ *(?:def|class) {part}\b", text, re.MULTILINE), f"{module}: {name}"


def test_the_tools_that_the_readme_shows_are_there() -> None:
    shown = set(re.findall(r"\btools/[\w-]+", (ROOT / "README.md").read_text()))
    assert shown and [name for name in sorted(shown) if not (ROOT / name).exists()] == []


@pytest.mark.slow
def test_the_options_that_the_readme_shows_are_taken() -> None:
    shown = re.findall(
        r"^    iotrace (run|report|merge|diff|export) (.*?)(?:  .*)?$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert len(shown) > 5
    for command, words in shown:
        usage = subprocess.run(
            ["python3", "-m", "iotrace", command, "--help"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        assert [option for option in re.findall(r"--[a-z-]+", words) if option not in usage] == []


def test_what_is_gone_is_found(tmp_path: Path) -> None:
    text = "[a](gone.md#x) [b](https://example.com/x.md) [c](#here) `programs/gone.py` `tools/gone` `a.b` `x/y` `gone/`"
    (tmp_path / "document.md").write_text(text + "\n\n    `blocks/gone.py`\n\n```\n[d](block.md)\n```\n")
    assert missing(tmp_path / "document.md") == {"gone.md", "programs/gone.py", "tools/gone", "gone/"}
