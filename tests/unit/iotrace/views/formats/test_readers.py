"""Other programs read what is exported: pandas, DuckDB, Arrow, a spreadsheet, jq. Their sums are those of the profile.

Prometheus has a test of its own. The profile has the names that are hardest to read.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List
from xml.etree import ElementTree

import pytest

from iotrace import cli, unescape
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.writer import write
from tests import needs

NAMES = [
    b"/plain",
    "/日本".encode(),
    b"/\xff\xfe not UTF-8",
    b"/\"quotes\", 'and' commas;",
    b"/lines\r\nand\ttabs\x1b[31m",
    b"/\\x41 and \\",
    b"=1+1",
    b"@SUM(1;2)",
    b'/a;=1+1;"=1",\'=2',
    b"\t=1",
    b"-2+3",
    "/\u2028\u202e\ufeff".encode(),
    b"NULL",
    b"NA",
    b"1e5",
    b"true",
]
BIG = (1 << 53) + 1  # a floating-point number does not hold it
START = 1764370000000000001
FILES = [
    FileStats(
        4026531841,
        name,
        inode=(1 << 64) - 1 - number,
        bytes_read=BIG if number == 2 else 1000 + number,
        bytes_written=4096,
        mapped=number == 1,
        first_read_ns=START if number % 2 else None,
        syscalls={
            "pread64": SyscallStats(
                3, 1000 + number, START, None, {"EIO": 2}, {512: 3}, {512: 1}, {640: 1, 1 << 63: 1}, 700, 700, {600: 3}
            ),
            "close": SyscallStats(1, latency_ns={64: 1}, latency_sum_ns=70, latency_max_ns=70),
        },
        sequential_read={512: 1},
        series=[(0, 2, 400, 0, 0, 0, 1, 500), (number + 1, 1, 600, 1, 4096, 0, 1, 200)],
    )
    for number, name in enumerate(NAMES)
]
READ = sum(file.bytes_read for file in FILES)
SUMS = {
    ("file", "bytes_read"): READ,
    ("file", "bytes_written"): 4096 * len(FILES),
    ("file", "mapped"): 1,
    ("operation", "calls"): 4 * len(FILES),
    ("operation", "bytes"): sum(1000 + number for number in range(len(FILES))),
    ("operation", "latency_sum_ns"): 770 * len(FILES),
    ("error", "count"): 2 * len(FILES),
    ("histogram", "count"): (3 + 1 + 2 + 1 + 1) * len(FILES),
    ("common_size", "count"): 3 * len(FILES),
    ("series", "read_bytes"): 1000 * len(FILES),
}
NOT_ON_OLD = (3, 10)  # what takes long to install is not for the oldest versions too


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stored") / "run.iotrace"
    write(path, Header(host="db1", command=NAMES, coverage={"aio": "=1"}, started_ns=START, interval_ns=10**9), FILES)
    return path


def exported(stored: Path, form: str, *options: str) -> Path:
    """The path of an export, made once for all tests."""
    path = stored.with_name("-".join((form, *options)).replace("--", ""))
    if not path.exists():
        assert cli.main(["export", str(stored), "--format", form, "-o", str(path), *options]) == 0
    return path


def test_pandas_reads_csv(stored: Path) -> None:
    pandas = needs.module("pandas", NOT_ON_OLD)
    place = exported(stored, "csv")
    for (table, column), expected in SUMS.items():
        assert pandas.read_csv(place / f"{table}.csv")[column].sum() == expected, (table, column)
    file = pandas.read_csv(place / "file.csv", keep_default_na=False)
    assert [unescape(text) for text in file["path"]] == NAMES
    exact = pandas.read_csv(place / "file.csv", dtype_backend="numpy_nullable")  # else what may be empty is a float
    assert exact["first_read_ns"].dropna().tolist() == [START] * (len(FILES) // 2)
    assert exact["inode"].tolist() == [each.inode for each in FILES]
    joined = file.merge(pandas.read_csv(place / "operation.csv"), on=["run", "file_id"])
    assert len(joined) == 2 * len(FILES)


def arrow(place: Path) -> Dict[str, Any]:
    return {path.stem: needs.module("pyarrow.parquet", NOT_ON_OLD).read_table(path) for path in place.iterdir()}


def test_arrow_reads_parquet(stored: Path) -> None:
    needs.module("pyarrow", NOT_ON_OLD)
    tables = arrow(exported(stored, "parquet"))
    for (table, column), expected in SUMS.items():
        values = [value for value in tables[table][column].to_pylist() if value is not None]
        assert sum(values) == expected, (table, column)
    file = tables["file"]
    assert [unescape(text) for text in file["path"].to_pylist()] == NAMES
    assert file["inode"].to_pylist() == [each.inode for each in FILES]
    assert file["first_read_ns"].to_pylist() == [each.first_read_ns for each in FILES]
    assert [unescape(word) for word in json.loads(tables["run"]["command"][0].as_py())] == NAMES
    assert max(tables["histogram"]["upper"].to_pylist()) == (1 << 63) + (1 << 60) - 1


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_duckdb_reads_tables(stored: Path, form: str) -> None:
    duckdb = needs.module("duckdb", NOT_ON_OLD)
    needs.module("pyarrow", NOT_ON_OLD)
    place = exported(stored, form)
    with duckdb.connect() as database:
        for (table, column), expected in SUMS.items():
            (found,) = database.execute(f"SELECT sum({column}::HUGEINT) FROM '{place}/{table}.{form}'").fetchone()
            assert found == expected, (table, column)
        paths = database.execute(f"SELECT path FROM '{place}/file.{form}' ORDER BY file_id").fetchall()
        assert [unescape(path) for (path,) in paths] == NAMES
        query = f"SELECT sum(bytes) FROM '{place}/operation.{form}' JOIN '{place}/file.{form}' USING (run, file_id)"
        assert database.execute(query).fetchone() == (SUMS["operation", "bytes"],)


def test_duckdb_reads_json_lines(stored: Path) -> None:
    duckdb = needs.module("duckdb", NOT_ON_OLD)
    lines = exported(stored, "jsonl")
    with duckdb.connect() as database:
        for (table, column), expected in SUMS.items():
            query = (
                f"SELECT sum(TRY_CAST({column} AS HUGEINT)) FROM read_json('{lines}', sample_size = -1) WHERE type = ?"
            )
            assert database.execute(query, [table]).fetchone() == (expected,), (table, column)
        query = f"SELECT path FROM read_json('{lines}', sample_size = -1) WHERE type = 'file'"
        assert [unescape(path) for (path,) in database.execute(query).fetchall()] == NAMES


def jq(*words: object) -> List[Any]:
    return [json.loads(line) for line in needs.output("jq", "-c", *words).splitlines()]


def test_jq_reads_json_lines(stored: Path) -> None:
    lines = exported(stored, "jsonl")
    for (table, column), expected in SUMS.items():
        if (table, column) != ("file", "bytes_read"):
            query = (
                f'[.[] | select(.type == "{table}") | .{column} | numbers, (booleans | if . then 1 else 0 end)] | add'
            )
            assert jq("-s", query, lines) == [expected], (table, column)
    query = 'select(.type == "file") | [.path, .bytes_read, .inode]'
    assert [[unescape(path), int(read), inode] for path, read, inode in jq(query, lines)] == [
        [file.path, file.bytes_read, str(file.inode)] for file in FILES
    ]


def test_jq_reads_the_document(stored: Path) -> None:
    """As far as it goes: version 1.6 replaces what is not UTF-8, and rounds."""
    assert jq("[.files[].bytes_written] | add", exported(stored, "json")) == [SUMS["file", "bytes_written"]]


CELL = "{http://www.gnumeric.org/v10.dtd}Cell"


@needs.programs("ssconvert")
@pytest.mark.parametrize("table", ["file", "operation", "run", "coverage"])
def test_a_spreadsheet_reads_csv_and_finds_no_formula(stored: Path, tmp_path: Path, table: str) -> None:
    """Gnumeric, which keeps formulas as cells without a type of value."""
    converted = tmp_path / "sheet.gnumeric"
    words = ["ssconvert", exported(stored, "csv") / f"{table}.csv", converted]
    subprocess.run(list(map(str, words)), check=True, stderr=subprocess.DEVNULL)
    sheet = ElementTree.fromstring(gzip.decompress(converted.read_bytes()))
    cells = {(int(cell.get("Row", -1)), int(cell.get("Col", -1))): cell for cell in sheet.iter(CELL)}
    assert [cell.text for cell in cells.values() if cell.get("ValueType") is None] == []
    names = [cells[0, column].text for column in range(len([at for at in cells if at[0] == 0]))]
    if table == "file":
        texts = [cells[row, names.index("path")].text or "" for row in range(1, len(FILES) + 1)]
        assert [unescape(text) for text in texts[:12]] == NAMES[:12]  # the others are taken for numbers and the like
    for (of, column), expected in SUMS.items():
        if of == table and column != "bytes_read":
            found = [cells[at].text for at in cells if at[0] and at[1] == names.index(column)]
            assert sum(int(float(text or "nan")) for text in found) == expected, column


@needs.programs("ssconvert")
def test_the_spreadsheet_would_tell_a_formula(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\r\n=1+1,x\r\n")
    subprocess.run(["ssconvert", "x.csv", "x.gnumeric"], cwd=tmp_path, check=True, stderr=subprocess.DEVNULL)
    sheet = ElementTree.fromstring(gzip.decompress((tmp_path / "x.gnumeric").read_bytes()))
    assert [cell.text for cell in sheet.iter(CELL) if cell.get("ValueType") is None] == ["=1+1"]


def test_without_pyarrow_parquet_is_one_line(stored: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['pyarrow'] = None; from iotrace import cli; sys.exit(cli.main())"
    for options in (["-o", str(tmp_path / "x")], ["--table", "file"]):
        words = [sys.executable, "-c", code, "export", str(stored), "--format", "parquet", *options]
        done = subprocess.run(words, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "pip install pyarrow" in done.stderr
    assert list(tmp_path.iterdir()) == []
