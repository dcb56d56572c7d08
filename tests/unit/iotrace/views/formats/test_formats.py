"""What holds for every format."""

from __future__ import annotations

import io
from typing import Iterator, List

from iotrace.profile.metrics import FileStats
from iotrace.views import formats
from tests.unit.iotrace.views.formats.samples import FILE, HEADER


def test_every_module_is_a_format() -> None:
    assert formats.names() == ["csv", "json", "jsonl"]


def test_formats_stream() -> None:
    for form in formats.names():
        out = io.StringIO(newline="")
        seen: List[int] = []

        def files(out: io.StringIO = out, seen: List[int] = seen) -> Iterator[FileStats]:
            for _ in range(3):
                seen.append(len(out.getvalue()))
                yield FILE

        formats.writer(form)(HEADER, files(), out)
        assert 0 < seen[0] < seen[1] < seen[2], form
