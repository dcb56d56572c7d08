"""What tools/test reads of pyproject.toml before anything is installed, and what it makes of its command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import List

import pytest

from tools import checks
from tools.places import ROOT, cache_home

DOCUMENT = """\
[project]
test = ["not this one"]

[project.optional-dependencies]
latest = ["nor this"]
test = ["a>=1", "b"]  # not a list's end: ]
lint = [
    "c[d]>=2",  # "e"
    'f',
]

[tool.iotrace]
test = ["last"]
"""


@pytest.mark.parametrize(
    ("table", "key", "expected"),
    [
        ("project.optional-dependencies", "lint", ["c[d]>=2", "f"]),
        ("tool.iotrace", "test", ["last"]),
        ("project", "test", ["not this one"]),
    ],
)
def test_an_array_is_read(table: str, key: str, expected: List[str]) -> None:
    assert checks.listed(DOCUMENT, table, key) == expected


@pytest.mark.parametrize(("table", "key"), [("project", "lint"), ("tool", "test"), ("tool.iotrace", "tes")])
def test_what_is_not_there_is_an_error(table: str, key: str) -> None:
    with pytest.raises(checks.Failed, match="no " + key):
        checks.listed(DOCUMENT, table, key)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="impossible: tomllib is new in Python 3.11")
def test_our_own_lists_are_what_they_are_in_toml() -> None:
    import tomllib  # noqa: PLC0415  # novermin

    text = (ROOT / "pyproject.toml").read_text()
    document = tomllib.loads(text)
    extras = document["project"]["optional-dependencies"]
    assert checks.python_packages(text) == extras["test"] + extras["lint"]
    assert checks.debian_packages(text) == document["tool"]["iotrace"]["debian"]


def test_the_cache_needs_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_home().is_absolute()
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_home() == Path("/home/somebody/.cache")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_home() == Path("/elsewhere")


@pytest.mark.parametrize(
    ("words", "ci", "groups", "complete"),
    [
        ("", "", list(checks.GROUPS), False),
        ("--quick", "", list(checks.QUICK), False),
        ("--quick unit", "true", ["unit"], True),
        ("--ci vm kernel", "", ["vm", "kernel"], True),
        ("", "false", list(checks.GROUPS), False),
    ],
)
def test_the_command_line(
    words: str, ci: str, groups: List[str], complete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    parsed = checks.parse(words.split())
    assert (parsed.group, parsed.ci, parsed.pytest) == (groups, complete, [])


def test_arguments_for_pytest_are_its_own() -> None:
    assert checks.parse(["--", "-k", "x", "--", "y"]).pytest == ["-k", "x", "--", "y"]


@pytest.mark.parametrize("words", ["no-such-group", "--no-such-option", "unit -- -k x"])
def test_a_wrong_command_line_is_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        checks.parse(words.split())
    assert ended.value.code == 2 and "tools/test: error: " in capsys.readouterr().err


def test_a_group_that_hangs_is_ended_with_its_stack(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    hangs = tmp_path / "hangs.py"
    hangs.write_text("import time\n\ndef test_it():\n    try: time.sleep(600)\n    finally: print('cleaned up')\n")
    setting = checks.Setting(Path(sys.executable))
    assert setting.pytest("-s", "-p", "no:cacheprovider", hangs, minutes=0.05) == 1
    printed = capfd.readouterr()
    assert "not at its end after 0.05 minutes" in printed.err
    assert "cleaned up" in printed.out and "hangs.py:4: KeyboardInterrupt" in printed.out
