"""The kinds of maps: what each is good for, and what it does besides what all maps do."""

from __future__ import annotations

import struct
from mmap import MAP_SHARED, PAGESIZE, PROT_READ, PROT_WRITE
from mmap import mmap as MemoryMap
from typing import Any, Dict, List, Optional, Type, Union

from asm import MapType
from pybpf.cpus import possible_cpus
from pybpf.descriptor import Descriptor
from pybpf.maps.map import Map
from pybpf.syscalls import pidfd_open

__all__ = [
    "CLASSES",
    "Array",
    "CgroupArray",
    "HashMap",
    "LruHash",
    "LruPerCpuHash",
    "MapInMap",
    "PerCpuArray",
    "PerCpuHash",
    "PerfEventArray",
    "ProgArray",
    "RingBuf",
    "TaskStorage",
]


class HashMap(Map[bytes]):
    """BPF_MAP_TYPE_HASH (3.19)."""


class LruHash(HashMap):
    """BPF_MAP_TYPE_LRU_HASH (4.10): makes room by forgetting what was not used for long."""


class Array(Map[bytes]):
    """BPF_MAP_TYPE_ARRAY (3.19). Keys are 32-bit indices; nothing can be deleted."""

    _view: Optional[MemoryMap] = None

    def at(self, index: int) -> bytes:
        """The value at `index`. Raises IndexError beyond the end."""
        value = self.lookup(struct.pack("<I", index)) if 0 <= index < self.max_entries else None
        if value is None:
            raise IndexError(f"map {self.name} has no element {index}")
        return value

    def set(self, index: int, value: bytes) -> None:
        """Write the value at `index`."""
        self.update(struct.pack("<I", index), value)

    @property
    def stride(self) -> int:
        """From one value to the next in `mmap`, in bytes."""
        return (self.value_size + 7) & ~7

    def mmap(self) -> MemoryMap:
        """The values in shared memory, `stride` bytes apart, if the map was created MMAPABLE (5.5, fc9702273e2e).

        There is one mapping, which `close` unmaps. Raises OSError for a map that cannot be mapped.
        """
        if self._view is None:
            length = (self.stride * self.max_entries + PAGESIZE - 1) // PAGESIZE * PAGESIZE
            self._view = MemoryMap(self.fileno(), length, MAP_SHARED, PROT_READ | PROT_WRITE)
        return self._view

    def close(self) -> None:
        """Close the descriptor and unmap the memory. Closing it again does nothing."""
        if self._view is not None:
            self._view.close()
            self._view = None
        super().close()


class _PerCpu(Map[List[bytes]]):
    """A map with one value for each possible CPU: `lookup` and `items` give lists of them, in the order of CPUs."""

    def _kernel_value_size(self) -> int:
        self._stride = (self.value_size + 7) & ~7
        return self._stride * possible_cpus()

    def _decode(self, raw: bytes) -> List[bytes]:
        return [raw[start : start + self.value_size] for start in range(0, len(raw), self._stride)]

    def _encode(self, value: List[bytes]) -> bytes:
        if any(len(one) != self.value_size for one in value):
            raise ValueError(f"map {self.name}: values must be of {self.value_size} bytes")
        return b"".join(one.ljust(self._stride, b"\0") for one in value)


class PerCpuHash(_PerCpu):
    """BPF_MAP_TYPE_PERCPU_HASH (4.6)."""


class LruPerCpuHash(PerCpuHash):
    """BPF_MAP_TYPE_LRU_PERCPU_HASH (4.10)."""


class PerCpuArray(_PerCpu):
    """BPF_MAP_TYPE_PERCPU_ARRAY (4.6)."""

    def at(self, index: int) -> List[bytes]:
        """The values at `index`. Raises IndexError beyond the end."""
        value = self.lookup(struct.pack("<I", index)) if 0 <= index < self.max_entries else None
        if value is None:
            raise IndexError(f"map {self.name} has no element {index}")
        return value


class _DescriptorArray(Map[bytes]):
    """An array of other objects, put in by descriptor. The kernel holds them on its own account from then on."""

    def set(self, index: int, content: Descriptor) -> None:
        """Put `content` at `index`."""
        self.update(struct.pack("<I", index), struct.pack("<I", content.fileno()))

    def clear(self, index: int) -> None:
        """Make the slot at `index` empty."""
        self.delete(struct.pack("<I", index))


class ProgArray(_DescriptorArray):
    """BPF_MAP_TYPE_PROG_ARRAY (4.2): the targets of tail calls; closing this descriptor empties it."""


class CgroupArray(_DescriptorArray):
    """BPF_MAP_TYPE_CGROUP_ARRAY (4.8): cgroups of version 2, by descriptors of their directories."""


class PerfEventArray(_DescriptorArray):
    """BPF_MAP_TYPE_PERF_EVENT_ARRAY (4.3): one perf event for each CPU, see `pybpf.events.perf`."""


class MapInMap(Map[bytes]):
    """BPF_MAP_TYPE_ARRAY_OF_MAPS and BPF_MAP_TYPE_HASH_OF_MAPS (4.12). A look-up gives the id of the inner map."""

    def set(self, key: Union[int, bytes], inner: Map[Any]) -> None:
        """Put the map `inner` at `key`, which for an array is its index."""
        raw = struct.pack("<I", key) if isinstance(key, int) else key
        self.update(raw, struct.pack("<I", inner.fileno()))


class RingBuf(Map[bytes]):
    """BPF_MAP_TYPE_RINGBUF (5.8): see `pybpf.events.ring`."""


class TaskStorage(Map[bytes]):
    """BPF_MAP_TYPE_TASK_STORAGE (5.11): a value that lives and dies with its thread. From here its keys are pidfds."""

    def of_process(self, pid: int) -> Optional[bytes]:
        """The value of the main thread of process `pid`, None if it has none."""
        with Descriptor(pidfd_open(pid)) as process:
            return self.lookup(struct.pack("<I", process.fileno()))


CLASSES: Dict[MapType, Type[Map[Any]]] = {
    MapType.HASH: HashMap,
    MapType.ARRAY: Array,
    MapType.PROG_ARRAY: ProgArray,
    MapType.PERF_EVENT_ARRAY: PerfEventArray,
    MapType.CGROUP_ARRAY: CgroupArray,
    MapType.PERCPU_HASH: PerCpuHash,
    MapType.PERCPU_ARRAY: PerCpuArray,
    MapType.LRU_HASH: LruHash,
    MapType.LRU_PERCPU_HASH: LruPerCpuHash,
    MapType.ARRAY_OF_MAPS: MapInMap,
    MapType.HASH_OF_MAPS: MapInMap,
    MapType.RINGBUF: RingBuf,
    MapType.TASK_STORAGE: TaskStorage,
}
