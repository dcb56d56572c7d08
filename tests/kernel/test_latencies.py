"""Histograms of latencies have every call.

Their cells have 32 bits, which a busy file fills within hours: what does not fit is counted all the same. And the first
open and the first close of a file are somewhere else.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iotrace.profile.values import fine_above
from programs.facts.catalogue import BY_NAME
from programs.facts.records import LATENCY_BUCKETS, LATENCY_FULL_BIT, LATENCY_PIECES, LatencyPiece, OpKey, OpStats
from pybpf.maps import Map
from tests import needs

from .sessions import CALLS, RAW, Child, Form, Pause, every_form, file_of, finished
from .test_session import Aio

pytestmark = needs.root
FULL = (1 << 32) - 1  # one more would be none at all
assert FULL >> LATENCY_FULL_BIT
READS = {BY_NAME[name].code for name in ("pread64", "aio_pread")}


def fill(table: Map[bytes]) -> None:
    """All cells of all reads, in the records or in their pieces."""
    pieces = table.value_size == LatencyPiece.size
    cells = FULL.to_bytes(4, "little") * LATENCY_BUCKETS
    for key, value in list(table.items()):
        found = OpKey.unpack(key)
        if found["op"] not in READS:
            continue
        if pieces:
            for piece in range(LATENCY_PIECES):
                each = OpKey.pack(id=found["id"], op=found["op"], piece=piece)
                table.update(each, cells[: LatencyPiece.size])
        else:
            at = OpStats.latency.offset
            table.update(key, value[:at] + cells + value[at + len(cells) :])


@pytest.mark.parametrize("form", [RAW, Form("raw", (4, 17))], ids=["whole records", "in pieces"])
def test_what_a_full_cell_has_no_room_for_is_counted(form: Form, tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(4096))

    def read(pause: Pause) -> None:
        fd, aio = os.open(path, os.O_RDONLY), Aio()
        for _ in range(2):
            for _ in range(CALLS):
                os.pread(fd, 512, 0)
                assert aio.submit(fd, (Aio.PREAD, 0, 512, None)) == 1
                aio.reap(1)
            pause()

    with Child(read) as child, form.session() as session:
        session.trace_process(child.pid, follow=True)
        child.step()
        maps = session.loaded.maps
        fill(maps["operations" if session.loaded.kernel.big_values else "latency"])
        child.step()
        child.end()
        calls = file_of(finished(session), path).syscalls
    for name in ("pread64", "aio_pread"):
        found = calls[name]
        assert found.calls == 2 * CALLS
        assert sum(found.latency_ns.values()) == LATENCY_BUCKETS * FULL + CALLS
        assert min(found.latency_ns.values()) == FULL
        assert len(found.latency_ns) == LATENCY_BUCKETS


@every_form
def test_opens_and_closes_are_in_their_histograms_the_first_ones_too(form: Form, tmp_path: Path) -> None:
    """Of a file that was opened once its only latency is known to the nanosecond, as their sum."""

    def open_often(_pause: Pause) -> None:
        for times in (1, 2, 3):
            for _ in range(times):
                os.close(os.open(tmp_path / str(times), os.O_RDWR | os.O_CREAT))

    with Child(open_often) as child, form.session() as session:
        session.trace_process(child.pid, follow=True)
        child.end()
        profile = finished(session)
    for times in (1, 2, 3):
        calls = file_of(profile, tmp_path / str(times)).syscalls
        for call in (calls["open"], calls["close"]):
            assert call.calls == sum(call.latency_ns.values()) == times
            assert sum(lower * count for lower, count in call.latency_ns.items()) <= call.latency_sum_ns
            assert fine_above(max(call.latency_ns)) > call.latency_max_ns >= max(call.latency_ns)
            if times == 1:
                assert call.latency_sum_ns == call.latency_max_ns
