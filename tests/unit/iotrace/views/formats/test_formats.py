"""What holds for every format."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Iterator, List, Tuple

import pytest

from iotrace.profile.metrics import FileStats
from iotrace.views import formats
from tests.unit.iotrace.views.formats.samples import FILE, exported, run, tables


def test_every_module_is_a_format() -> None:
    assert formats.names() == ["csv", "json", "jsonl", "openmetrics", "parquet"]
    assert [name for name in formats.names() if formats.has_tables(name)] == ["csv", "jsonl", "parquet"]
    assert [name for name in formats.names() if formats.has_stream(name)] == ["json", "jsonl", "openmetrics"]


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_formats_stream(form: str) -> None:
    out = io.BytesIO()
    seen: List[int] = []

    def files() -> Iterator[Tuple[int, FileStats]]:
        for number in range(3):
            seen.append(len(out.getvalue()))
            yield number, FILE

    formats.stream_writer(form)([run([])._replace(files=files())], out)
    assert 0 < seen[0] < seen[1] < seen[2]


@pytest.mark.parametrize("form", ["json", "jsonl", "openmetrics"])
def test_a_stream_is_recognised(form: str) -> None:
    content = exported(form, [FILE]).encode()
    assert formats.recognises(content[:4096], content[-4096:])


def test_what_others_have_written_is_not() -> None:
    for content in (b"", b"precious", b"run,date,what\r\n", b'{"type": "run"}\n', b"PAR1xPAR1", b"# TYPE up gauge\n"):
        assert not formats.recognises(content, content), content


def test_tables_are_recognised_by_name_and_content() -> None:
    files = {f"{name}.csv": content for name, content in tables("csv", run([FILE])).items()}
    assert formats.are_tables(list(files))
    assert all(formats.is_table(name, content, content) for name, content in files.items())
    content = files["file.csv"]
    for name in ("file.txt", "file.json", "file.parquet", "file", "../file.csv", ".csv"):
        assert not formats.is_table(name, content, content), name
    assert not formats.are_tables(["file.csv"]) and not formats.are_tables([])
    assert not formats.are_tables(["run.csv", "file.parquet"])


def test_the_document_has_every_table_with_its_key() -> None:
    text = (Path(formats.__file__).parent / "README.md").read_text()
    rows = re.findall(r"^\| (\w+) \| .*? \| (run.*?) \| (.*?) \|$", text, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(formats.TABLES)
    for name, key, rest in rows:
        columns = [column.name for column in formats.TABLES[name].columns]
        words = key.split(", ")
        assert columns[: len(words)] == words, name
        if re.fullmatch(r"[a-z, ]+", rest):
            assert [*words, *rest.split(", ")] == columns, name
