"""Maps: created from an `asm.MapSpec`, read and written as bytes.

Keys and values are the raw bytes of their layouts, little-endian on every machine that is supported; a per-CPU map
has a list of them, one for each possible CPU. What a caller unpacks with is `Layout.struct`, which is quicker than
anything done here.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import itertools
import struct
from mmap import MAP_SHARED, PAGESIZE, PROT_READ, PROT_WRITE
from mmap import mmap as MemoryMap
from typing import (
    Any,
    Callable,
    Dict,
    Generic,
    Iterator,
    List,
    Mapping,
    Optional,
    Set,
    Tuple,
    Type,
    TypeVar,
    Union,
    cast,
    overload,
)

import asm
from asm import MapType
from pybpf import features, syscalls
from pybpf.cpus import possible_cpus
from pybpf.descriptor import Descriptor
from pybpf.parallel import make_all
from pybpf.syscalls import (
    ENOTSUPP,
    BpfError,
    BtfLoadAttr,
    Command,
    InfoAttr,
    MapBatchAttr,
    MapCreateAttr,
    MapElementAttr,
    address,
    bpf,
)
from pybpf.types.btf_build import BtfWriter

__all__ = [
    "ANY",
    "EXIST",
    "MMAPABLE",
    "NOEXIST",
    "NO_PREALLOC",
    "Array",
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
    "footprint",
    "kernel_name",
]

ANY, NOEXIST, EXIST = 0, 1, 2  # flags of update
NO_PREALLOC, MMAPABLE = 1 << 0, 1 << 10  # flags of create: BPF_F_NO_PREALLOC (4.6), BPF_F_MMAPABLE (5.5)

_BLOCK = 4096  # elements, where the kernel has no batches
_BATCH_BYTES = 1 << 22  # as much as a batch may hold
_FIRST_BATCH = 128  # entries, as most maps hold few; later batches are larger
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

Value = TypeVar("Value")
AnyMap = TypeVar("AnyMap", bound="Map[Any]")


def kernel_name(name: str) -> bytes:
    """`name` as the kernel takes it for maps and programs: 15 characters of letters, digits and underscores."""
    return "".join(character if character.isascii() and character.isalnum() else "_" for character in name)[
        :15
    ].encode()


class Map(Descriptor, Generic[Value]):
    """A map of the kernel, open. It exists as long as this descriptor, or a program that uses it, is open.

    `key_size` and `value_size` are bytes; every call raises BpfError for what the kernel refuses, and ValueError for
    a key or a value of another size.
    """

    _batched: Dict[Tuple[MapType, Command], bool] = {}  # what the kernel was found to do in batches

    def __init__(self, fd: int, spec: asm.MapSpec, max_entries: int) -> None:
        super().__init__(fd)
        self.spec = spec
        self.name = spec.name
        self.type = spec.type
        self.key_size = spec.key_size
        self.value_size = spec.value_size
        self.max_entries = max_entries
        self._wire_size = self._kernel_value_size()

    @classmethod
    def of(cls: Type[AnyMap], opened: Map[Any]) -> AnyMap:
        """`opened` as what it is: `Array.of(maps["lost"]).at(0)`. Raises TypeError for a map of another class."""
        if not isinstance(opened, cls):
            raise TypeError(f"map {opened.name} is of class {type(opened).__name__}, not {cls.__name__}")
        return opened

    def _kernel_value_size(self) -> int:
        """Bytes that the kernel copies for one value."""
        return self.value_size

    def _decode(self, raw: bytes) -> Value:
        return cast(Value, raw)

    def _encode(self, value: Value) -> bytes:
        return cast(bytes, value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}{' (closed)' if self.closed else ''}>"

    @property
    def _subject(self) -> str:
        return f"map {self.name}"

    def _element(self, command: Command, key: int, value: int, flags: int = 0) -> None:
        attr = MapElementAttr(map_fd=self.fileno(), key=key, value=value, flags=flags)
        bpf(command, attr, 32, subject=self._subject)

    def _check_key(self, key: bytes) -> int:
        if len(key) != self.key_size:
            raise ValueError(f"map {self.name}: a key of {len(key)} bytes, not {self.key_size}")
        return address(key)

    def lookup(self, key: bytes) -> Optional[Value]:
        """The value of `key`, None if there is none."""
        value = ctypes.create_string_buffer(self._wire_size)
        try:
            self._element(Command.MAP_LOOKUP_ELEM, self._check_key(key), ctypes.addressof(value))
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return self._decode(value.raw)

    def finder(self) -> Callable[[bytes], Optional[Value]]:
        """A function that does what `lookup` does, several times as fast because it keeps what a call needs.

        One thread may use it.
        """
        key, value = ctypes.create_string_buffer(self.key_size), ctypes.create_string_buffer(self._wire_size)
        attr = MapElementAttr(map_fd=self.fileno(), key=ctypes.addressof(key), value=ctypes.addressof(value))
        look = syscalls.prepare(Command.MAP_LOOKUP_ELEM, attr, 32)

        decode = None if type(self)._decode is Map._decode else self._decode

        def find(wanted: bytes) -> Optional[Value]:
            key.raw = wanted
            if look() >= 0:
                return cast(Value, value.raw) if decode is None else decode(value.raw)
            return self.lookup(wanted)  # says whether there is none or something is wrong

        return find

    def update(self, key: bytes, value: Value, flags: int = ANY) -> None:
        """Set the value of `key`.

        With NOEXIST an existing key is EEXIST, with EXIST a missing one ENOENT; full is E2BIG.
        """
        raw = self._encode(value)
        if len(raw) != self._wire_size:
            raise ValueError(f"map {self.name}: a value of {len(raw)} bytes, not {self._wire_size}")
        self._element(Command.MAP_UPDATE_ELEM, self._check_key(key), address(raw), flags)

    def delete(self, key: bytes) -> bool:
        """Remove `key`; whether it was there."""
        try:
            self._element(Command.MAP_DELETE_ELEM, self._check_key(key), 0)
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True

    def delete_all(self, keys: List[bytes]) -> None:
        """Remove these keys; those that are not there do not matter. In batches from 5.6 on (aa2e93b8e58e)."""
        left = keys if self._batches(Command.MAP_DELETE_BATCH) else []
        while left:
            raw = b"".join(left)
            if len(raw) != len(left) * self.key_size:
                raise ValueError(f"map {self.name}: a key is not of {self.key_size} bytes")
            attr = MapBatchAttr(keys=address(raw), count=len(left), map_fd=self.fileno())
            try:
                bpf(Command.MAP_DELETE_BATCH, attr, ctypes.sizeof(attr), subject=self._subject, retry=False)
                return
            except BpfError as error:
                if error.errno not in (errno.ENOENT, errno.EINTR):
                    raise
                left = left[attr.count + (error.errno == errno.ENOENT) :]  # it stops at a key that is not there
        if not self._batches(Command.MAP_DELETE_BATCH):
            for key in keys:
                self.delete(key)

    def next_key(self, key: Optional[bytes]) -> Optional[bytes]:
        """The key after `key`; None behind the last.

        The first one for None (4.12, 8fe45924387b) and, in hash maps, for a key that is not there.
        """
        following = ctypes.create_string_buffer(self.key_size)
        start = 0 if key is None else self._check_key(key)
        try:
            self._element(Command.MAP_GET_NEXT_KEY, start, ctypes.addressof(following))
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return following.raw

    def _stepper(self) -> Callable[[bytes], Optional[bytes]]:
        """A function that does what `next_key` does for a key, several times as fast."""
        key, following = (ctypes.create_string_buffer(self.key_size) for _ in range(2))
        attr = MapElementAttr(map_fd=self.fileno(), key=ctypes.addressof(key), value=ctypes.addressof(following))
        step = syscalls.prepare(Command.MAP_GET_NEXT_KEY, attr, 32)

        def after(one: bytes) -> Optional[bytes]:
            key.raw = one
            return following.raw if step() >= 0 else self.next_key(one)

        return after

    def keys(self) -> Iterator[bytes]:
        """Every key, each once. One that comes or goes meanwhile may or may not be among them.

        When the key that we stand on is deleted, a hash map starts over; BpfError (EAGAIN) if that goes on without end.
        """
        seen: Set[bytes] = set()
        key, after = self.next_key(None), self._stepper()
        for _step in range(16 * self.max_entries + 64):
            if key is None:
                return
            if key not in seen:
                seen.add(key)
                yield key
            key = after(key)
        raise BpfError(errno.EAGAIN, "reading all keys", self._subject, "it changes faster than it can be read")

    def items(self) -> Iterator[Tuple[bytes, Value]]:
        """Every key with its value: in batches from 5.6 on (cb4d03ab499d), else one by one.

        What stays in the map throughout is found exactly once. What comes or goes meanwhile may or may not be found.
        """
        if self._batches(Command.MAP_LOOKUP_BATCH):
            yield from self._batch(Command.MAP_LOOKUP_BATCH)
            return
        find = self.finder()
        for key in self.keys():
            value = find(key)
            if value is not None:
                yield key, value

    def blocks(self) -> Iterator[Tuple[bytes, bytes]]:
        """What `items` gives, many keys and many values at a time, each joined: for who looks at one word of each.

        Not for maps with a value per CPU.
        """
        if self._batches(Command.MAP_LOOKUP_BATCH):
            yield from self._blocks(Command.MAP_LOOKUP_BATCH)
            return
        found: Iterator[Tuple[bytes, Any]] = self.items()
        if self.type is MapType.ARRAY:  # whose keys are known
            find, keys = self.finder(), [struct.pack("<I", index) for index in range(self.max_entries)]
            found = ((key, find(key)) for key in keys)
        for block in iter(lambda: list(itertools.islice(found, _BLOCK)), []):
            yield b"".join(key for key, _ in block), b"".join(value for _, value in block)

    def drain(self) -> Iterator[Tuple[bytes, Value]]:
        """Every key with its value, removed from the map as it is read; to be consumed to the end.

        In batches from 5.6 on (057996380a42 "bpf: Add batch ops to all htab bpf map"), else each key is looked up and
        deleted, once all keys have been read. A program that still writes to a value while it is drained writes in
        vain: drain a map that programs have left.
        """
        if self._batches(Command.MAP_LOOKUP_AND_DELETE_BATCH):
            yield from self._batch(Command.MAP_LOOKUP_AND_DELETE_BATCH)
            return
        for key in list(self.keys()):
            value = self.lookup(key)
            if value is not None and self.delete(key):
                yield key, value

    def _batches(self, command: Command) -> bool:
        """Whether the kernel knows `command` for this kind of map, found out by asking for nothing."""
        if not features.FEATURES["batch"].supported():
            return False
        key = (self.type, command)
        if key not in Map._batched:
            attr = MapBatchAttr(map_fd=self.fileno())  # room for none: 0 where it is known
            try:
                bpf(command, attr, ctypes.sizeof(attr), retry=False)
                Map._batched[key] = True
            except BpfError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP):
                    raise
                Map._batched[key] = False
        return Map._batched[key]

    def _batch(self, command: Command) -> Iterator[Tuple[bytes, Value]]:
        size, wire = self.key_size, self._wire_size
        for keys, values in self._blocks(command):
            for index in range(len(keys) // size):
                yield (
                    keys[index * size : (index + 1) * size],
                    self._decode(values[index * wire : (index + 1) * wire]),
                )

    def _blocks(self, command: Command) -> Iterator[Tuple[bytes, bytes]]:
        size, wire = self.key_size, self._wire_size
        most = max(1, min(self.max_entries, _BATCH_BYTES // (size + wire)))
        room = min(most, _FIRST_BATCH)
        # A hash map writes four bytes of position, an array a whole key.
        position, following = (ctypes.create_string_buffer(max(size, 8)) for _ in range(2))
        keys = values = ctypes.create_string_buffer(0)
        started = finished = False
        while not finished:
            if len(keys) != room * size:
                keys, values = ctypes.create_string_buffer(room * size), ctypes.create_string_buffer(room * wire)
            attr = MapBatchAttr(
                in_batch=ctypes.addressof(position) if started else 0,
                out_batch=ctypes.addressof(following),
                keys=ctypes.addressof(keys),
                values=ctypes.addressof(values),
                count=room,
                map_fd=self.fileno(),
            )
            try:
                bpf(command, attr, ctypes.sizeof(attr), subject=self._subject, retry=False)
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
            yield ctypes.string_at(keys, count * size), ctypes.string_at(values, count * wire)
            position, following = following, position
            started = True
            room = max(room, min(most, room * 4))

    def id(self) -> int:
        """The number by which `bpftool map` knows the map (4.13)."""
        info = (ctypes.c_uint32 * 2)()
        attr = InfoAttr(bpf_fd=self.fileno(), info_len=ctypes.sizeof(info), info=ctypes.addressof(info))
        bpf(Command.OBJ_GET_INFO_BY_FD, attr, subject=self._subject)
        return int(info[1])


class HashMap(Map[bytes]):
    """BPF_MAP_TYPE_HASH (3.19)."""


class LruHash(HashMap):
    """BPF_MAP_TYPE_LRU_HASH (4.10): makes room by forgetting what was not used for long."""


class Array(Map[bytes]):
    """BPF_MAP_TYPE_ARRAY (3.19). Keys are 32-bit indices; nothing can be deleted."""

    _view: Optional[MemoryMap] = None

    def at(self, index: int) -> bytes:
        """The value at `index`. IndexError beyond the end."""
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
        """The values at `index`. IndexError beyond the end."""
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
    """BPF_MAP_TYPE_PROG_ARRAY (4.2).

    The targets of tail calls. The kernel empties it once this descriptor is closed.
    """


class PerfEventArray(_DescriptorArray):
    """BPF_MAP_TYPE_PERF_EVENT_ARRAY (4.3): one perf event for each CPU, see `perf_buffer`."""


class MapInMap(Map[bytes]):
    """BPF_MAP_TYPE_ARRAY_OF_MAPS and BPF_MAP_TYPE_HASH_OF_MAPS (4.12). A look-up gives the id of the inner map."""

    def set(self, key: Union[int, bytes], inner: Map[Any]) -> None:
        """Put the map `inner` at `key`, which for an array is its index."""
        raw = struct.pack("<I", key) if isinstance(key, int) else key
        self.update(raw, struct.pack("<I", inner.fileno()))


class RingBuf(Map[bytes]):
    """BPF_MAP_TYPE_RINGBUF (5.8): see `ring_buffer`."""


class TaskStorage(Map[bytes]):
    """BPF_MAP_TYPE_TASK_STORAGE (5.11): a value that lives and dies with its thread. From here its keys are pidfds."""

    def of_process(self, pid: int) -> Optional[bytes]:
        """The value of the main thread of process `pid`, None if it has none."""
        with Descriptor(syscalls.pidfd_open(pid)) as process:
            return self.lookup(struct.pack("<I", process.fileno()))


_CLASSES: Dict[MapType, Type[Map[Any]]] = {
    MapType.HASH: HashMap,
    MapType.ARRAY: Array,
    MapType.PROG_ARRAY: ProgArray,
    MapType.PERF_EVENT_ARRAY: PerfEventArray,
    MapType.PERCPU_HASH: PerCpuHash,
    MapType.PERCPU_ARRAY: PerCpuArray,
    MapType.LRU_HASH: LruHash,
    MapType.LRU_PERCPU_HASH: LruPerCpuHash,
    MapType.ARRAY_OF_MAPS: MapInMap,
    MapType.HASH_OF_MAPS: MapInMap,
    MapType.RINGBUF: RingBuf,
    MapType.TASK_STORAGE: TaskStorage,
}


_ELEMENT, _BUCKET, _SPARE_ELEMENTS = 48, 16, 128  # struct htab_elem, struct bucket; of each CPU, about
_SLABS = (96, 192)  # besides powers of two: include/linux/slab.h, kmalloc_info


def footprint(spec: asm.MapSpec) -> int:
    """Bytes of memory that a map takes at most, some pages and what the allocator keeps in reserve for each CPU aside.

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


