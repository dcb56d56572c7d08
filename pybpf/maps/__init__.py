"""Maps: created from an `asm.MapSpec`, read and written as bytes.

    with create(MapSpec("counts", MapType.ARRAY, U32, U64, 4), Array) as counts:
        counts.set(0, (23).to_bytes(8, "little"))
        counts.at(0)

Keys and values are the raw bytes of their layouts, little-endian on every machine that is supported; a per-CPU map has
a list of them, one for each possible CPU. A caller unpacks them with `Layout.struct`, which is quicker than anything
done here. `map` has what all maps do, `kinds` what some do besides, `batches` how many elements are read at a time.
"""

from pybpf.maps.creation import create, create_all
from pybpf.maps.footprint import footprint
from pybpf.maps.kinds import (
    Array,
    CgroupArray,
    HashMap,
    LruHash,
    LruPerCpuHash,
    MapInMap,
    PerCpuArray,
    PerCpuHash,
    PerfEventArray,
    ProgArray,
    RingBuf,
    TaskStorage,
)
from pybpf.maps.map import ANY, EXIST, MMAPABLE, NO_PREALLOC, NOEXIST, Map

__all__ = [
    "ANY",
    "EXIST",
    "MMAPABLE",
    "NOEXIST",
    "NO_PREALLOC",
    "Array",
    "CgroupArray",
    "HashMap",
    "LruHash",
    "LruPerCpuHash",
    "Map",
    "MapInMap",
    "PerCpuArray",
    "PerCpuHash",
    "PerfEventArray",
    "ProgArray",
    "RingBuf",
    "TaskStorage",
    "create",
    "create_all",
    "footprint",
]
