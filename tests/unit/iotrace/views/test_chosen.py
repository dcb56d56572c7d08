"""Tables of chosen columns: their figures, their order, and their formats."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any, Dict, List

import pytest

from iotrace import cli, text
from iotrace.errors import UserError
from iotrace.globs import Selection
from iotrace.profile import activity, reader
from iotrace.profile.metrics import FileStats, SyscallStats
from iotrace.profile.whose import Who
from iotrace.profile.writer import write
from iotrace.views import chosen, columns
from tests.unit.iotrace.views.samples import HEADER, HOSTILE
from tests.unit.iotrace.views.test_front import DATABASE

KIB = 1024


def small(path: bytes, writes: int, **more: Any) -> FileStats:
    call = SyscallStats(writes, 64 * writes, requested={64: writes}, completed={64: writes})
    return FileStats(1, path, bytes_written=64 * writes, syscalls={"write": call}, **more)


FILES = [
    DATABASE,
    small(b"/logs/a.log", 30),
    small(b"/logs/b.log", 10, size=640),
    FileStats(1, b"/etc/motd", size=100, bytes_read=350, syscalls={"read": SyscallStats(4, 350)}),
    small(b"/logs/c.tmp", 5, renamed_to=b"/logs/c.log", ended_as=b"/logs/c.log"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "p", HEADER, FILES)
    return tmp_path / "p"


def table(path: Path, names: str, sort: str, form: str = "json", **more: Any) -> str:
    out = io.StringIO()
    by = more.pop("by", "file")
    width = more.pop("width", 100)
    order = None if sort == "path" else columns.chosen(sort)[0]
    wanted = chosen.Wanted(by, columns.chosen(names), order, **more)
    with reader.open(path) as profile:
        chosen.show(out, [profile], wanted, form, width)
    return out.getvalue()


def rows(path: Path, names: str, sort: str, **more: Any) -> List[Dict[str, Any]]:
    """The lines, without where the files are: all are in one place."""
    found: List[Dict[str, Any]] = json.loads(table(path, names, sort, **more))
    places = {(line.pop("host", "db1"), line.pop("mnt_ns", 1)) for line in found}
    assert places <= {("db1", 1)}
    return found


def test_which_directory_gets_most_small_writes(path: Path) -> None:
    assert rows(path, "small-writes,writes", "small-writes", by="directory", limit=1) == [
        {"directory": "/logs", "small-writes": 45, "writes": 45}
    ]


def test_a_tree_has_all_that_is_below(path: Path) -> None:
    found = {each["tree"]: each["writes"] for each in rows(path, "writes", "writes", by="tree")}
    assert found == {"/": 65, "/logs": 45, "/var": 20, "/var/lib": 20, "/var/lib/db": 20, "/etc": 0}
    assert len(rows(path, "writes", "writes", by="tree", depth=1)) == 4
    assert "total, 5 files" in table(path, "writes", "writes", "text", by="tree")


def test_a_tree_has_everything_whatever_the_paths_are(tmp_path: Path) -> None:
    """A profile may have paths that no kernel shows."""
    names = [b"a", b"a/b", b"//c", b"/d//e", b"/d/f/g/h", b"/", b"x/y/z"]
    write(tmp_path / "p", HEADER, [small(name, 1) for name in names])
    found = {each["tree"]: each["writes"] for each in rows(tmp_path / "p", "writes", "writes", by="tree", limit=0)}
    assert found["/"] == len(names) and found["/d"] == 2 and found["/d/f"] == found["/d/f/g"] == 1
    assert f"total, {len(names)} files" in table(tmp_path / "p", "writes", "writes", "text", by="tree")


def test_histograms_of_a_selection(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(path), "--histograms", "--path", "/logs/*"]) == 0
    output = capsys.readouterr().out
    assert "writes: 45 calls, 2,880 bytes" in output and "64 B .. 128 B" in output and "reads" not in output
    assert "exact sizes asked for" not in output
    assert cli.main(["report", str(path), "--histograms", "--path", "*/db/*"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "exact sizes asked for: 8 KiB x15, 8,191 B x5 " in output
    assert "reads: mean 4.50 us p50 4.46 us" in output and "p50 to p99.9 are at most 10% off" in output


def test_which_errors_and_how_long(tmp_path: Path) -> None:
    failed = FileStats(1, b"/f", syscalls={"write": SyscallStats(5, errors={"EIO": 1, "ENOSPC": 3})})
    write(tmp_path / "p", HEADER, [DATABASE, failed])
    found = {each["file"]: each for each in rows(tmp_path / "p", "errors,errnos,sync-mean,read-mean", "errors")}
    assert found["/f"] == {
        "file": "/f",
        "errors": 4,
        "errnos": "ENOSPC x3 EIO x1",
        "sync-mean": None,
        "read-mean": None,
    }
    assert (found["/var/lib/db/base"]["sync-mean"], found["/var/lib/db/base"]["read-mean"]) == (1 << 20, 4500)


def test_which_files_are_read_over_and_over(path: Path) -> None:
    first, second, *rest = rows(path, "times-read", "times-read")
    assert first == {"file": "/etc/motd", "times-read": 3.5}
    assert second["times-read"] == 0 and {each["times-read"] for each in rest} == {None}


def test_a_temporary_file_is_part_of_what_it_became(path: Path) -> None:
    assert {"file": "/logs/c.log", "writes": 5} in rows(path, "writes", "writes")
    assert {"file": "/logs/c.tmp", "writes": 5} in rows(path, "writes", "writes", folded=False)
    assert {each["extension"] for each in rows(path, "writes", "writes", by="extension")} == {".log", "(none)"}


def test_what_moved_little_is_left_out(path: Path) -> None:
    found = rows(path, "bytes", "bytes", min_bytes=640)
    assert [each["bytes"] for each in found] == [960 * KIB, 1920, 640]


@pytest.mark.parametrize("column", columns.COLUMNS, ids=lambda column: column.name)
def test_a_column_of_sums_is_that_of_the_calls(path: Path, column: columns.Column) -> None:
    """The sums that the profile keeps for each file are those over its calls; every column can sort, and be shown."""
    with reader.open(path) as profile:
        for file, row in zip(profile.files("path"), profile.rows("path")):
            if column.of_sums is not None:
                assert column.of_sums(row.sums) == column.of_activity(activity.of_files([file]))
    output = table(path, column.name, column.name, "text")
    assert all(len(line) <= 100 for line in output.splitlines()) and "total, 5 files" in output
    narrow = table(path, f"{column.name},read-sizes,write-sizes,errnos", "path", "text", width=40)
    assert all(len(line) <= 40 for line in narrow.splitlines()) and "/var/lib/db/base" in narrow


def test_formats_agree(path: Path) -> None:
    names = "read,written,random-reads,sync-p99"
    (title, *values) = csv.reader(io.StringIO(table(path, names, "read", "csv", limit=1)))
    (found,) = json.loads(table(path, names, "read", limit=1))
    late = str(found["sync-p99"])
    assert title == list(found)
    assert values == [["/var/lib/db/base", "db1", "1", "819200", "163840", "0.99", late]]
    markdown = table(path, names, "read", "markdown", limit=1).splitlines()
    assert markdown[0] == "| file | READ | WRITTEN | RAND RD | SYNC P99 |"
    assert markdown[2].startswith("| /var/lib/db/base | 800 KiB | 160 KiB | 99% | 1.14 ms |")


def test_no_format_lets_a_name_through(tmp_path: Path) -> None:
    names = [b"/" + HOSTILE, b"/a|<b>`x`", b"/=1+1"]
    write(tmp_path / "p", HEADER, [small(name, 1) for name in names])
    found = [each["file"] for each in rows(tmp_path / "p", "writes", "writes")]
    assert sorted(text.unescape(str(name)) for name in found) == sorted(names)
    assert "".join(map(str, found)).encode().decode().isprintable()
    for form in ("text", "csv", "markdown"):
        output = table(tmp_path / "p", "writes", "writes", form)
        assert text.safe_text(output.replace("\n", " ").replace("\\", "")) == output.replace("\n", " ").replace(
            "\\", ""
        )
    assert "<b>" not in output and "`" not in output and output.count("|") == 3 * 6
    assert "\n=" not in table(tmp_path / "p", "writes", "writes", "csv", by="extension")


def test_system_calls_go_by_what_the_catalogue_says_of_them(tmp_path: Path) -> None:
    """Not by their names: nobody knows what "unwrite_sync" is."""
    calls = {
        "splice_write": SyscallStats(1, 10, latency_ns={4: 2}, latency_sum_ns=10, latency_max_ns=6),
        "splice_read": SyscallStats(2, 20, errors={"EIO": 1, "EINTR": 2}),
        "fsync": SyscallStats(3, latency_ns={8: 1}, latency_sum_ns=9, latency_max_ns=9),
        "unwrite_sync": SyscallStats(4, 40),
    }
    temporary = FileStats(1, b"/x.tmp", renamed_to=b"/a", ended_as=b"/a", syscalls={"fsync": SyscallStats(1)})
    files = [FileStats(1, b"/a", syscalls=calls), FileStats(1, b"/b", syscalls=calls), temporary]
    write(tmp_path / "p", HEADER, files)
    names = "files,read,written,calls,errors,syncs,time,mean,max"
    found = rows(tmp_path / "p", names, "calls", by="syscall")
    assert [list(line.values()) for line in found] == [
        ["unwrite_sync", 2, 0, 0, 8, 0, 0, 0, None, None],
        ["fsync", 2, 0, 0, 7, 0, 7, 18, 9, 9],
        ["splice_read", 2, 40, 0, 4, 6, 0, 0, None, None],
        ["splice_write", 2, 0, 20, 2, 0, 0, 20, 5, 6],
    ]
    assert rows(tmp_path / "p", names, "calls", by="syscall", selection=Selection((b"/b",)))[1]["calls"] == 3
    assert "total, 2 files" in table(tmp_path / "p", names, "calls", "text", by="syscall")


def test_whose_it_was_has_every_column(tmp_path: Path) -> None:
    """The sums over those who did I/O on a file are those of the file, which is one file."""
    both = [small(b"/logs/a.log", 3), small(b"/logs/a.log", 4)]
    both[0].who, both[1].who = Who("process", b"cp"), Who("process", b"tar")
    write(tmp_path / "p", dataclasses.replace(HEADER, filters={"by": "process"}), both)
    found = {
        each["process"]: each["small-writes"] for each in rows(tmp_path / "p", "small-writes", "writes", by="process")
    }
    assert found == {"cp": 3, "tar": 4}
    for by, name in (("file", "/logs/a.log"), ("directory", "/logs"), ("extension", ".log")):
        assert rows(tmp_path / "p", "files,writes", "writes", by=by) == [{by: name, "files": 1, "writes": 7}]
    assert "total, 1 file\n" in table(tmp_path / "p", "writes", "writes", "text", by="process")
    with pytest.raises(UserError, match="trace with iotrace run --by user"):
        table(tmp_path / "p", "writes", "writes", by="user")


def test_the_same_path_elsewhere_is_told_apart(tmp_path: Path) -> None:
    files = [small(b"/a", 2, host="db1"), small(b"/a", 1, host="db2")]
    write(tmp_path / "p", HEADER, files)
    found = json.loads(table(tmp_path / "p", "writes", "writes"))
    assert [(line["file"], line["host"], line["writes"]) for line in found] == [("/a", "db1", 2), ("/a", "db2", 1)]
    assert "/a (host db2)\n" in table(tmp_path / "p", "writes", "writes", "text")
    files = [small(b"/a", 2), dataclasses.replace(small(b"/a", 1), mnt_ns=7)]
    write(tmp_path / "p", HEADER, files, force=True)
    assert "/a (mnt_ns 7)\n" in table(tmp_path / "p", "writes", "writes", "text")


def test_mounts_are_called_as_in_other_tables(path: Path) -> None:
    (line,) = rows(path, "files", "files", by="mount", selection=Selection((b"/logs/*",)))
    assert line == {"mount": "1  0:0 /logs", "files": 3}


def test_too_many_lines_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "_MOST_GROUPS", 2)
    with pytest.raises(UserError, match="more than 2 lines with these columns: --limit 2"):
        table(path, "read", "read", limit=0)
    with pytest.raises(UserError, match="more than 2 groups"):
        table(path, "read", "read", by="directory")
    assert len(rows(path, "read", "read", limit=2)) == 2


def test_two_profiles_add_up(path: Path) -> None:
    out = io.StringIO()
    wanted = chosen.Wanted("file", columns.chosen("writes,sync-max"), columns.chosen("writes")[0], limit=1)
    with reader.open(path) as a, reader.open(path) as b:
        chosen.show(out, [a, b], wanted, "json")
    assert json.loads(out.getvalue()) == [
        {"file": "/logs/a.log", "host": "db1", "mnt_ns": 1, "writes": 60, "sync-max": None}
    ]


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (["--columns", "read,nothing"], 2, "there is no column 'nothing'"),
        (["--sort", "nothing"], 2, "--sort nothing: there is no column"),
        (["--by", "syscall", "--columns", "read,size"], 2, "--by syscall: size: known of files"),
        (["--by", "user", "--columns", "read"], 2, "trace with iotrace run --by user"),
        (["--errors", "--sort", "read"], 2, "--errors has columns of its own: no --sort"),
        (["--details", "--format", "csv"], 2, "--details does not go with --format csv"),
        (["--over-time", "--names", "opened"], 2, "--over-time is no table"),
        (["--file", "/etc/motd", "--sort", "read"], 2, "--file shows one file"),
        (["--depth", "2"], 2, "--depth needs --by directory"),
        (["--histograms", "--sort", "read"], 2, "--histograms is no table"),
        *(
            (["--path", "/nothing*", *options], 1, "no file matches --path /nothing*")
            for options in ([], ["--by", "file"], ["--format", "csv"], ["--histograms"], ["--over-time"])
        ),
        (["--path", "/nothing*", "--errors"], 1, "no call on what --path and --exclude leave has failed"),
        (["--exclude", "*"], 1, "no file matches --exclude *"),
    ],
)
def test_what_does_not_go_together_is_refused(
    path: Path, options: List[str], status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report", str(path), *options]) == status
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_columns_are_listed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(path), "--columns", "help"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == [column.name for column in columns.COLUMNS]


@pytest.mark.parametrize("words", [["process"], ["user", "--columns", "reads"], ["syscall", "--columns", "opens"]])
def test_what_a_profile_lacks_is_said_before_anything_is_shown(
    path: Path, capsys: pytest.CaptureFixture[str], words: List[str]
) -> None:
    assert cli.main(["report", str(path), "--by", *words]) == 2
    shown, told = capsys.readouterr()
    assert shown == "" and told.count("\n") == 1
