"""Records: one definition that gives operand offsets to the assembler and a `struct` format to whoever reads a map.

    class Totals(Layout):
        "What has been read of a file."
        calls = field(U64)
        bytes = field(U64)
        sizes = field(U64, 65)

`r0[Totals.bytes]` is then a memory operand, and `Totals.unpack(value)` the record as Python values. Fields lie where
C would put them, little-endian. Padding has to be declared (`pad = field(U32)`): bytes without a name are never
cleared, and a map key with garbage in it finds nothing.

Words that hold something else in another phase are declared with `overlay`, as a union in C would:

    class Request(Layout):
        "Where a request is, then what came of it."
        address = field(U64)
        length = field(U64)
        result = overlay(U64, address)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import Any, ClassVar, Dict, Iterator, List, Mapping, Optional, Tuple, Type, Union

from asm.errors import LayoutError


@dataclass(frozen=True)
class Scalar:
    """An integer type: its C name, its size in bytes, and whether it is signed."""

    name: str
    size: int
    signed: bool

    @property
    def code(self) -> str:
        """The format character, for the `struct` module."""
        code = {1: "b", 2: "h", 4: "i", 8: "q"}[self.size]
        return code if self.signed else code.upper()


U8 = Scalar("u8", 1, False)
U16 = Scalar("u16", 2, False)
U32 = Scalar("u32", 4, False)
U64 = Scalar("u64", 8, False)
S32 = Scalar("s32", 4, True)
S64 = Scalar("s64", 8, True)

DataType = Union[Scalar, Type["Layout"]]
"""The type of a field, of a map's key or value, or of a stack slot."""


@dataclass(frozen=True)
class Field:
    """A field of a record: its type, and where it lies. `field` and `overlay` declare it."""

    name: str
    type: DataType
    offset: int = 0
    count: int = 1
    array: bool = False
    index: int = 0
    """Where the field, or its first value, stands in the flat tuple that `Layout.struct` unpacks; -1 in an overlay."""
    over: Optional[Field] = None
    """While an overlay is declared: the field that it begins with."""
    record: str = dataclass_field(default="", compare=False)
    """The name of the record that it was declared in, for listings."""

    @property
    def size(self) -> int:
        """The size in bytes, of one element if it is an array."""
        return self.type.size

    @property
    def total(self) -> int:
        """The size in bytes, of all elements if it is an array."""
        return self.size * self.count

    @property
    def is_scalar(self) -> bool:
        """Whether it is a single integer, which a load can read."""
        return not self.array and isinstance(self.type, Scalar)

    @property
    def items(self) -> int:
        """The number of values that the field takes in the flat tuple."""
        if self.is_bytes:
            return 1
        inner = 1 if isinstance(self.type, Scalar) else sum(place.items for place in self.type.fields.values())
        return self.count * inner

    @property
    def is_bytes(self) -> bool:
        """Whether it unpacks to a bytes object: arrays of u8, which are text or addresses more often than numbers."""
        return self.array and self.type == U8

    def __getitem__(self, key: Union[int, Field]) -> Field:
        """Element `key` of an array, or the field `key` of a nested record. Raises LayoutError."""
        return self.sub(key) if isinstance(key, Field) else self._element(key)

    def _element(self, number: int) -> Field:
        if not self.array:
            raise LayoutError(f"{self.name} is not an array")
        if not 0 <= number < self.count:
            raise LayoutError(f"{self.name}[{number}]: the array has {self.count} elements")
        step = 0 if self.is_bytes else self.items // self.count
        return replace(
            self,
            name=f"{self.name}[{number}]",
            offset=self.offset + number * self.size,
            index=-1 if self.index < 0 else self.index + number * step,
            count=1,
            array=False,
        )

    def sub(self, inner: Field) -> Field:
        """The field `inner` of the record that this field holds. Raises LayoutError if there is no such field."""
        if isinstance(self.type, Scalar):
            raise LayoutError(f"{self.name} is a {self.type.name}, not a record with a field {inner.name}")
        if self.array:
            raise LayoutError(f"{self.name} is an array: choose an element before its field {inner.name}")
        if inner.name.partition("[")[0].partition(".")[0] not in {**self.type.fields, **self.type.overlays}:
            raise LayoutError(f"{self.name} is a {self.type.__name__}, which has no field {inner.name}")
        flat = min(self.index, inner.index) >= 0
        return replace(
            inner,
            name=f"{self.name}.{inner.name}",
            offset=self.offset + inner.offset,
            index=self.index + inner.index if flat else -1,
            record=self.record,
        )

    @property
    def code(self) -> str:
        """The format of the field, for the `struct` module."""
        if self.is_bytes:
            return f"{self.count}s"
        if not isinstance(self.type, Scalar):
            return self.type.struct.format[1:] * self.count
        return f"{self.count}{self.type.code}" if self.array else self.type.code


def field(type: DataType, count: int = 0) -> Field:
    """Declares a field of a `Layout`: one value of `type`, or an array of `count` of them."""
    if count < 0:
        raise LayoutError(f"an array of {count} elements")
    return Field("", type, count=count or 1, array=count > 0)


def overlay(type: DataType, on: Field, count: int = 0) -> Field:
    """Declares another `type`, or array of `count`, in the bytes of a `Layout` that begin with the field `on`.

    It takes no room, and packing and unpacking leave it out: which of the two the bytes are is for the reader to know.
    """
    return replace(field(type, count), index=-1, over=on)


