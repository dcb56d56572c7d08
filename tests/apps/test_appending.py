"""Where appending writes go, by the descriptor's O_APPEND and the call's own flags."""

from __future__ import annotations

from pathlib import Path

from tests import needs

from .traced import histogram, trace

pytestmark = needs.root


def test_noappend_overrides_an_appending_descriptor(place: Path) -> None:
    """RWF_NOAPPEND, new in 6.9: the write goes to the offset, and the next one without it to the end again."""
    file = trace(
        place,
        """
        fd = create("data", 10000, RW | os.O_APPEND)
        try:
            assert os.pwritev(fd, [bytes(100)], 0, 0x20) == 100
        except OSError as error:
            assert error.errno == errno.EOPNOTSUPP
            lacks("RWF_NOAPPEND")
        assert os.pwritev(fd, [bytes(100)], 100, 0x20) == 100
        assert os.pwritev(fd, [bytes(100)], 200, 0x20 | os.RWF_DSYNC) == 100
        assert os.fstat(fd).st_size == 10000
        assert os.pwritev(fd, [bytes(1000)], 300, os.RWF_DSYNC) == 1000
        assert os.fstat(fd).st_size == 11000
        """,
    )["data"]
    assert histogram(file, "sequential_write") == {256: 1, 512: 1}
    assert (file["lowest_offset"], file["highest_offset"], file["rewrites"]) == (0, 10999, 0)
    assert file["durable_writes"] == 2
