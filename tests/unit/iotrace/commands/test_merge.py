"""`iotrace merge`, and what `iotrace report` makes of runs that are there twice, and of hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, List

import pytest

from iotrace import cli
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.writer import write


@pytest.fixture
def hosts(tmp_path: Path) -> List[str]:
    """A profile of each of three hosts, whose files have the same path."""
    names = []
    for number, host in enumerate(("db1", "db2", "\x1b[31mdb3")):
        name = tmp_path / f"{number}.iotrace"
        calls = {"read": SyscallStats(number + 1, 4096 * (number + 1))}
        file = FileStats(1, b"/srv/x", bytes_read=4096 * (number + 1), syscalls=calls)
        write(name, Header(host=host, started_ns=number, ended_ns=10**9), [file])
        names.append(str(name))
    return names


def test_hosts_are_told_apart(hosts: List[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    merged = str(tmp_path / "all.iotrace")
    assert cli.main(["merge", *hosts, "-o", merged]) == 0
    assert capsys.readouterr().out == f"profile: {merged} (3 files, 3 runs, 3 hosts)\n"
    for profiles in ([merged], hosts):
        assert cli.main(["report", *profiles, "--by", "host", "--sort", "path"]) == 0
        lines = capsys.readouterr().out.splitlines()
        table = lines[lines.index("") + 1 :]
        assert [line.split()[-1] for line in table[1:4]] == ["\\x1b[31mdb3", "db1", "db2"]
        assert [line.split()[1:3] for line in table[1:4]] == [["12.0", "KiB"], ["4.00", "KiB"], ["8.00", "KiB"]]
        assert cli.main(["report", *profiles, "--by", "host", "--columns", "calls", "--format", "csv"]) == 0
        lines = capsys.readouterr().out.split()
        assert {"db1", "db2"} < {line.split(",")[0] for line in lines} and len(lines) == 4
        for options in ([], ["--by", "file"]):
            assert cli.main(["report", *profiles, *options]) == 0
            out = capsys.readouterr().out
            assert all(f"{name}:/srv/x\n" in out for name in ("db1", "db2", "\\x1b[31mdb3"))
        assert cli.main(["report", *profiles, "--file", "/srv/x"]) == 0
        out = capsys.readouterr().out
        assert [line for line in out.splitlines() if line.endswith(" of db2")] and "\x1b" not in out


def test_one_host_is_not_named_on_every_line(hosts: List[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", hosts[0], "--by", "file"]) == 0
    assert " /srv/x\n" in capsys.readouterr().out


def test_the_same_profile_twice_is_refused_or_told(
    hosts: List[str], tmp_path: Path, refused: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["merge", hosts[0], hosts[1], hosts[0], "-o", str(tmp_path / "m")]
    assert "the same run twice (db1, " in refused(*words)
    assert not (tmp_path / "m").exists()
    assert cli.main([*words, "--allow-duplicates"]) == 0
    for report in ([str(tmp_path / "m")], [*hosts, hosts[0]]):
        for options in ([], ["--by", "file"], ["--details"]):
            capsys.readouterr()
            assert cli.main(["report", *report, *options]) == 0
            out = " ".join(capsys.readouterr().out.split())
            assert out.count("COUNTED MORE THAN ONCE: the run on db1, 1970-01-01 ") == 1
            assert "is in these numbers 2 times." in out


def test_what_is_there_is_not_replaced(hosts: List[str], tmp_path: Path, refused: Callable[..., str]) -> None:
    other = tmp_path / "other"
    other.write_text("text")
    assert "other" in refused("merge", *hosts, "-o", str(other), "--force")
    assert "--force" in refused("merge", *hosts, "-o", hosts[0])
    assert cli.main(["merge", *hosts, "-o", hosts[0], "--force"]) == 0
    assert other.read_text() == "text"


def test_what_is_not_a_profile_is_named(hosts: List[str], tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "text").write_text("no profile")
    assert refused("merge", hosts[0], str(tmp_path / "text"), "-o", str(tmp_path / "m")).startswith(f"{tmp_path}/text:")
