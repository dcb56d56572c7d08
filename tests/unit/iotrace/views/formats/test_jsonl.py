"""JSON lines."""

from __future__ import annotations

import json
from typing import Any, Dict, List

from hypothesis import given

from iotrace import unescape
from iotrace.profile.metrics import FileStats, SyscallStats
from iotrace.views import formats
from tests.unit.iotrace.views.formats.samples import FILE, exported, run, several, tables


def lines(text: str) -> List[Dict[str, Any]]:
    return [json.loads(line) for line in text.split("\n")[:-1]]


def test_a_line_is_a_row_with_the_name_of_its_table() -> None:
    found = lines(exported("jsonl", [FILE]))
    assert [line["type"] for line in found] == [table for table, _ in formats.rows([run([FILE])])]
    for line in found:
        assert list(line) == ["type", *(column.name for column in formats.TABLES[line["type"]].columns)]
    (told,) = [line for line in found if line["type"] == "run"]
    assert told == found[0]
    assert (told["command"], told["filters"], told["overhead"]) == (["cp", r"\xff"], {"comm": ["cp"]}, {"ns": 5})
    (file,) = [line for line in found if line["type"] == "file"]
    assert (file["path"], file["deleted"], file["renamed_to"], file["size"]) == ("/var/lib/x", False, None, 8192)


def test_a_table_by_itself_is_its_lines() -> None:
    everything = exported("jsonl", [FILE, FILE]).encode().splitlines()
    for name, content in tables("jsonl", run([FILE, FILE])).items():
        assert content.splitlines() == [
            line for line in everything if line.startswith(b'{"type": "%s"' % name.encode())
        ]


@given(several)
def test_names_survive_as_utf_8_without_lone_surrogates(names: List[bytes]) -> None:
    found = lines(exported("jsonl", [FileStats(1, name, renamed_to=name) for name in names]))
    for key in ("path", "renamed_to"):
        texts = [line[key] for line in found if line["type"] == "file"]
        assert [unescape(text) for text in texts] == names
        assert [text.encode().decode() for text in texts] == texts  # no surrogate can be encoded


def test_numbers_that_readers_would_round_are_strings() -> None:
    edge = 1 << 53
    calls = {"read": SyscallStats(edge, edge + 1, 1764370000000000001, None)}
    found = lines(exported("jsonl", [FileStats(1, b"/a", inode=(1 << 64) - 1, syscalls=calls)]))
    (file,) = [line for line in found if line["type"] == "file"]
    (call,) = [line for line in found if line["type"] == "operation"]
    assert file["inode"] == "18446744073709551615"
    assert (call["calls"], call["bytes"]) == (edge, "9007199254740993")
    assert (call["first_ns"], call["last_ok_ns"]) == ("1764370000000000001", None)
