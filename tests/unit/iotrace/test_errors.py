"""How errors are put into messages."""

from __future__ import annotations

import errno
import os

import pytest

from iotrace.errors import Failure, words
from pybpf.syscalls import BpfError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOENT, "not mounted", "/sys"), "/sys: not mounted"),
        (OSError(errno.EACCES, os.strerror(errno.EACCES), b"/a\xff"), "/a\udcff: Permission denied"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (OSError("the directory has been replaced"), "the directory has been replaced"),
        (BpfError(errno.EPERM, "bpf(2)", "map x"), "map x: bpf(2): Operation not permitted (EPERM)"),
        (Failure("no room"), "no room"),
    ],
)
def test_errors_of_the_system_have_no_number(error: Exception, said: str) -> None:
    assert words(error) == said
