"""Creating maps, with their names and the types of their keys and values where the kernel takes those."""

from __future__ import annotations

import errno
import functools
from contextlib import ExitStack
from typing import Any, Dict, Mapping, Optional, Type, overload

from asm import MapSpec, MapType
from pybpf.attributes import BtfLoadAttr, MapCreateAttr, kernel_name
from pybpf.cpus import possible_cpus
from pybpf.descriptor import Descriptor
from pybpf.features import FEATURES
from pybpf.maps.kinds import CLASSES
from pybpf.maps.map import NO_PREALLOC, AnyMap, Map
from pybpf.parallel import make_all
from pybpf.syscalls import ENOTSUPP, BpfError, Command, address, bpf
from pybpf.types.btf_build import BtfWriter

__all__ = ["create", "create_all"]

_WITH_BTF = frozenset(
    (
        MapType.HASH,
        MapType.ARRAY,
        MapType.PERCPU_HASH,
        MapType.PERCPU_ARRAY,
        MapType.LRU_HASH,
        MapType.LRU_PERCPU_HASH,
        MapType.TASK_STORAGE,
    )
)


@overload
def create(
    spec: MapSpec,
    kind: None = None,
    *,
    max_entries: Optional[int] = None,
    flags: Optional[int] = None,
    name: bool = True,
    btf: Optional[bool] = None,
) -> Map[Any]: ...


@overload
def create(
    spec: MapSpec,
    kind: Type[AnyMap],
    *,
    max_entries: Optional[int] = None,
    flags: Optional[int] = None,
    name: bool = True,
    btf: Optional[bool] = None,
) -> AnyMap: ...


def create(
    spec: MapSpec,
    kind: Optional[Type[Map[Any]]] = None,
    *,
    max_entries: Optional[int] = None,
    flags: Optional[int] = None,
    name: bool = True,
    btf: Optional[bool] = None,
) -> Map[Any]:
    """Create the map that `spec` describes; the class of the result is that of the spec's type.

    Give the class that you expect as `kind` to have the result typed so: `create(COUNTS, Array).at(0)`. `max_entries`
    and `flags` override the spec's. The name goes along where the kernel takes names (4.15), and the types of key and
    value where it takes BTF (4.18; `btf` False leaves them out). A perf event array of 0 entries gets one per possible
    CPU. Raises BpfError, ValueError for a type of map that is not supported, and TypeError for a spec that describes
    another class than `kind`.
    """
    made = CLASSES.get(spec.type)
    if made is None:
        raise ValueError(f"map {spec.name}: maps of type {spec.type.name} are not supported")
    if kind is not None and not issubclass(made, kind):
        raise TypeError(f"map {spec.name} is of class {made.__name__}, not {kind.__name__}")
    entries = spec.max_entries if max_entries is None else max_entries
    if spec.type is MapType.PERF_EVENT_ARRAY and not entries:
        entries = possible_cpus()
    attr = MapCreateAttr(
        map_type=spec.type,
        key_size=spec.key_size,
        value_size=spec.value_size,
        max_entries=entries,
        map_flags=spec.flags if flags is None else flags,
    )
    if spec.type is MapType.TASK_STORAGE:  # the kernel insists on both (bpf_local_storage_map_alloc_check)
        attr.map_flags |= NO_PREALLOC
        attr.max_entries = 0
    if name and FEATURES["map_names"].supported():
        attr.map_name = kernel_name(spec.name)
    with ExitStack() as stack:
        if spec.inner is not None:  # a map of maps needs one as a pattern while it is created
            attr.inner_map_fd = stack.enter_context(create(spec.inner, name=False, btf=False)).fileno()
        takes_btf = spec.type in _WITH_BTF and btf is not False and FEATURES["btf"].supported()
        return made(_create_with_btf(spec, attr) if takes_btf else _create(spec, attr), spec, entries)


def create_all(specs: Mapping[str, MapSpec]) -> Dict[str, Map[Any]]:
    """Create maps, several at a time: clearing the largest takes the kernel milliseconds. Raises what `create` does."""
    largest_first = sorted(specs, key=lambda name: specs[name].max_entries, reverse=True)
    return make_all({name: functools.partial(create, specs[name]) for name in largest_first})


def _create_with_btf(spec: MapSpec, attr: MapCreateAttr) -> int:
    """Create the map with the types of its key and value if the kernel takes them, else without."""
    writer = BtfWriter()
    attr.btf_key_type_id, attr.btf_value_type_id = writer.map_types(spec)
    blob = writer.build()
    loading = BtfLoadAttr(btf=address(blob), btf_size=len(blob))
    with Descriptor(bpf(Command.BTF_LOAD, loading, subject=f"types of map {spec.name}")) as types:
        attr.btf_fd = types.fileno()
        try:
            return _create(spec, attr)
        except BpfError as error:
            # Field names are a convenience: a kernel may have BTF, but not for this kind of map.
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP) or spec.type is MapType.TASK_STORAGE:
                raise
    attr.btf_fd = attr.btf_key_type_id = attr.btf_value_type_id = 0
    return _create(spec, attr)


def _create(spec: MapSpec, attr: MapCreateAttr) -> int:
    size = f"{attr.max_entries} entries of {spec.key_size}+{spec.value_size} bytes"
    return bpf(Command.MAP_CREATE, attr, subject=f"map {spec.name} ({spec.type.name}, {size})")
