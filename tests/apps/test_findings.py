"""Findings on programs that have the fault, and none on the same done well."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, Set

import pytest

from tests import needs

from . import observe

pytestmark = needs.root

PYTHON = sys.executable


class Fault(NamedTuple):
    """A rule, a shell script that has the fault, and one that does the same work without it. `before` prepares both."""

    rule: str
    script: str
    well: str
    before: str = ""
    programs: str = "sh"


def python(text: str) -> str:
    return f"{PYTHON} -S -c '{text}'"


INSERTS = "seq -f 'insert into t values(%g, hex(randomblob(100)));' 150"
FAULTS = [
    Fault(
        "tiny-syncs",
        f"(echo 'create table t(a, b);'; {INSERTS}) | sqlite3 app.db",
        f"(echo 'create table t(a, b); begin;'; {INSERTS}; echo 'commit;') | sqlite3 app.db",
        programs="sqlite3",
    ),
    Fault(
        "sync-after-every-write",
        "fio --name=log --rw=write --bs=8k --size=1m --fdatasync=1 --filename=f",
        "fio --name=log --rw=write --bs=8k --size=1m --fdatasync=64 --filename=f",
        programs="fio",
    ),
    Fault(
        "empty-syncs",
        python(
            'import os; f = open("f", "wb"); [(f.write(b"x" * (n % 2)), f.flush(), os.fsync(f)) for n in range(120)]'
        ),
        python('import os; f = open("f", "wb"); [(f.write(b"x"), f.flush(), os.fsync(f)) for n in range(60)]'),
    ),
    Fault(
        "durable-small-writes",
        "dd if=/dev/zero of=f bs=4k count=120 oflag=dsync",
        "dd if=/dev/zero of=f bs=480k count=1 oflag=dsync",
        programs="dd",
    ),
    Fault(
        "small-sequential-writes",
        python('f = open("f", "wb", 0); [f.write(b"a line of text\\n") for _ in range(1200)]'),
        python('f = open("f", "wb"); [f.write(b"a line of text\\n") for _ in range(1200)]'),
    ),
    Fault(
        "small-sequential-reads",
        "dd if=in of=/dev/null bs=100 count=1200",
        "dd if=in of=/dev/null bs=64k",
        before="dd if=/dev/zero of=in bs=100 count=1200",
        programs="dd",
    ),
    Fault(
        "small-random-reads",
        "fio --name=r --rw=randread --bs=8k --size=16m --io_size=9m --filename=in",
        "fio --name=r --rw=read --bs=8k --size=16m --io_size=9m --filename=in",
        before="dd if=/dev/zero of=in bs=1M count=16",
        programs="fio dd",
    ),
    Fault(
        "one-at-a-time",
        "fio --name=r --rw=randread --ioengine=libaio --iodepth=1 --bs=4k --size=8m --io_size=5m --filename=in",
        "fio --name=r --rw=randread --ioengine=libaio --iodepth=8 --bs=4k --size=8m --io_size=5m --filename=in",
        before="dd if=/dev/zero of=in bs=1M count=8",
        programs="fio dd",
    ),
    Fault(
        "shared-by-threads",
        "fio --name=r --rw=write --thread --numjobs=9 --bs=64k --size=1m --filename=f",
        "fio --name=r --rw=write --thread --numjobs=9 --bs=64k --size=1m --filename_format='f.$jobnum'",
        programs="fio",
    ),
    Fault(
        "short-reads",
        python('f = open("in", "rb", 0); [(f.seek(0), f.read(65536)) for _ in range(120)]'),
        python('f = open("in", "rb", 0); [(f.seek(0), f.read(100)) for _ in range(120)]'),
        before="dd if=/dev/zero of=in bs=100 count=1",
    ),
    Fault(
        "polling-at-the-end",
        python('f = open("in", "rb", 0); [f.read(100) for _ in range(150)]'),
        python('f = open("in", "rb", 0); [f.read(100) for _ in range(3)]'),
        before="dd if=/dev/zero of=in bs=100 count=1",
    ),
    Fault(
        "read-again",
        "for i in 1 2 3; do cp in out; done",
        "cp in out",
        before="dd if=/dev/zero of=in bs=1M count=2",
        programs="cp dd",
    ),
    Fault(
        "from-storage-again",
        "for i in 1 2 3; do dd if=in iflag=nocache count=0; dd if=in of=/dev/null bs=1M; done",
        "for i in 1 2 3; do dd if=in of=/dev/null bs=1M; done",
        before="dd if=/dev/zero of=in bs=1M count=2; sync in",
        programs="dd sync",
    ),
    Fault(
        "rewritten-in-place",
        python('import os; f = open("f", "wb", 0); [os.pwrite(f.fileno(), b"state", 0) for _ in range(150)]'),
        python('import os; f = open("f", "wb", 0); [os.pwrite(f.fileno(), b"state", 5 * n) for n in range(150)]'),
    ),
    Fault(
        "open-storm",
        python('[open("in", "rb").read() for _ in range(220)]'),
        python('f = open("in", "rb"); [(f.seek(0), f.read()) for _ in range(220)]'),
        before="dd if=/dev/zero of=in bs=100 count=1",
    ),
    Fault(
        "many-small-files",
        "grep -L x in/*; true",
        "grep -L x big; true",
        before="mkdir in; for x in a b; do split -b 1 -a 3 /etc/services in/$x; done; cat in/* > big",
        programs="grep split",
    ),
    Fault(
        "unaligned-direct",
        "dd if=/dev/zero of=f bs=512 count=20 oflag=direct; true",
        "dd if=/dev/zero of=f bs=4096 count=20 oflag=direct",
        programs="dd",
    ),
    Fault(
        "partial-page-writes",
        "fio --name=w --rw=randwrite --bs=1000 --size=2m --io_size=1200000 --filename=f",
        "fio --name=w --rw=randwrite --bs=4k --size=8m --io_size=5m --filename=f",
        programs="fio",
    ),
    Fault(
        "two-speeds",  # a tenth of the file is not in the cache, and nothing is read ahead
        python(
            'import os; f = os.open("in", os.O_RDONLY); os.posix_fadvise(f, 0, 60 * 4096, os.POSIX_FADV_DONTNEED);'
            "os.posix_fadvise(f, 0, 0, os.POSIX_FADV_RANDOM); [os.pread(f, 4096, 4096 * n) for n in range(600)]"
        ),
        python('import os; f = os.open("in", os.O_RDONLY); [os.pread(f, 4096, 4096 * n) for n in range(600)]'),
        before="dd if=/dev/zero of=in bs=4k count=600; sync in",
        programs="dd sync",
    ),
    Fault(
        "left-unsynced",
        python('import os; f = open("f", "wb", 0); f.write(b"a"); os.fsync(f); f.write(b"b")'),
        python('import os; f = open("f", "wb", 0); f.write(b"a"); f.write(b"b"); os.fsync(f)'),
    ),
    Fault(
        "missing-files",
        "for i in $(seq 60); do test -e f; cat gone 2>/dev/null; done; true",
        "for i in $(seq 60); do test -e f; done; cat gone 2>/dev/null; true",
        programs="cat",
    ),
    Fault(
        "hard-errors",
        "mount -t tmpfs -o size=64k none full; dd if=/dev/zero of=full/f bs=64k count=2; umount full; true",
        "mount -t tmpfs -o size=256k none full; dd if=/dev/zero of=full/f bs=64k count=2; umount full",
        before="mkdir full",
        programs="dd mount umount",
    ),
]


def found(place: Path, script: str) -> Set[str]:
    """The rules that hold for what a script did below `place`."""
    profile = place.parent / (place.name + ".iotrace")
    options = ["-q", "-o", str(profile), "--force", "--path", f"{place}/*"]
    subprocess.run(
        observe.iotrace("run", *options, "--", "sh", "-c", script), cwd=place, check=True, stdout=subprocess.DEVNULL
    )
    try:
        told = subprocess.run(
            observe.iotrace("findings", str(profile), "--format", "json"), check=True, stdout=subprocess.PIPE
        )
    finally:
        profile.unlink()
    return {each["rule"] for each in json.loads(told.stdout)}


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.rule for fault in FAULTS])
def test_a_fault_is_found_and_the_same_done_well_is_not(fault: Fault, place: Path) -> None:
    for program in fault.programs.split():
        needs.program(program)
    if fault.before:
        subprocess.run(["sh", "-c", fault.before], cwd=place, check=True, stderr=subprocess.DEVNULL)
    assert fault.rule in found(place, fault.script)
    assert fault.rule not in found(place, f"rm -f f app.db out out.tar; {fault.well}")


@pytest.mark.parametrize(
    "script",
    [
        "cp in out",
        "fio --name=w --rw=write --bs=1m --size=8m --end_fsync=1 --filename=f",
        "true",
    ],
)
def test_nothing_is_found_where_nothing_is_wrong(script: str, place: Path) -> None:
    needs.program("fio")
    subprocess.run(
        ["dd", "if=/dev/zero", "of=in", "bs=1M", "count=4"], cwd=place, check=True, stderr=subprocess.DEVNULL
    )
    assert found(place, script) == set()
