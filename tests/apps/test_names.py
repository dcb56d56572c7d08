"""What became of names: whoever changes them, by io_uring too, whenever iotrace runs, on file systems of all kinds.

What is expected is what the script does, and what stat(2) says there.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Dict, Tuple

import pytest

from tests import needs
from tests.silent import silent_file_system

from .ring import trace_ring
from .test_identity import names
from .traced import trace

pytestmark = needs.root


@pytest.fixture(params=["raw", "perf", "4.14"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A way in, or a kernel that is pretended."""
    kind: str = request.param
    if kind == "4.14":
        monkeypatch.setenv("PRETEND_KERNEL", kind)
    return "perf" if kind == "4.14" else kind


def test_names_do_not_depend_on_when_iotrace_runs(place: Path, form: str) -> None:
    """It is stopped while names change on two CPUs, whose events old kernels hand over in no common order."""
    found = trace(
        place,
        """
        time.sleep(0.3)
        cpus, tracer = sorted(os.sched_getaffinity(0)), os.getppid()

        def on(number):
            os.sched_setaffinity(0, {cpus[number % len(cpus)]})

        def write(name, size):
            fd = create(name); os.write(fd, bytes(size)); os.close(fd)

        os.kill(tracer, signal.SIGSTOP)
        try:
            on(1); write("n0", 1)
            for i in range(8):
                on(i); os.rename(f"n{i}", f"n{i + 1}")
            for i in range(3):
                on(1); write(f"gone{i}", 1)
                on(0); os.unlink(f"gone{i}")
                on(1); write(f"{i}.tmp", 1)
                on(0); os.rename(f"{i}.tmp", f"{i}")
                on(0); write(f"again{i}", 10); os.unlink(f"again{i}")
                on(1); write(f"again{i}", 20)
        finally:
            os.kill(tracer, signal.SIGCONT)
        """,
        ["--attach", form],
    )
    each = {"gone{}": ("deleted", None), "again{}": ("present", None)}
    expected = {name.format(i): fate for name, fate in each.items() for i in range(3)}
    renamed = {f"{i}.tmp": ("deleted", f"{i}") for i in range(3)}
    assert names(found) == {"n0": ("deleted", "n8"), **expected, **renamed}
    assert [(found[f"again{i}"]["incarnations"], found[f"again{i}"]["bytes_written"]) for i in range(3)] == [
        (2, 30)
    ] * 3


def test_names_that_io_uring_changes(place: Path, form: str) -> None:
    """No system call tells of them, and what is renamed and unlinked is not opened by one."""
    found = trace_ring(
        place,
        """
        RENAMEAT, UNLINKAT, LINKAT = 35, 36, 39
        ring = Ring()
        for name in ("kept", "renamed", "removed", "linked"):
            fd = create(name); os.write(fd, bytes(10)); os.close(fd)
        def two(op, a, b):
            return ring.one(op, AT_FDCWD, path(a), AT_FDCWD & 0xFFFFFFFF, path(b))
        done = [two(RENAMEAT, "renamed", "new"), ring.one(UNLINKAT, AT_FDCWD, path("removed")),
                two(LINKAT, "linked", "second")]
        if -errno.EINVAL in done:
            lacks("names by io_uring")      # renames and unlinks: 5.11, links: 5.15
        assert done == [0, 0, 0], done
        fd = os.open("second", os.O_RDONLY); os.read(fd, 100); os.close(fd)
        """,
        ["--attach", form],
    )
    if found.lacks:
        needs.impossible(f"this kernel has no {found.lacks}")
    assert names(found) == {
        "kept": ("present", None),
        "renamed": ("deleted", "new"),
        "removed": ("deleted", None),
        "linked": ("present", None),
        "second": ("present", None),
    }
    assert {found[name]["bytes_written"] for name in ("kept", "renamed", "removed", "linked")} == {10}
    assert (found["second"]["bytes_read"], found["linked"]["bytes_read"]) == (10, 0)


