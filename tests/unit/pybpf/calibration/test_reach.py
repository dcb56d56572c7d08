"""How far into a struct calibration looks: as far as members lie where every lock carries what debugging it takes."""

from __future__ import annotations

from typing import Dict

import pytest

from pybpf.calibration import files, links, mounts, tasks

# Of a 4.14.5 built with PREEMPT and PROVE_LOCKING, by its DWARF. Without, dentry.d_u.d_alias is at 176.
DENTRY = {"d_hash.pprev": 56, "d_name.name": 80, "d_inode": 88}
ALIAS = {"d_u.d_alias": 272}
INODE = {"i_dentry.first": 440, "i_generation": 888}
FILE = {"f_flags": 120, "f_pos": 256}
FS = {"root.dentry": 120, "pwd.dentry": 136}
TASK = {"pids": 1096, "files": 1520, "signal": 1536, "thread.status": 4464}


@pytest.mark.parametrize(
    ("looked_at", "members"),
    [
        (links._DENTRY_BYTES, DENTRY),
        (mounts._DENTRY_BYTES, DENTRY),
        (links._ALIAS_WITHIN, ALIAS),
        (mounts._FS_BYTES, FS),
        (files.INODE_BYTES, INODE),
        (files._FILE_BYTES, FILE),
        (tasks._TASK_BYTES, TASK),
    ],
)
def test_the_members_of_a_kernel_that_debugs_its_locks_are_within(looked_at: int, members: Dict[str, int]) -> None:
    assert {name: at for name, at in members.items() if at + 8 > looked_at} == {}
