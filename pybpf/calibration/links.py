"""How names and inodes hold on to each other, and what an open file says of its opening."""

from __future__ import annotations

import os
from typing import Dict, List, Sequence

from pybpf.calibration.files import INODE_BYTES, OpenFiles
from pybpf.calibration.search import Block, CalibrationError, Search, places, pointers
from pybpf.calibration.specimens import Laboratory

__all__ = ["CREATED", "Links"]

CREATED = "file.f_mode.FMODE_CREATED"
"""The name by which `Links.find` says that this kernel does not mark files that their open has created."""

_DENTRY_BYTES = 256
_ALIAS_WITHIN = 512  # d_u.d_alias is the last member but one, at 272 where locks are debugged
_FILES = 4
# include/linux/fs.h, the same on every kernel
_FMODE_READ, _FMODE_WRITE, _FMODE_PATH, _FMODE_CREATED = 1, 2, 0x4000, 0x100000
_FMODE_ANYWHERE = 0x1C  # LSEEK, PREAD, PWRITE: what an open regular file allows


class Links:
    """Finds members by files of its own, each of which has one name until it has none."""

    def __init__(self, search: Search, laboratory: Laboratory, files: OpenFiles) -> None:
        self.search, self.files = search, files
        self._place = f"{laboratory.base}/links"
        os.mkdir(self._place)

    def find(self) -> Dict[str, str]:
        """Find them; what cannot be found, with the reason. Raises CalibrationError."""
        missing = self._find_mode()
        names = [f"{self._place}/{number}" for number in range(_FILES)]
        opened = [os.open(name, os.O_RDWR | os.O_CREAT, 0o600) for name in names]
        self._find_links(opened)
        self._find_hash(opened, names)
        return missing

    def _find_mode(self) -> Dict[str, str]:
        """f_mode: the ways to open a file show in its bits, and since 4.19 whether its open has created it."""
        path = f"{self._place}/mode"
        fresh = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        ways = {
            fresh: _FMODE_READ | _FMODE_WRITE,
            os.open(path, os.O_RDONLY): _FMODE_READ,
            os.open(path, os.O_WRONLY): _FMODE_WRITE,
            os.open(path, os.O_RDWR | os.O_CREAT): _FMODE_READ | _FMODE_WRITE,
            os.open(path, os.O_PATH): 0,
        }
        blocks = self.files.files(list(ways))

        def fits(word: int, access: int) -> bool:
            kind = _FMODE_ANYWHERE if access else _FMODE_PATH
            return word & 3 == access and word & kind == kind

        size = min(len(block.data) for block in blocks)
        every = [
            at
            for at in range(0, size - 3, 4)
            if all(fits(block.word(at, 4), access) for block, access in zip(blocks, ways.values()))
        ]
        at = self.search.found("file.f_mode", every)
        created = [bool(block.word(at, 4) & _FMODE_CREATED) for block in blocks]
        if created == [fd == fresh for fd in ways]:
            return {}
        return {CREATED: "this kernel does not mark files that their open has created"}

    def _dentries(self, opened: Sequence[int]) -> List[Block]:
        return self.search.follow(self.files.files(opened), "file.f_path.dentry", _DENTRY_BYTES)

    def _find_links(self, opened: Sequence[int]) -> None:
        """A dentry's inode, and the list of an inode's dentries, which has a single one here."""
        dentries = self._dentries(opened)
        inodes = self.search.follow(self.files.files(opened), "file.f_inode", INODE_BYTES)
        self.search.found("dentry.d_inode", places([(d, i.address) for d, i in zip(dentries, inodes)], 8))
        found = []
        for at in pointers(inodes):
            distances = {inode.word(at) - dentry.address for inode, dentry in zip(inodes, dentries)}
            inside = distances.pop()
            if not distances and 0 <= inside < _ALIAS_WITHIN:
                found.append((at, inside))
        if len(found) != 1:
            raise CalibrationError("inode.i_dentry.first", f"found in {len(found)} places, not one")
        self.search.found("inode.i_dentry.first", [found[0][0]])
        self.search.found("dentry.d_u.d_alias", [found[0][1]])

    def _find_hash(self, opened: Sequence[int], names: Sequence[str]) -> None:
        """The pointer back into the table of names: there is none any more when an open file has lost its name."""
        before = self._dentries(opened)
        for name in names[:-1]:
            os.unlink(name)
        after = self._dentries(opened)
        kept = after.pop()
        gone = [at for at in pointers([*before, kept]) if all(block.word(at) == 0 for block in after)]
        self.search.found("dentry.d_hash.pprev", gone)
