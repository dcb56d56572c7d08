"""Reading BTF, the kernel's type information: where the members of its structs lie, and the ids of its functions.

The BTF of a kernel holds more than 100,000 types and has no index. Types are not decoded: one pass over the words of
the type section notes where each begins, and only what is asked for is looked at (format: Documentation/bpf/btf.rst).
What comes from a file may be hostile; the one error for that is BtfError.
"""

from __future__ import annotations

import struct
import sys
import weakref
from array import array
from typing import Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

__all__ = ["Btf", "BtfError", "Member", "MissingMember"]

VMLINUX = "/sys/kernel/btf/vmlinux"  # 5.4 (341dfcf8d78e); other files of that kind may be read too

_HEADER = struct.Struct("<HBBIIIII")
_MAGIC = 0xEB9F
_MAX_WORK = 2_000_000  # members and names looked at in one call: a kernel's take a hundredth of that
_MAX_DEPTH = 32  # as the kernel's own MAX_RESOLVE_DEPTH: more is a loop

_INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM, _FWD, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT = range(1, 12)
_FUNC, _FUNC_PROTO, _VAR, _DATASEC, _FLOAT, _DECL_TAG, _TYPE_TAG, _ENUM64 = range(12, 20)

_KINDS = {
    "int": _INT,
    "struct": _STRUCT,
    "union": _UNION,
    "enum": _ENUM,
    "typedef": _TYPEDEF,
    "func": _FUNC,
    "enum64": _ENUM64,
}
_MODIFIERS = frozenset((_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG))
_SIZED = frozenset((_INT, _STRUCT, _UNION, _ENUM, _DATASEC, _FLOAT, _ENUM64))

# Words behind the three that every type has: so many, and so many more for each of its `vlen` entries.
_FIXED = {_INT: 1, _ARRAY: 3, _VAR: 1, _DECL_TAG: 1}
_EACH = {_STRUCT: 3, _UNION: 3, _ENUM: 2, _FUNC_PROTO: 2, _DATASEC: 3, _ENUM64: 3}


class BtfError(ValueError):
    """What was read is not BTF, or is broken."""


class MissingMember(KeyError):
    """The kernel does not have a type or member; its name is the only argument."""

    def __str__(self) -> str:
        return f"the kernel has no {self.args[0]}"


class Member(NamedTuple):
    """Where a member lies: `offset` and `size` in bytes.

    A bit field is `bits` wide (else 0), `shift` bits up in that word.
    """

    offset: int
    size: int
    bits: int = 0
    shift: int = 0


class _Lengths(Dict[int, int]):
    """How many words a type takes, by its second: most are like one before. Raises IndexError for an unknown kind."""

    def __missing__(self, info: int) -> int:
        kind = info >> 24 & 0x1F
        if kind > _ENUM64:
            raise IndexError
        self[info] = length = 3 + _FIXED.get(kind, 0) + _EACH.get(kind, 0) * (info & 0xFFFF)
        return length


_held: weakref.WeakValueDictionary[str, Btf] = weakref.WeakValueDictionary()


