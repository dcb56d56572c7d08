"""The example of the package's README does what it says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

README = Path(__file__).resolve().parents[3] / "asm" / "README.md"


def test_the_example_prints_what_the_readme_shows() -> None:
    example, shown = re.findall(r"```(?:python|text)\n(.*?)```", README.read_text(), re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, str(README), "exec"), {"__name__": "example"})
    assert printed.getvalue() == shown
