"""What a run says that it costs, against the kernel's own statistics of the whole run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Tuple

import pytest

from iotrace.tracing.overhead import Meter, reading_ns, system_call_ns
from iotrace.tracing.session import Session, Settings
from pybpf import features
from pybpf.programs import enable_stats
from tests import needs

SECONDS = 1.5


def counted(session: Session) -> Tuple[int, int]:
    told = [program.info() for program in session.loaded.programs]
    return sum(status.run_cnt for status in told), sum(status.run_time_ns for status in told)


def test_sampled_and_whole(tmp_path: Path) -> None:
    if not features.FEATURES["stats"].supported():
        needs.impossible("this kernel keeps no run time of programs")
    (tmp_path / "file").write_bytes(bytes(4096))
    file = os.open(tmp_path / "file", os.O_RDONLY)
    with Session(Settings(pids=[os.getpid()])) as session, enable_stats():
        meter = Meter(session.loaded.entered, lambda: session.activity()[0])
        session.attach()
        session.trace_process(os.getpid(), follow=False)
        meter.begin()
        before = counted(session)
        while meter.sampler._clock() < meter.sampler.started.ns + SECONDS * 1e9:
            for _ in range(100):
                os.pread(file, 64, 0)
            meter.sampler.step()
        meter.end()
        after = counted(session)
    os.close(file)
    told, runs, spent = meter.result(), after[0] - before[0], after[1] - before[1]
    sampled, bystander = told["sampled_ns"], told["bystander_ns"]
    assert isinstance(sampled, int) and sampled < SECONDS * 1e9 / 2
    assert told["program_runs"] == pytest.approx(runs, rel=0.2)
    readings = runs * reading_ns()
    assert told["program_ns"] == pytest.approx(spent - readings, rel=0.35)
    assert told["program_share"] == pytest.approx((spent - readings) / SECONDS / 1e9, rel=0.4)
    assert isinstance(bystander, (int, float)) and 0 < bystander < 5000


def test_a_reading_of_the_clock_takes_less_than_a_system_call() -> None:
    if not features.FEATURES["stats"].supported():
        needs.impossible("this kernel keeps no run time of programs")
    assert 0 < reading_ns() < 10 * system_call_ns()
