"""What a status line says of a session while it traces: calls, bytes, and calls that move no data."""

from __future__ import annotations

import os
from pathlib import Path

from tests import needs
from tests.kernel.sessions import BLOCK, Child, Form, both_ways

pytestmark = needs.root


@both_ways
def test_calls_that_move_no_data_are_activity_too(form: Form, tmp_path: Path) -> None:
    def work() -> None:
        fd = os.open(tmp_path / "data", os.O_RDWR | os.O_CREAT, 0o600)
        os.write(fd, bytes(BLOCK))
        for _ in range(3):
            os.fsync(fd)
        os.close(fd)

    with Child(lambda _pause: work()) as child, form.session() as session:
        session.trace_process(child.pid, follow=False)
        child.end()
        assert session.activity() == (1, BLOCK, 5)
