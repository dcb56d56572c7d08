"""`iotrace findings`: its outputs, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iotrace import cli, unescape
from iotrace.findings.rules import RULES
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.writer import write
from tests.unit.iotrace.views.samples import HOSTILE

SHORT = {"read": SyscallStats(100, requested={64: 100}, completed={1: 100})}  # a finding of low severity


@pytest.fixture
def profile(tmp_path: Path) -> str:
    write(tmp_path / "p", Header(), [FileStats(1, b"/" + HOSTILE, syscalls=SHORT), FileStats(1, b"/b", syscalls=SHORT)])
    return str(tmp_path / "p")


def test_text_names_the_files_safely(profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["findings", profile]) == 0
    output = capsys.readouterr().out
    assert output.startswith("   short-reads: 200 of 200 reads returned less than they had asked for\n")
    assert "\\x1b" in output and "\x1b" not in output and "/b\n" in output
    assert "do: ask for what is there" in output and "but not if: " in output


def test_json_has_the_same(profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["findings", profile, "--format", "json", "--path", "/b"]) == 0
    (finding,) = json.loads(capsys.readouterr().out)
    assert (finding["rule"], finding["severity"], finding["files"]) == ("short-reads", "low", 1)
    assert finding["worst"] == ["/b"] and finding["sentence"].startswith("100 of 100 reads")


def test_names_in_json_can_be_any(profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["findings", profile, "--format", "json"]) == 0
    (finding,) = json.loads(capsys.readouterr().out)
    assert sorted(map(unescape, finding["worst"])) == [b"/" + HOSTILE, b"/b"]
    assert all(name.encode().decode().isprintable() for name in finding["worst"])


@pytest.mark.parametrize(("severity", "status"), [("high", 0), ("medium", 0), ("low", 1)])
def test_it_can_fail(profile: str, severity: str, status: int) -> None:
    assert cli.main(["findings", profile, "--fail-on", severity]) == status


def test_without_findings_it_says_so(profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["findings", profile, "--set", "short-reads.calls=101", "--fail-on", "low"]) == 0
    assert "no findings: none of the" in capsys.readouterr().out


def test_rules_are_listed_with_the_numbers_in_force(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["findings", "--rules", "--set", "short-reads.calls=7"]) == 0
    output = capsys.readouterr().out
    assert "at least 7 reads of a file" in " ".join(output.split()) and "short-reads.calls=7  reads" in output
    assert all(f"\n{rule.name} (" in "\n" + output for rule in RULES)


@pytest.mark.parametrize("arguments", [[], ["--set", "a=b", "p"]])
def test_bad_requests(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["findings", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_same_profile_twice_is_told(profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["findings", profile, profile]) == 0
    assert capsys.readouterr().out.startswith("COUNTED MORE THAN ONCE: the run on ")
    assert cli.main(["report", profile, profile, "--by", "directory"]) == 0
    assert "COUNTED MORE THAN ONCE: the run on " in " ".join(capsys.readouterr().out.split())
