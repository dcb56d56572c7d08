"""What the tests of commands share."""

from __future__ import annotations

from typing import Callable

import pytest

from iotrace import cli


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`refused(*arguments)`: what iotrace says when it turns a request down, in one line and with status 2,
    or 125 where 2 could be the command's own."""

    def ask(*arguments: str) -> str:
        try:
            status: object = cli.main(list(arguments))
        except SystemExit as error:
            status = error.code
        out, err = capsys.readouterr()
        assert status == (125 if arguments[0] == "run" else 2)
        assert out == "" and err.startswith("iotrace: ") and err.endswith("\n") and err.count("\n") == 1
        return err[len("iotrace: ") : -1]

    return ask
