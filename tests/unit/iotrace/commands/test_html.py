"""`iotrace html`: what it refuses, what it says, where the page goes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Callable

import pytest

from iotrace import cli
from iotrace.page import library
from tests.unit.iotrace.page.samples import HEADER, data_of, profile, sample

STAND_IN = "/* a library */".ljust(1 << 17)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A profile, where this process is; in the place of the library something that is made at once."""
    monkeypatch.setattr(library, "available", lambda: True)
    monkeypatch.setattr(library, "bundle", lambda: STAND_IN)
    monkeypatch.chdir(tmp_path)
    return profile(tmp_path, "run.iotrace", HEADER, sample())


def test_a_page(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["html", "run.iotrace"]) == 0
    assert capsys.readouterr() == ("page: run.html\n", "")
    page = Path("run.html").read_text(encoding="utf-8")
    assert data_of(page)["summary"]["files"] == 122 and STAND_IN in page
    assert cli.main(["html", "run.iotrace", "--force", "--path", "/etc/*"]) == 0
    assert data_of(Path("run.html").read_text(encoding="utf-8"))["summary"]["files"] == 1


def test_several(run: Path, refused: Callable[..., str]) -> None:
    assert refused("html", "run.iotrace", "run.iotrace") == "a page of several profiles needs a name: -o FILE"
    assert cli.main(["html", "run.iotrace", "run.iotrace", "-o", "p.html"]) == 0


def test_against_another(run: Path, refused: Callable[..., str]) -> None:
    files = [each for each in sample() if b"/wal/" not in each.path]
    profile(run.parent, "other.iotrace", HEADER, iter(files))
    assert cli.main(["html", "run.iotrace", "--against", "other.iotrace", "-o", "p.html"]) == 0
    against = data_of(Path("p.html").read_text(encoding="utf-8"))["summary"]["against"]
    assert [side["files"] for side in (against["before"], against["after"])] == ["82 files", "122 files"]
    assert [40, "appeared"] in against["counts"]
    assert all(entry["before"] == "-" for entry in against["entries"] if "/wal/" in entry["name"])


def test_against_is_for_one_profile(run: Path, refused: Callable[..., str]) -> None:
    said = refused("html", "run.iotrace", "run.iotrace", "--against", "run.iotrace", "-o", "p.html")
    assert said == "--against compares two profiles: name one, or merge the others first (iotrace merge)"


def test_nothing_of_others_is_replaced(run: Path, refused: Callable[..., str]) -> None:
    Path("run.html").write_text("mine")
    assert refused("html", "run.iotrace", "--force").startswith("run.html: there is a file already that is not a page")
    assert Path("run.html").read_text() == "mine"
    assert refused("html", "run.html").startswith("run.html: not a profile")


def test_without_the_library(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(library, "available", lambda: False)
    assert cli.main(["html", "run.iotrace"]) == 1
    assert capsys.readouterr().err == (
        "iotrace: the page needs a charting library: pip install vl-convert-python (or iotrace with the extra:"
        " iotrace[html])\n"
    )
    assert os.listdir(".") == ["run.iotrace"]


def test_a_library_that_makes_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(library, "bundle", lambda: "")
    assert cli.main(["html", "run.iotrace"]) == 1
    assert "no charting library came out of it" in capfd.readouterr().err
    assert os.listdir(".") == ["run.iotrace"]


def test_whoever_makes_the_library_ends_with_the_command(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "bundle", lambda: time.sleep(600))
    Path("damaged").write_bytes(run.read_bytes()[:20_000])
    assert cli.main(["html", "run.iotrace", "damaged", "-o", "p.html"]) == 2
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, 0)
