"""Maps of the kernel as dictionaries, with as much of `pybpf.maps.Map` as the collector and its neighbours use."""

from __future__ import annotations

import errno
from typing import Callable, Dict, Iterator, List, Optional, Tuple

from pybpf.maps import NOEXIST
from pybpf.syscalls import BpfError


class Table(Dict[bytes, bytes]):
    """A map by key, in the order in which its entries were made."""

    def __init__(self, key_size: int = 0, value_size: int = 0, max_entries: int = 0) -> None:
        super().__init__()
        self.key_size, self.value_size, self.max_entries = key_size, value_size, max_entries

    def blocks(self) -> Iterator[Tuple[bytes, bytes]]:
        """Keys and values joined, three entries at a time: a reader must not take one block for all."""
        pairs = list(self.items())
        for start in range(0, len(pairs), 3):
            keys, values = zip(*pairs[start : start + 3])
            yield b"".join(keys), b"".join(values)

    def finder(self) -> Callable[[bytes], Optional[bytes]]:
        return self.get

    def delete_all(self, keys: List[bytes]) -> None:
        for key in keys:
            self.pop(key, None)

    # A dictionary's own takes another dictionary, which no user of maps does.
    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:  # type: ignore[override]
        if flags == NOEXIST and key in self:
            raise BpfError(errno.EEXIST, "updating", "files")
        self[key] = value