@overload
def create(
    spec: asm.MapSpec,
    kind: None = None,
    *,
    max_entries: Optional[int] = None,
    flags: Optional[int] = None,
    name: bool = True,
    btf: Optional[bool] = None,
) -> Map[Any]: ...


@overload
def create(
    spec: asm.MapSpec,
    kind: Type[AnyMap],
    *,
    max_entries: Optional[int] = None,
    flags: Optional[int] = None,
    name: bool = True,
    btf: Optional[bool] = None,
) -> AnyMap: ...


def create(
    spec: asm.MapSpec,
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
    made = _CLASSES.get(spec.type)
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
    if name and features.FEATURES["map_names"].supported():
        attr.map_name = kernel_name(spec.name)
    return _with_inner(spec, attr, lambda: _with_btf(spec, attr, btf, lambda fd: made(fd, spec, entries)))


def create_all(specs: Mapping[str, asm.MapSpec]) -> Dict[str, Map[Any]]:
    """Create maps, several at a time: the largest take the kernel milliseconds to clear. Raises what `create` does."""
    largest_first = sorted(specs, key=lambda name: specs[name].max_entries, reverse=True)
    return make_all({name: functools.partial(create, specs[name]) for name in largest_first})


def _with_inner(spec: asm.MapSpec, attr: MapCreateAttr, make: Callable[[], Map[Any]]) -> Map[Any]:
    """A map of maps needs one as a pattern while it is created."""
    if spec.inner is None:
        return make()
    with create(spec.inner, name=False, btf=False) as pattern:
        attr.inner_map_fd = pattern.fileno()
        return make()


def _with_btf(spec: asm.MapSpec, attr: MapCreateAttr, btf: Optional[bool], own: Callable[[int], Map[Any]]) -> Map[Any]:
    wanted = btf is not False and spec.type in _WITH_BTF and features.FEATURES["btf"].supported()
    if wanted:
        writer = BtfWriter()
        attr.btf_key_type_id, attr.btf_value_type_id = writer.map_types(spec)
        blob = writer.build()
        subject = f"types of map {spec.name}"
        with Descriptor(
            bpf(Command.BTF_LOAD, BtfLoadAttr(btf=address(blob), btf_size=len(blob)), subject=subject)
        ) as types:
            attr.btf_fd = types.fileno()
            try:
                return own(_create(spec, attr))
            except BpfError as error:
                # Field names are a convenience: a kernel that has BTF, but not for this kind of map, is none the worse.
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP) or spec.type is MapType.TASK_STORAGE:
                    raise
        attr.btf_fd = attr.btf_key_type_id = attr.btf_value_type_id = 0
    return own(_create(spec, attr))


def _create(spec: asm.MapSpec, attr: MapCreateAttr) -> int:
    size = f"{attr.max_entries} entries of {spec.key_size}+{spec.value_size} bytes"
    return bpf(Command.MAP_CREATE, attr, subject=f"map {spec.name} ({spec.type.name}, {size})")
