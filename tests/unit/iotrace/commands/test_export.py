"""`iotrace export`: selecting, and writing to files and directories."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, List

import pytest

from iotrace import cli
from iotrace.profile.metrics import FileStats, Header
from iotrace.profile.writer import write
from iotrace.views import formats
from tests import needs
from tests.unit.iotrace.profile.samples import sample
from tests.unit.iotrace.views.formats.samples import FILE, HEADER

ROOT = Path(cli.__file__).parent.parent


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "p"
    write(path, HEADER, [FILE, FileStats(1, b"/b", bytes_written=1 << 40), FileStats(1, b"/c")])
    return path


def table(path: Path) -> List[Dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_command_selects_and_writes_to_a_file(stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    arguments = ["export", str(stored), "-o", str(out), "--sort", "bytes", "--exclude", "/c", "--limit", "5"]
    assert cli.main(arguments) == 0
    assert [file["path"] for file in json.loads(out.read_text())["files"]] == ["/b", "/var/lib/x"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "p"]


def test_tables_go_to_a_directory_with_the_ids_of_the_profile(stored: Path, tmp_path: Path) -> None:
    arguments = ["export", str(stored), "--format", "csv", "--sort", "bytes", "--exclude", "/c", "-o"]
    assert cli.main([*arguments, str(tmp_path / "d")]) == 0
    assert {path.name for path in (tmp_path / "d").iterdir()} == {f"{name}.csv" for name in formats.TABLES}
    assert [(row["file_id"], row["path"]) for row in table(tmp_path / "d/file.csv")] == [
        ("2", "/b"),
        ("1", "/var/lib/x"),
    ]
    assert {row["file_id"] for row in table(tmp_path / "d/operation.csv")} == {"1"}


def test_several_profiles_in_one_export(stored: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    write(tmp_path / "q", Header(host="db2"), [FileStats(1, b"/d", bytes_read=5)])
    both = ["export", str(stored), str(tmp_path / "q"), "--format"]
    assert cli.main([*both, "csv", "-o", str(tmp_path / "d")]) == 0
    hosts = {row["run"]: row["host"] for row in table(tmp_path / "d/run.csv")}
    files = [(hosts[row["run"]], row["path"]) for row in table(tmp_path / "d/file.csv")]
    assert files == [("db1", "/var/lib/x"), ("db1", "/b"), ("db1", "/c"), ("db2", "/d")]
    assert cli.main([*both, "openmetrics", "-o", str(tmp_path / "om")]) == 0
    text = (tmp_path / "om").read_text()
    for run, host in hosts.items():
        assert f'iotrace_run_info{{run="{run}",version=' in text and f'host="{host}"' in text
        assert f'iotrace_file_read_bytes_total{{run="{run}",file="/' in text
    assert "one profile" in refused(*both, "json")
    shutil.copy(stored, tmp_path / "copy")
    said = refused("export", str(stored), str(tmp_path / "copy"), "--format", "csv", "-o", str(tmp_path / "e"))
    assert "both have the run on db1" in said and not (tmp_path / "e").exists()


def test_one_table_goes_to_standard_output(stored: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert cli.main(["export", str(stored), "--format", "csv", "--table", "error"]) == 0
    assert capfdbinary.readouterr().out.splitlines()[0] == b"run,file_id,operation,errno,count"
    assert cli.main(["export", str(stored), "--format", "jsonl", "--table", "lost"]) == 0
    assert [json.loads(line)["type"] for line in capfdbinary.readouterr().out.splitlines()] == ["lost"] * 3


def test_those_that_moved_most_have_series_of_their_own(stored: Path, tmp_path: Path) -> None:
    for options, expected in (
        (["--top", "2"], {"/b": 0, "/var/lib/x": 8192, "": 0}),
        (["--top", "1", "--sort", "read"], {"/var/lib/x": 8192, "": 0}),
        (["--top", "0", "--exclude", "/b"], {"": 8192}),
        (["--path", "/b"], {"/b": 0}),
    ):
        arguments = ["export", str(stored), "--format", "openmetrics", "-o", str(tmp_path / "om"), "--force", *options]
        assert cli.main(arguments) == 0
        read = re.findall(r'^iotrace_file_read_bytes_total{file="(.*?)".*} (\d+)$', (tmp_path / "om").read_text(), re.M)
        assert {file: int(count) for file, count in read} == expected, options


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_directory_of_tables_is_replaced_by_force_alone(
    stored: Path, tmp_path: Path, refused: Callable[..., str], form: str
) -> None:
    if form == "parquet":
        needs.module("pyarrow", (3, 10))
    arguments = ["export", str(stored), "--format", form, "-o", str(tmp_path / "d")]
    assert cli.main(arguments) == 0
    assert "replace it with --force" in refused(*arguments)
    assert cli.main([*arguments, "--force"]) == 0
    assert cli.main(["export", str(stored), "--format", "csv", "-o", str(tmp_path / "d"), "--force"]) == 0
    (tmp_path / "d" / "notes.csv").write_text("mine")
    assert "not an export of iotrace" in refused(*arguments, "--force")
    assert (tmp_path / "d" / "notes.csv").read_text() == "mine"


def test_one_table_of_parquet(stored: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    parquet = needs.module("pyarrow.parquet", (3, 10))
    out = tmp_path / "file.parquet"
    arguments = ["export", str(stored), "--format", "parquet", "--table", "file", "-o", str(out), "--force"]
    assert cli.main(arguments) == cli.main(arguments) == 0
    assert parquet.read_table(out)["path"].to_pylist() == ["/var/lib/x", "/b", "/c"]
    parquet.write_table(parquet.read_table(out).replace_schema_metadata({}), out)  # somebody else's
    assert "not an export of iotrace" in refused(*arguments)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--format", "csv"], "name it with -o, or ask for one table with --table"),
        (["--format", "parquet"], "name it with -o, or ask for one table with --table"),
        (["--table", "file"], "--table does not go with --format json"),
        (["--format", "openmetrics", "--table", "file"], "--table does not go with --format openmetrics"),
        (["--format", "csv", "--table", "moon"], "invalid choice"),
        (["--top", "5"], "--top does not go with --format json"),
        (["--timestamps"], "--timestamps does not go with --format json"),
        (["--format", "openmetrics", "--limit", "5"], "--limit does not go with --format openmetrics"),
        (["--format", "openmetrics", "--top", "1001"], "1,000 at most"),
    ],
)
def test_options_that_do_not_go_together(
    stored: Path, refused: Callable[..., str], options: List[str], said: str
) -> None:
    assert said in refused("export", str(stored), *options)


def test_a_damaged_profile_never_replaces_an_export(stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert cli.main(["export", str(stored), "-o", str(out)]) == 0
    assert cli.main(["export", str(stored), "--format", "csv", "-o", str(tmp_path / "d")]) == 0
    old = out.read_text(), sorted((path.name, path.read_text()) for path in (tmp_path / "d").iterdir())
    stored.write_bytes(stored.read_bytes()[:9000])
    assert cli.main(["export", str(stored), "-o", str(out), "--force"]) == 2
    assert cli.main(["export", str(stored), "--format", "csv", "-o", str(tmp_path / "d"), "--force"]) == 2
    assert old == (out.read_text(), sorted((path.name, path.read_text()) for path in (tmp_path / "d").iterdir()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "out.json", "p"]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_tables_that_cannot_be_written_are_one_line(tmp_path: Path, form: str) -> None:
    """Whatever the package that writes them has to say besides, when its objects go."""
    if form == "parquet":
        needs.module("pyarrow", (3, 10))
    write(tmp_path / "p", HEADER, sample(5000))
    code = """
import resource, signal, sys
from iotrace import cli
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
sys.exit(cli.main())
"""
    words = [sys.executable, "-c", code, "export", str(tmp_path / "p"), "--format", form, "-o"]
    done = subprocess.run([*words, str(tmp_path / "d")], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"iotrace: {tmp_path}/d: not written: File too large\n"
    assert [path.name for path in tmp_path.iterdir()] == ["p"]
