"""Reading, emptying and deleting many elements of a map with one call (5.6).

Look-up came with cb4d03ab499d ("bpf: Add generic support for lookup batch op"), deletion with aa2e93b8e58e, and both
for hash maps with 057996380a42 ("bpf: Add batch ops to all htab bpf map"). Not every kind of map has them, nor had each
of them from the beginning.
"""

from __future__ import annotations

import ctypes
import errno
from typing import Dict, Iterator, List, NamedTuple, Tuple

from asm import MapType
from pybpf.attributes import MapBatchAttr
from pybpf.features import FEATURES
from pybpf.syscalls import ENOTSUPP, BpfError, Command, address, bpf

__all__ = ["Batches"]

BYTES = 1 << 22  # as much as a batch may hold
FIRST = 128  # entries, as most maps hold few; later batches are larger

_known: Dict[Tuple[MapType, Command], bool] = {}  # what the kernel was found to do


class Batches(NamedTuple):
    """A map as its batches see it: its descriptor, the bytes that the kernel copies for a key and for a value, how many
    elements it has room for, and what errors call it."""

    fd: int
    type: MapType
    key_size: int
    value_size: int
    max_entries: int
    subject: str

    def possible(self, command: Command) -> bool:
        """Whether the kernel knows `command` for this type of map, found out by asking for nothing."""
        if not FEATURES["batch"].supported():
            return False
        key = (self.type, command)
        if key not in _known:
            attr = MapBatchAttr(map_fd=self.fd)  # room for none: 0 where it is known
            try:
                bpf(command, attr, ctypes.sizeof(attr), retry=False)
                _known[key] = True
            except BpfError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP):
                    raise
                _known[key] = False
        return _known[key]

    def read(self, command: Command) -> Iterator[Tuple[bytes, bytes]]:
        """Keys and values, many at a time, each joined, by BPF_MAP_LOOKUP_BATCH or BPF_MAP_LOOKUP_AND_DELETE_BATCH.

        Raises BpfError.
        """
        most = max(1, min(self.max_entries, BYTES // (self.key_size + self.value_size)))
        room = min(most, FIRST)
        # A hash map writes four bytes of position, an array a whole key.
        position, following = (ctypes.create_string_buffer(max(self.key_size, 8)) for _ in range(2))
        keys = values = ctypes.create_string_buffer(0)
        started = finished = False
        while not finished:
            if len(keys) != room * self.key_size:
                keys = ctypes.create_string_buffer(room * self.key_size)
                values = ctypes.create_string_buffer(room * self.value_size)
            attr = MapBatchAttr(
                in_batch=ctypes.addressof(position) if started else 0,
                out_batch=ctypes.addressof(following),
                keys=ctypes.addressof(keys),
                values=ctypes.addressof(values),
                count=room,
                map_fd=self.fd,
            )
            try:
                bpf(command, attr, ctypes.sizeof(attr), subject=self.subject, retry=False)
            except BpfError as error:
                if error.errno == errno.ENOSPC:  # a bucket with more entries than there is room for; nothing was copied
                    room *= 2
                    continue
                if error.errno == errno.EINTR:
                    continue
                if error.errno != errno.ENOENT:
                    raise
                finished = True  # ENOENT is the end, with what count says before it
            count = attr.count
            yield ctypes.string_at(keys, count * self.key_size), ctypes.string_at(values, count * self.value_size)
            position, following = following, position
            started = True
            room = max(room, min(most, room * 4))

    def delete(self, keys: List[bytes]) -> None:
        """Remove these keys; those that are not there do not matter. Raises BpfError."""
        left = keys
        while left:
            raw = b"".join(left)
            if len(raw) != len(left) * self.key_size:
                raise ValueError(f"{self.subject}: not every key has {self.key_size} bytes")
            attr = MapBatchAttr(keys=address(raw), count=len(left), map_fd=self.fd)
            try:
                bpf(Command.MAP_DELETE_BATCH, attr, ctypes.sizeof(attr), subject=self.subject, retry=False)
                return
            except BpfError as error:
                if error.errno not in (errno.ENOENT, errno.EINTR):
                    raise
                left = left[attr.count + (error.errno == errno.ENOENT) :]  # it stops at a key that is not there