def _alignment(type: DataType) -> int:
    if isinstance(type, Scalar):
        return type.size
    return max(_alignment(inner.type) for inner in type.fields.values())


class Layout:
    """The base of records. A subclass declares its fields with `field` and `overlay`; it is never instantiated.

    Raises LayoutError where C would pad, where a field takes the name of one of the attributes below, and for an
    overlay that begins with no field of this record, is not aligned, or reaches beyond the record's end.
    """

    size: ClassVar[int]
    """The size in bytes."""
    fields: ClassVar[Dict[str, Field]]
    """The fields by name, in the order of their declaration, without overlays."""
    overlays: ClassVar[Dict[str, Field]]
    """The overlays by name."""
    struct: ClassVar[struct.Struct]
    """The record for the `struct` module, for loops over so many records that `unpack` would be too slow."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        every = {name: value for name, value in vars(cls).items() if isinstance(value, Field)}
        declared = {name: value for name, value in every.items() if value.over is None}
        reserved = sorted(every.keys() & {"size", "fields", "overlays", "struct", "unpack", "pack"})
        if reserved:
            raise LayoutError(f"{cls.__name__}.{reserved[0]}: the name is taken by Layout itself")
        if not declared:
            raise LayoutError(f"{cls.__name__} has no fields (records do not inherit, they nest)")
        cls.fields = {}
        offset = index = 0
        for name, raw in declared.items():
            if offset % _alignment(raw.type):
                raise LayoutError(
                    f"{cls.__name__}.{name} would lie at offset {offset}, which is not a multiple of "
                    f"{_alignment(raw.type)}: insert a pad field before it"
                )
            placed = replace(raw, name=name, offset=offset, index=index, record=cls.__name__)
            cls.fields[name] = placed
            setattr(cls, name, placed)
            offset += placed.total
            index += placed.items
        if offset % _alignment(cls):
            raise LayoutError(
                f"{cls.__name__} has {offset} bytes, which is not a multiple of {_alignment(cls)}: "
                f"insert a pad field after {name}"
            )
        cls.size = offset
        cls.struct = struct.Struct("<" + "".join(placed.code for placed in cls.fields.values()))
        cls.overlays = {}
        for name, raw in every.items():
            if raw.over is not None:
                cls.overlays[name] = placed = _lay_over(cls, declared, name, raw)
                setattr(cls, name, placed)

    @classmethod
    def unpack(cls, data: Union[bytes, bytearray, memoryview]) -> Dict[str, Any]:
        """The values of a record by field: an array as a tuple, one of u8 as bytes, a nested record as a dict.

        Raises LayoutError if `data` is not exactly one record.
        """
        if len(data) != cls.size:
            raise LayoutError(f"{cls.__name__} has {cls.size} bytes, not {len(data)}")
        return _nest(cls, iter(cls.struct.unpack(data)))

    @classmethod
    def pack(cls, **values: Any) -> bytes:
        """The bytes of a record with these values, in the form that `unpack` gives; a field without a value is 0.

        Raises LayoutError for a field that does not exist, and for a value that does not fit.
        """
        flat: List[Any] = []
        _flatten(cls, values, flat)
        try:
            return cls.struct.pack(*flat)
        except struct.error as error:
            raise LayoutError(f"{cls.__name__}: {error}") from None


def _lay_over(layout: Type[Layout], declared: Mapping[str, Field], name: str, raw: Field) -> Field:
    on = next((layout.fields[other] for other, value in declared.items() if value is raw.over), None)
    where = f"{layout.__name__}.{name}"
    if on is None:
        raise LayoutError(f"{where} lies over a field that is not one of {layout.__name__}'s own")
    if on.offset % _alignment(raw.type):
        raise LayoutError(f"{where} would lie at offset {on.offset}, which is not a multiple of {_alignment(raw.type)}")
    if on.offset + raw.total > layout.size:
        raise LayoutError(f"{where} would end {on.offset + raw.total - layout.size} bytes behind the record")
    return replace(raw, name=name, offset=on.offset, over=None, record=layout.__name__)


def _nest(layout: Type[Layout], flat: Iterator[Any]) -> Dict[str, Any]:
    record: Dict[str, Any] = {}
    for name, place in layout.fields.items():
        type = place.type
        if place.is_bytes or place.is_scalar:
            record[name] = next(flat)
        elif not isinstance(type, Scalar):
            inner = tuple(_nest(type, flat) for _ in range(place.count))
            record[name] = inner if place.array else inner[0]
        else:
            record[name] = tuple(next(flat) for _ in range(place.count))
    return record


def _flatten(layout: Type[Layout], values: Mapping[str, Any], flat: List[Any]) -> None:
    unknown = sorted(values.keys() - layout.fields.keys())
    if unknown:
        raise LayoutError(f"{layout.__name__} has no field {unknown[0]}")
    for name, place in layout.fields.items():
        if place.is_bytes:
            text = values.get(name, b"")
            if len(text) > place.count:
                raise LayoutError(f"{layout.__name__}.{name} has {place.count} bytes, not {len(text)}")
            flat.append(text)
            continue
        nothing: Any = 0 if isinstance(place.type, Scalar) else {}
        elements: Tuple[Any, ...] = (values.get(name, nothing),)
        if place.array:
            elements = tuple(values.get(name, (nothing,) * place.count))
        if len(elements) != place.count:
            raise LayoutError(f"{layout.__name__}.{name} has {place.count} elements, not {len(elements)}")
        for element in elements:
            if isinstance(place.type, Scalar):
                flat.append(element)
            else:
                _flatten(place.type, element, flat)
