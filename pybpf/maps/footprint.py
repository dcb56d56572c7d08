"""How much memory of the kernel a map takes, known before it is created."""

from __future__ import annotations

from asm import MapSpec, MapType
from pybpf.cpus import possible_cpus
from pybpf.maps.map import NO_PREALLOC

__all__ = ["footprint"]

_ELEMENT, _BUCKET = 48, 16  # bytes of struct htab_elem and struct bucket (kernel/bpf/hashtab.c)
_SPARE_ELEMENTS = 128  # about as many as each CPU keeps in reserve
_SLABS = (96, 192)  # bytes that kmalloc rounds up to besides powers of two (include/linux/slab.h, kmalloc_info)


def footprint(spec: MapSpec) -> int:
    """Bytes of memory that a map takes at most, but for some pages and what the allocator keeps for each CPU.

    An element that is allocated when it is needed is rounded up by kmalloc (6.1, kernel/bpf/memalloc.c), and has a link
    of its own.
    """
    entries, value = spec.max_entries, (spec.value_size + 7) & ~7
    if spec.type is MapType.RINGBUF:
        return entries
    if spec.type in (MapType.PERCPU_ARRAY, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH):
        value *= possible_cpus()
    if spec.type not in (MapType.HASH, MapType.LRU_HASH, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH):
        return entries * max(value, 8)
    element = _ELEMENT + ((spec.key_size + 7) & ~7) + value
    if spec.flags & NO_PREALLOC:
        element = min(size for size in (*_SLABS, 1 << (element + 7).bit_length()) if size >= element + 8)
    else:
        entries += _SPARE_ELEMENTS * possible_cpus()
    return entries * element + (_BUCKET << (spec.max_entries - 1).bit_length())