class Btf:
    """The types of one BTF blob."""

    def __init__(self, blob: bytes) -> None:
        """Index `blob`. Raises BtfError."""
        if len(blob) < _HEADER.size:
            raise BtfError("too short for BTF")
        magic, version, _flags, header, type_off, type_len, str_off, str_len = _HEADER.unpack_from(blob)
        if magic != _MAGIC:
            raise BtfError("not BTF of a little-endian machine")
        if version != 1:
            raise BtfError(f"BTF of version {version}, not 1")
        if header < _HEADER.size or max(header + type_off + type_len, header + str_off + str_len) > len(blob):
            raise BtfError("BTF whose sections are cut off")
        self._strings = blob[header + str_off : header + str_off + str_len]
        if not self._strings.endswith(b"\0"):
            raise BtfError("BTF whose last string does not end")
        self._words = array("I", blob[header + type_off : header + type_off + type_len // 4 * 4])
        if sys.byteorder != "little":
            self._words.byteswap()
        self._starts = self._index()
        self._names = (
            b""  # the offset of the name of each type from 1 on, four bytes; made when something is looked for
        )
        self._left = _MAX_WORK

    @classmethod
    def vmlinux(cls, path: str = VMLINUX) -> Btf:
        """The running kernel's types: the same object for as long as it is in use, since indexing takes a moment.

        Raises FileNotFoundError where the kernel was built without, BtfError for a file that is not BTF.
        """
        held = _held.get(path)
        if held is None:
            with open(path, "rb") as source:
                held = _held[path] = cls(source.read())
        return held

    def _index(self) -> array[int]:
        """Where each type begins, in words, by id; 0 is void and begins nowhere."""
        words, end = self._words, len(self._words)
        lengths = _Lengths()
        starts = array("I", [0])
        append = starts.append
        position = 0
        try:
            while position < end:
                append(position)
                position += lengths[words[position + 1]]
        except IndexError:
            raise BtfError(f"BTF whose type {len(starts) - 1} is of an unknown kind or cut off") from None
        if position != end:
            raise BtfError(f"BTF whose type {len(starts) - 1} is cut off")
        return starts

    def __len__(self) -> int:
        """How many types there are, including void."""
        return len(self._starts)

    def _at(self, type_id: int) -> Tuple[int, int, int]:
        """Kind, position and vlen of a type."""
        if not 0 < type_id < len(self._starts):
            raise BtfError(f"BTF that refers to a type {type_id}, which it does not have")
        position = self._starts[type_id]
        info = self._words[position + 1]
        return info >> 24 & 0x1F, position, info & 0xFFFF

    def _is_named(self, offset: int, name: bytes) -> bool:
        return self._strings.startswith(name, offset)

    def _offsets_of(self, name: bytes) -> Iterable[int]:
        """Every offset at which a name of a type may be `name`, which may be the tail of another string.

        First comes the one that is no tail, which is the only one in what the kernel's own tools have written.
        """
        wanted, strings = name + b"\0", self._strings
        first = strings.find(b"\0" + wanted) + 1
        if first:
            yield first
        used = set(array("I", self._names))
        offset = strings.find(wanted)
        while offset >= 0:
            self._spend(1)
            if offset != first and offset in used:
                yield offset
            offset = strings.find(wanted, offset + 1)

    def _named(self, offset: int, kind: int) -> Optional[int]:
        """The first type of a kind whose name is at this offset."""
        names, wanted = self._names, offset.to_bytes(4, sys.byteorder)
        self._spend(len(names) >> 9)  # a thousand for a kernel
        at = names.find(wanted)
        while at >= 0:
            self._spend(1)
            type_id = at // 4 + 1
            if at % 4 == 0 and self._at(type_id)[0] == kind:
                return type_id
            at = names.find(wanted, at + 1)
        return None

    def _spend(self, steps: int) -> None:
        """Count what a call looks at: types that hold each other could keep it busy for hours."""
        self._left -= steps
        if self._left < 0:
            raise BtfError("BTF in which nothing can be found in reasonable time")

    def type_id(self, kind: str, name: str) -> int:
        """The id of a type by kind ("struct", "union", "typedef", "enum", "enum64", "int", "func") and name.

        Raises MissingMember (a KeyError) if there is none.
        """
        self._left = _MAX_WORK
        found = self._first((kind,), name)
        if found is None:
            raise MissingMember(f"{kind} {name}")
        return found

    def _first(self, kinds: Iterable[str], name: str) -> Optional[int]:
        """The id of a type of that name, of the first of the kinds that has one."""
        if not self._names:
            self._names = array("I", map(self._words.__getitem__, self._starts[1:])).tobytes()
        wanted = name.encode()
        for kind in kinds:
            for offset in self._offsets_of(wanted):
                found = self._named(offset, _KINDS[kind])
                if found is not None:
                    return found
        return None

    def functions(self, names: Iterable[str]) -> Dict[str, int]:
        """The ids of those of `names` that are functions."""
        self._left = _MAX_WORK
        found = {name: self._first(("func",), name) for name in names}
        return {name: type_id for name, type_id in found.items() if type_id is not None}

    def prototype(self, function: int) -> int:
        """The id of the prototype (FUNC_PROTO) of a function, which functions of one shape share. Raises BtfError."""
        kind, position, _vlen = self._at(function)
        if kind != _FUNC:
            raise BtfError(f"type {function} is not a function")
        return self._words[position + 2]

    def enumerators(self, name: str) -> Dict[str, int]:
        """The constants of an enum, by their names. Raises MissingMember if there is no such enum, or it is a large one
        (enum64)."""
        _kind, position, vlen = self._at(self.type_id("enum", name))
        words, strings = self._words, self._strings
        found = {}
        for at in range(position + 3, position + 3 + 2 * vlen, 2):
            start = words[at]
            found[strings[start : strings.find(b"\0", start)].decode("ascii", "replace")] = words[at + 1]
        return found

    def tracepoint_arguments(self, event: str) -> List[Optional[str]]:
        """What the arguments of a raw tracepoint point to: the name of a struct, "" for anything else; None for an
        argument that is not a pointer.

        5.5 (e8c423fb31fa "bpf: Add typecast to raw_tracepoints to help BTF generation"). Raises MissingMember where the
        kernel has no such event.
        """
        _, position, _ = self._at(self.type_id("typedef", f"btf_trace_{event}"))
        kind, position, _ = self._at(self._words[position + 2])
        if kind != _PTR:
            raise BtfError(f"btf_trace_{event} is not a pointer to a function")
        kind, position, vlen = self._at(self._words[position + 2])
        if kind != _FUNC_PROTO:
            raise BtfError(f"btf_trace_{event} is not a pointer to a function")
        parameters = range(position + 3, position + 3 + 2 * vlen, 2)
        return [self._pointed_to(self._words[at + 1]) for at in parameters][1:]  # behind the tracepoint's own data

    def _pointed_to(self, type_id: int) -> Optional[str]:
        type_id = self._strip(type_id)
        if type_id == 0 or self._at(type_id)[0] != _PTR:
            return None
        type_id = self._strip(self._words[self._starts[type_id] + 2])
        if type_id == 0 or self._at(type_id)[0] not in (_STRUCT, _FWD):
            return ""
        start = self._words[self._starts[type_id]]
        return self._strings[start : self._strings.find(b"\0", start)].decode("ascii", "replace")

    def offsets(self, paths: Iterable[str], optional: Iterable[str] = ()) -> Dict[str, Member]:
        """Where members lie, by paths such as "file.f_pos" or "mnt_namespace.ns.inum", counted from the first
        struct's start.

        A path goes through nested and anonymous structs and unions, typedefs and qualifiers, but not through pointers.
        What is missing of `optional` is left out; what is missing of `paths` raises MissingMember.
        """
        self._left = _MAX_WORK
        found: Dict[str, Member] = {}
        heads: Dict[str, Optional[int]] = {}
        for path in paths:
            found[path] = self._member(path, heads)
        for path in optional:
            try:
                found[path] = self._member(path, heads)
            except MissingMember:
                continue
        return found

    def _member(self, path: str, heads: Dict[str, Optional[int]]) -> Member:
        """Where a member lies; `heads` has the first types of paths that were looked for before."""
        head, *rest = path.split(".")
        if head not in heads:
            heads[head] = self._first(("struct", "union", "typedef"), head)
        type_id = heads[head]
        if type_id is None:
            raise MissingMember(path)
        offset = 0
        bits = shift = 0
        for name in rest:
            type_id = self._strip(type_id)
            hit = self._find(type_id, name.encode() + b"\0", set())
            if hit is None:
                raise MissingMember(path)
            type_id, bit_offset, bits = hit
            if bits:
                size = self._size(type_id)
                word = bit_offset // (size * 8) * size if size else bit_offset // 8
                offset, shift = offset + word, bit_offset - word * 8
            else:
                offset, shift = offset + bit_offset // 8, 0
        return Member(offset, self._size(type_id), bits, shift)

    def _strip(self, type_id: int) -> int:
        """The type behind typedefs and qualifiers."""
        for _depth in range(_MAX_DEPTH):
            if type_id == 0:
                return 0
            kind, position, _vlen = self._at(type_id)
            if kind not in _MODIFIERS:
                return type_id
            type_id = self._words[position + 2]
        raise BtfError(f"BTF whose type {type_id} refers to itself")

    def _find(self, type_id: int, name: bytes, seen: Set[int], depth: int = 0) -> Optional[Tuple[int, int, int]]:
        """Type, offset in bits and width in bits (0: no bit field) of a member, in anonymous structs and unions too."""
        if type_id == 0 or type_id in seen:
            return None
        if depth > _MAX_DEPTH:
            raise BtfError("BTF whose structs are nested without end")
        seen.add(type_id)  # only once: types that hold each other several times would multiply without end
        kind, position, vlen = self._at(type_id)
        if kind not in (_STRUCT, _UNION):
            return None
        self._spend(vlen)
        words = self._words
        packed = words[position + 1] >> 31  # kind_flag: offsets share their word with the width of bit fields
        nameless: List[Tuple[int, int]] = []
        for at in range(position + 3, position + 3 + 3 * vlen, 3):
            member, raw = words[at + 1], words[at + 2]
            bit_offset, bits = (raw & 0xFFFFFF, raw >> 24) if packed else (raw, 0)
            if words[at] == 0 or self._is_named(words[at], b"\0"):
                nameless.append((member, bit_offset))
            elif self._is_named(words[at], name):
                return member, bit_offset, bits
        for member, bit_offset in nameless:
            hit = self._find(self._strip(member), name, seen, depth + 1)
            if hit is not None:
                return hit[0], bit_offset + hit[1], hit[2]
        return None

    def _size(self, type_id: int) -> int:
        """Bytes of a type; 0 for void, functions and forward declarations."""
        count = 1
        for _depth in range(_MAX_DEPTH):
            type_id = self._strip(type_id)
            if type_id == 0:
                return 0
            kind, position, _vlen = self._at(type_id)
            if kind == _ARRAY:
                count *= self._words[position + 5]
                type_id = self._words[position + 3]
            elif kind == _PTR:
                return count * 8
            else:
                return count * self._words[position + 2] if kind in _SIZED else 0
        raise BtfError("BTF whose arrays are nested without end")
