"""JSON lines."""

from __future__ import annotations

import json

from tests.unit.iotrace.views.formats.samples import FILE, exported


def test_the_objects_are_those_of_the_document_a_line_each() -> None:
    document = json.loads(exported("json", [FILE]))
    (file,) = document.pop("files")
    assert [json.loads(line) for line in exported("jsonl", [FILE, FILE]).splitlines()] == [document, file, file]