def test_a_file_system_that_never_answers(place: Path, form: str) -> None:
    """Where it is mounted now, nobody can tell; all that is counted is in the profile, of other directories as well."""
    with silent_file_system(place / "silent"):
        found = trace(
            place,
            """
            os.mkdir("hung")
            for i in range(1000):
                fd = create(f"hung/{i}"); os.write(fd, bytes(10)); os.close(fd); os.rename(f"hung/{i}", f"{i}")
            fd = create("gone"); os.write(fd, bytes(10)); os.close(fd); os.unlink("gone")
            assert libc.mount(b"silent", b"hung", b"none", 4096, None) == 0     # MS_BIND
            """,
            ["--attach", form],
        )
        subprocess.run(["umount", "--lazy", str(place / "hung")], check=True)
    told: Dict[str, Tuple[Any, Any]] = dict(names(found))
    assert told.pop("gone") in ((None, None), ("deleted", None)), "it is asked for after three that hang"
    assert told == {f"hung/{i}": (None, f"{i}") for i in range(1000)}
    assert sum(found[name]["bytes_written"] for name in told) == 10_000


NODE = """
const p = require("fs").promises;
(async () => {
  for (let i = 1; i < 7; i++) {
    const h = await p.open("f" + i, "w+"); await h.write(Buffer.alloc(i * 1000), 0, i * 1000, 0);
    await h.datasync(); await h.close();
    await p.rename("f" + i, "g" + i); const b = await p.readFile("g" + i); if (b.length != i * 1000) throw 1;
    if (i % 2 == 0) await p.unlink("g" + i);
  }
})();
"""


@needs.programs("node")
@pytest.mark.parametrize("uring", ["0", "1"])
def test_node_with_and_without_io_uring(place: Path, form: str, uring: str) -> None:
    """libuv uses it for everything, if it is told to and the kernel is new enough, or uses threads."""
    (place / "f.js").write_text(NODE)
    program = needs.program("node")
    found = trace(
        place,
        f"""
        os.environ["UV_USE_IO_URING"] = "{uring}"
        os.execv("{program}", ["node", "f.js"])
        """,
        ["--attach", form],
    )
    told = found.document["coverage"]["io_uring"]
    if not told.startswith("full") and uring == "1" and "f1" not in found.names:
        assert "made" in told and "no rings" not in told, "what could not be seen is told"
        return
    for i in range(1, 7):
        written, read = found[f"f{i}"], found[f"g{i}"]
        assert (written["bytes_written"], written["bytes_synced"], read["bytes_read"]) == (i * 1000,) * 3
        assert (written["state"], read["state"]) == ("deleted", "present" if i % 2 else "deleted")
    assert [found[f"f{i}"]["renamed_to"] for i in (1, 3, 5)] == [str(place / f"g{i}") for i in (1, 3, 5)]


BTRFS = """
import subprocess

def reaped():
    # Faults of the processes that iotrace has had and waited for, one at each look at devices.
    return open(f"/proc/{os.getppid()}/stat").read().rpartition(")")[2].split()[8]

def sh(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
os.mkdir("m"); sh("mount", "-o", "loop", "image", "m")
try:
    found = {}
    for name in ("m", "m/a", "m/b"):
        if name != "m":
            sh("btrfs", "subvolume", "create", name)
        os.mkdir(name + "/d")
        fd = create(name + "/d/f"); os.write(fd, bytes(8192)); os.fsync(fd)
        seen = os.fstat(fd); found[name + "/d/f"] = f"{os.major(seen.st_dev)}:{os.minor(seen.st_dev)}", seen.st_ino
        os.close(fd)
    say(found)
    for name in LOOKS:  # the first may have begun before the last file was opened, the second has not
        before = reaped()
        os.mkdir("m/" + name); os.close(create(f"m/{name}/f"))
        while reaped() == before:
            time.sleep(0.02)
finally:
    if LOOKS:
        sh("umount", "m")
"""


@needs.programs("mkfs.btrfs", "btrfs", "mount")
@pytest.mark.parametrize("gone", [False, True])
def test_subvolumes_have_devices_of_their_own(place: Path, form: str, gone: bool) -> None:
    """As stat(2) says, also where nothing is mounted any more in the end: two files may have one inode number."""
    if "btrfs" not in Path("/proc/filesystems").read_text():
        needs.impossible("this kernel has no btrfs")
    with open(place / "image", "wb") as image:
        image.truncate(200 << 20)
    subprocess.run(["mkfs.btrfs", "-q", str(place / "image")], check=True, stdout=subprocess.DEVNULL)
    try:
        found = trace(place, f"LOOKS = {['x', 'y'] * gone}\n{BTRFS}", ["--attach", form])
    finally:
        subprocess.run(["umount", str(place / "m")], stderr=subprocess.DEVNULL)
    expected = {name: tuple(seen) for name, seen in found.said.items()}
    assert len({device for device, _ in expected.values()}) == 3
    assert {name: (found[name]["device"], found[name]["inode"]) for name in expected} == expected
