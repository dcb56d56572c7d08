"""The numbers by which calls beside the counters are told, against the kernel's own headers."""

from __future__ import annotations

import subprocess
from pathlib import Path

from programs.calls import beside
from programs.facts.catalogue import Beside
from programs.facts.records import Lost
from tests import needs

SOURCE = """
#include <stdio.h>
#include <sys/ioctl.h>
#include <linux/fs.h>
#include <asm/mman.h>
int main(void) { printf("%d %lu %lu\\n", MS_SYNC, (unsigned long)FICLONE, (unsigned long)FICLONERANGE); return 0; }
"""


def test_the_numbers_are_those_of_the_headers(tmp_path: Path) -> None:
    (tmp_path / "numbers.c").write_text(SOURCE)
    needs.output("gcc", "-o", tmp_path / "numbers", tmp_path / "numbers.c")
    said = subprocess.run([tmp_path / "numbers"], stdout=subprocess.PIPE, check=True).stdout.split()
    assert tuple(map(int, said)) == (beside.MS_SYNC, *beside.CLONING)


def test_each_kind_has_a_counter() -> None:
    assert {what.name.lower() for what in Beside} <= set(Lost.fields)
