"""Where offsets come from, and files of them, which are hostile input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iotrace.errors import Failure, UserError
from iotrace.kernel import offsets
from iotrace.kernel.offsets import Offsets
from programs.facts.members import COMPAT, MEMBERS
from pybpf.calibration import calibrate
from tests import needs

ROOT = Path(__file__).resolve().parents[4]
KNOWN = {members[0]: number * 8 for number, members in enumerate(MEMBERS.values())}


def document(**changes: Any) -> Dict[str, Any]:
    system = os.uname()
    members = {**KNOWN, "task_struct.thread_info.status": 16, "task_struct.thread_info.flags": 0}
    whole = {"format": offsets.FORMAT, "release": system.release, "machine": system.machine, "members": members}
    return {**whole, **changes}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    system, path = os.uname(), str(tmp_path / "offsets.json")
    offsets.write(path, Offsets(dict(KNOWN), "somewhere"), system.release, system.machine)
    assert offsets.read(path) == Offsets(dict(KNOWN), path)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"format": "iotrace-offsets/2"}, "its format is not"),
        ({"release": "4.14.5"}, "offsets of 4.14.5, but the kernel's release is"),
        ({"machine": "riscv64"}, "offsets of riscv64, but the kernel's machine is"),
        ({"members": []}, "offsets that are none"),
        ({"members": {"file.f_pos": -8}}, "offsets that are none"),
        ({"members": {"file.f_pos": 1 << 16}}, "offsets that are none"),
        ({"members": {"file.f_pos": True}}, "offsets that are none"),
        ({"members": {"file.f_pos": 8.0}}, "offsets that are none"),
    ],
)
def test_files_of_no_use(changes: Dict[str, Any], complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "offsets.json"
    path.write_text(json.dumps(document(**changes)))
    with pytest.raises(UserError) as caught:
        offsets.read(str(path))
    assert complaint in str(caught.value) and str(path) in str(caught.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=200), st.integers(1, 100000).map(lambda depth: b"[" * depth)))
def test_anything_else_is_one_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "offsets.json"
    path.write_bytes(content)
    with pytest.raises(UserError):
        offsets.read(str(path))


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in (str(tmp_path / "fifo"), "/dev/zero", str(tmp_path)):
        with pytest.raises(UserError, match="not a regular file"):
            offsets.read(name)
        with pytest.raises(UserError, match="not a regular file"):
            offsets.from_image(name, "x86_64")


def test_a_file_that_would_wait_for_others_is_refused() -> None:
    for name in ("/sys/kernel/tracing/trace_pipe", "/sys/kernel/debug/tracing/trace_pipe"):
        if os.access(name, os.R_OK):
            with pytest.raises(UserError, match="not JSON"):
                offsets.read(name)
            with pytest.raises(UserError):
                offsets.from_image(name, "x86_64")
            return
    needs.impossible("no tracefs is mounted")


def test_a_missing_file_names_the_sources() -> None:
    with pytest.raises(UserError, match="auto, btf, calibrate or a file"):
        offsets.find("x86_64", "/no/such/file")


def test_for_programs() -> None:
    members = {**KNOWN, "task_struct.thread_info.status": 1600}
    found, one = Offsets(members, "here").for_programs("x86_64")
    assert found["compat"] == 1600 and found["file.pos"] == KNOWN["file.f_pos"] and one == 0
    assert set(found) == {*MEMBERS, "compat"}
    del members["file.f_ref"]
    with pytest.raises(Failure, match=r"here: file\.f_ref is not there"):
        Offsets(members, "here").for_programs("x86_64")
    members["file.f_count"] = 4
    found, one = Offsets(members, "here").for_programs("x86_64")
    assert (found["file.ref"], one) == (4, 1)


def test_the_state_of_a_task_where_4_9_to_4_15_had_it() -> None:
    found, _ = Offsets({**KNOWN, "task_struct.thread.status": 2400}, "here").for_programs("x86_64")
    assert found["compat"] == 2400


@pytest.mark.parametrize("machine", sorted(COMPAT))
def test_what_stands_in_for_the_unknown(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bit that is looked for must be in a byte that is always 0; the generation never changes."""
    member, bit = COMPAT[machine]
    members = {name: offset for name, offset in KNOWN.items() if name != "inode.i_generation"}
    missing = {member: "no 32-bit programs", "inode.i_generation": "not told"}
    monkeypatch.setattr(calibrate, "calibrate", lambda _tracefs: calibrate.Calibration(dict(members), missing))
    found, _ = offsets.from_calibration(machine).for_programs(machine)
    name = b"fifteen letters\0" + b"\xff" * 16  # the longest one, and what may lie behind it
    at = found["compat"] - found["task.comm"]
    assert int.from_bytes(name[at : at + 4], "little") & bit == 0
    assert name[at + (bit.bit_length() - 1) // 8] == 0
    assert found["inode.generation"] == found["inode.ino"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=str(ROOT), capture_output=True, text=True)


@pytest.mark.slow
def test_the_tool_reads_an_image(tmp_path: Path) -> None:
    """An image with the running kernel's BTF says what that says."""
    target, output = str(needs.image(tmp_path)), str(tmp_path / "offsets.json")
    nameless = run("tools/offsets", target, "-o", output)
    assert nameless.returncode == 2 and "--release" in nameless.stderr
    done = run("tools/offsets", target, "-o", output, "--release", os.uname().release)
    assert done.returncode == 0, done.stderr
    machine = os.uname().machine
    assert offsets.read(output).members == offsets.from_btf(machine).members
    assert offsets.from_image(target, machine).members == offsets.from_btf(machine).members
