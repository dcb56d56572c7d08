"""What all maps do: look up, update, delete, walk their keys, read everything, drain."""

from __future__ import annotations

import ctypes
import errno
import itertools
import struct
from typing import Any, Callable, Generic, Iterator, List, Optional, Set, Tuple, Type, TypeVar, cast

from asm import MapSpec, MapType
from pybpf.attributes import InfoAttr, MapElementAttr
from pybpf.descriptor import Descriptor
from pybpf.maps.batches import Batches
from pybpf.syscalls import BpfError, Command, address, bpf, prepare

__all__ = ["ANY", "EXIST", "MMAPABLE", "NOEXIST", "NO_PREALLOC", "AnyMap", "Map"]

ANY, NOEXIST, EXIST = 0, 1, 2  # flags of update
NO_PREALLOC, MMAPABLE = 1 << 0, 1 << 10  # flags of create: BPF_F_NO_PREALLOC (4.6), BPF_F_MMAPABLE (5.5)

_BLOCK = 4096  # elements, where the kernel has no batches
_ATTR_BYTES = ctypes.sizeof(MapElementAttr)

Value = TypeVar("Value")
AnyMap = TypeVar("AnyMap", bound="Map[Any]")


class Map(Descriptor, Generic[Value]):
    """A map of the kernel, open. It exists as long as this descriptor, or a program that uses it, is open.

    `key_size` and `value_size` are bytes. Every method raises BpfError for what the kernel refuses, and ValueError for
    a key or a value of another size.
    """

    def __init__(self, fd: int, spec: MapSpec, max_entries: int) -> None:
        """Own the map behind `fd`, which was made from `spec` with room for `max_entries`."""
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

    @property
    def _batches(self) -> Batches:
        return Batches(self.fileno(), self.type, self.key_size, self._wire_size, self.max_entries, self._subject)

    def _element(self, command: Command, key: int, value: int, flags: int = 0) -> None:
        attr = MapElementAttr(map_fd=self.fileno(), key=key, value=value, flags=flags)
        bpf(command, attr, _ATTR_BYTES, subject=self._subject)

    def _check_key(self, key: bytes) -> int:
        if len(key) != self.key_size:
            raise ValueError(f"map {self.name}: a key of {len(key)} bytes, not {self.key_size}")
        return address(key)

    # One element

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

        Only one thread may use it.
        """
        key, value = ctypes.create_string_buffer(self.key_size), ctypes.create_string_buffer(self._wire_size)
        attr = MapElementAttr(map_fd=self.fileno(), key=ctypes.addressof(key), value=ctypes.addressof(value))
        look = prepare(Command.MAP_LOOKUP_ELEM, attr, _ATTR_BYTES)

        decode = None if type(self)._decode is Map._decode else self._decode

        def find(wanted: bytes) -> Optional[Value]:
            key.raw = wanted
            if look() >= 0:
                return cast(Value, value.raw) if decode is None else decode(value.raw)
            return self.lookup(wanted)  # says whether there is none or something is wrong

        return find

    def update(self, key: bytes, value: Value, flags: int = ANY) -> None:
        """Set the value of `key`.

        Raises BpfError: EEXIST for an existing key with NOEXIST, ENOENT for a missing one with EXIST, E2BIG if the map
        is full.
        """
        raw = self._encode(value)
        if len(raw) != self._wire_size:
            raise ValueError(f"map {self.name}: a value of {len(raw)} bytes, not {self._wire_size}")
        self._element(Command.MAP_UPDATE_ELEM, self._check_key(key), address(raw), flags)

    def setter(self) -> Callable[[bytes, Value], None]:
        """A function that does what `update` does without flags, several times as fast because it keeps what a call
        needs.

        Only one thread may use it.
        """
        key, value = ctypes.create_string_buffer(self.key_size), ctypes.create_string_buffer(self._wire_size)
        attr = MapElementAttr(map_fd=self.fileno(), key=ctypes.addressof(key), value=ctypes.addressof(value))
        write = prepare(Command.MAP_UPDATE_ELEM, attr, _ATTR_BYTES)
        key_size, value_size = self.key_size, self._wire_size

        def put(wanted: bytes, new: Value) -> None:
            raw = self._encode(new)
            if len(wanted) == key_size and len(raw) == value_size:
                key.raw, value.raw = wanted, raw
                if write() >= 0:
                    return
            self.update(wanted, new)  # says what is wrong

        return put

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
        """Remove these keys, in batches from 5.6 on; those that are not there do not matter."""
        batches = self._batches
        if batches.possible(Command.MAP_DELETE_BATCH):
            batches.delete(keys)
            return
        for key in keys:
            self.delete(key)

    # Its keys

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
        step = prepare(Command.MAP_GET_NEXT_KEY, attr, _ATTR_BYTES)

        def after(one: bytes) -> Optional[bytes]:
            key.raw = one
            return following.raw if step() >= 0 else self.next_key(one)

        return after

    def keys(self) -> Iterator[bytes]:
        """Every key, each once. One that comes or goes meanwhile may or may not be among them.

        A hash map starts over when the key that was read last is deleted. Raises BpfError (EAGAIN) if that goes on
        without end.
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

    # All of it

    def items(self) -> Iterator[Tuple[bytes, Value]]:
        """Every key with its value: in batches from 5.6 on, else one by one.

        What stays in the map throughout is found exactly once. What comes or goes meanwhile may or may not be found.
        """
        batches = self._batches
        if batches.possible(Command.MAP_LOOKUP_BATCH):
            yield from self._elements(batches.read(Command.MAP_LOOKUP_BATCH))
            return
        find = self.finder()
        for key in self.keys():
            value = find(key)
            if value is not None:
                yield key, value

    def blocks(self) -> Iterator[Tuple[bytes, bytes]]:
        """What `items` gives, with many keys and many values joined: for a reader who wants one word of each.

        Not for maps with a value per CPU.
        """
        batches = self._batches
        if batches.possible(Command.MAP_LOOKUP_BATCH):
            yield from batches.read(Command.MAP_LOOKUP_BATCH)
            return
        found: Iterator[Tuple[bytes, Any]] = self.items()
        if self.type is MapType.ARRAY:  # whose keys are known
            find, keys = self.finder(), [struct.pack("<I", index) for index in range(self.max_entries)]
            found = ((key, find(key)) for key in keys)
        for block in iter(lambda: list(itertools.islice(found, _BLOCK)), []):
            yield b"".join(key for key, _ in block), b"".join(value for _, value in block)

    def drain(self) -> Iterator[Tuple[bytes, Value]]:
        """Every key with its value, removed from the map as it is read; to be consumed to the end.

        In batches from 5.6 on, else each key is looked up and deleted, once all keys have been read. What a program
        still writes to a value while it is drained is lost: drain a map that programs have left.
        """
        batches = self._batches
        if batches.possible(Command.MAP_LOOKUP_AND_DELETE_BATCH):
            yield from self._elements(batches.read(Command.MAP_LOOKUP_AND_DELETE_BATCH))
            return
        for key in list(self.keys()):
            value = self.lookup(key)
            if value is not None and self.delete(key):
                yield key, value

    def _elements(self, blocks: Iterator[Tuple[bytes, bytes]]) -> Iterator[Tuple[bytes, Value]]:
        size, wire = self.key_size, self._wire_size
        for keys, values in blocks:
            for index in range(len(keys) // size):
                yield (
                    keys[index * size : (index + 1) * size],
                    self._decode(values[index * wire : (index + 1) * wire]),
                )

    def id(self) -> int:
        """The number by which `bpftool map` knows the map (4.13)."""
        info = (ctypes.c_uint32 * 2)()
        attr = InfoAttr(bpf_fd=self.fileno(), info_len=ctypes.sizeof(info), info=ctypes.addressof(info))
        bpf(Command.OBJ_GET_INFO_BY_FD, attr, subject=self._subject)
        return int(info[1])
