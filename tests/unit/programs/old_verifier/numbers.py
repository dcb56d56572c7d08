"""What the verifier of 4.14 knows of a register, and what arithmetic and comparisons make of it.

Of a number it knows bounds, as an unsigned and as a signed one, and which of its bits are what (`struct tnum`). The
functions of kernel/bpf/verifier.c and tnum.c that do the same are named.
"""

from __future__ import annotations

from typing import Callable, Dict, NamedTuple, Tuple

from asm import isa

_U64 = (1 << 64) - 1
_S64_MIN, _S64_MAX = -(1 << 63), (1 << 63) - 1


class Value(NamedTuple):
    """What is known of a register: a number, or a pointer with a fixed offset and a number that was added to it."""

    kind: str  # "number", "context", "stack", "map", "value" of a map, or "found": such a value, or NULL
    map: object = None
    off: int = 0
    id: int = 0
    umin: int = 0
    umax: int = _U64
    smin: int = _S64_MIN
    smax: int = _S64_MAX
    bits: int = 0  # known to be set
    mask: int = _U64  # bits that are not known

    @property
    def number(self) -> bool:
        return self.kind == "number"

    @property
    def constant(self) -> bool:
        return self.mask == 0


UNKNOWN = Value("number")
Bounds = Tuple[int, int, int, int, int, int]  # the fields of a Value from umin on


def signed(value: int) -> int:
    return ((value & _U64) ^ (1 << 63)) - (1 << 63)


def exactly(value: int) -> Bounds:
    unsigned = value & _U64
    return unsigned, unsigned, signed(value), signed(value), unsigned, 0


def bounded(value: Value, bounds: Bounds) -> Value:
    return Value(value.kind, value.map, value.off, value.id, *bounds)


# -- what is known of numbers ------------------------------------------------------------------------------------------


def _from_bits(bounds: Bounds) -> Bounds:
    """Bounds that known bits allow (__update_reg_bounds)."""
    umin, umax, smin, smax, bits, mask = bounds
    smin = max(smin, signed(bits | (mask & (1 << 63))))
    smax = min(smax, signed(bits | (mask & _S64_MAX)))
    return max(umin, bits), min(umax, bits | mask), smin, smax, bits, mask


def _from_sign(bounds: Bounds) -> Bounds:
    """Signed and unsigned bounds by each other (__reg_deduce_bounds)."""
    umin, umax, smin, smax, bits, mask = bounds
    if smin >= 0 or smax < 0:
        umin = max(smin & _U64, umin)
        umax = min(smax & _U64, umax)
        smin, smax = signed(umin), signed(umax)
    elif signed(umax) >= 0:
        smin = signed(umin)
        umax = min(smax & _U64, umax)
        smax = signed(umax)
    elif signed(umin) < 0:
        umin = max(smin & _U64, umin)
        smin, smax = signed(umin), signed(umax)
    return umin, umax, smin, smax, bits, mask


def _to_bits(bounds: Bounds) -> Bounds:
    """Bits that unsigned bounds have in common (__reg_bound_offset)."""
    umin, umax, smin, smax, bits, mask = bounds
    differing = (umin ^ umax).bit_length()
    if differing <= 63:
        free = (1 << differing) - 1
        both, unknown = bits | (umin & ~free), mask & free
        bits, mask = both & ~unknown & _U64, unknown
    return umin, umax, smin, smax, bits, mask


def _settled(bounds: Bounds) -> Bounds:
    return _from_bits(_to_bits(_from_sign(bounds)))


def low(value: Value, size: int) -> Bounds:
    """The number in the lowest `size` bytes (tnum_cast, coerce_reg_to_32)."""
    kept = (1 << 8 * size) - 1
    return _from_bits((value.umin, value.umax, value.smin, value.smax, value.bits & kept, value.mask & kept))


def _add_bits(one: Value, other: Value) -> Tuple[int, int]:
    total = (one.bits + other.bits) & _U64
    sigma = (one.mask + other.mask + total) & _U64
    unknown = (sigma ^ total) | one.mask | other.mask
    return total & ~unknown, unknown


def _subtract_bits(one: Value, other: Value) -> Tuple[int, int]:
    difference = (one.bits - other.bits) & _U64
    alpha, beta = (difference + one.mask) & _U64, (difference - other.mask) & _U64
    unknown = (alpha ^ beta) | one.mask | other.mask
    return difference & ~unknown, unknown


def _sum(one: Value, other: Value) -> Bounds:
    smin, smax = one.smin + other.smin, one.smax + other.smax
    umin, umax = one.umin + other.umin, one.umax + other.umax
    if smin != signed(smin) or smax != signed(smax):
        smin, smax = _S64_MIN, _S64_MAX
    if umin > _U64 or umax > _U64:
        umin, umax = 0, _U64
    return (umin, umax, smin, smax, *_add_bits(one, other))


def _difference(one: Value, other: Value) -> Bounds:
    smin, smax = one.smin - other.smax, one.smax - other.smin
    umin, umax = one.umin - other.umax, one.umax - other.umin
    if smin != signed(smin) or smax != signed(smax):
        smin, smax = _S64_MIN, _S64_MAX
    if umin < 0:
        umin, umax = 0, _U64
    return (umin, umax, smin, smax, *_subtract_bits(one, other))


def _product_bits(one: Value, other: Value) -> Tuple[int, int]:
    accumulated = Value("number", bits=(one.bits * other.bits) & _U64, mask=0)
    for unknown, factor in ((one.mask, other.mask | other.bits), (other.mask, one.bits)):
        for bit in range(64):
            if factor >> bit & 1:
                bits, mask = _add_bits(accumulated, Value("number", bits=0, mask=unknown << bit & _U64))
                accumulated = Value("number", bits=bits, mask=mask)
    return accumulated.bits, accumulated.mask


def _product(one: Value, other: Value) -> Bounds:
    known = _product_bits(one, other)
    if other.smin < 0 or one.smin < 0 or other.umax >> 32 or one.umax >> 32:
        return _from_bits((0, _U64, _S64_MIN, _S64_MAX, *known))
    umin, umax = one.umin * other.umin, one.umax * other.umax
    smin, smax = (_S64_MIN, _S64_MAX) if umax > _S64_MAX else (signed(umin), umax)
    return (umin, umax, smin, smax, *known)


def _and(one: Value, other: Value) -> Bounds:
    if one.constant and other.constant:
        return exactly(one.bits & other.bits)
    bits = one.bits & other.bits
    mask = (one.bits | one.mask) & (other.bits | other.mask) & ~bits
    umin, umax = bits, min(one.umax, other.umax)
    negative = one.smin < 0 or other.smin < 0
    smin, smax = (_S64_MIN, _S64_MAX) if negative else (signed(umin), signed(umax))
    return _from_bits((umin, umax, smin, smax, bits, mask))


def _or(one: Value, other: Value) -> Bounds:
    if one.constant and other.constant:
        return exactly(one.bits | other.bits)
    bits = one.bits | other.bits
    mask = (one.mask | other.mask) & ~bits
    umin, umax = max(one.umin, other.umin), bits | mask
    negative = one.smin < 0 or other.smin < 0
    smin, smax = (_S64_MIN, _S64_MAX) if negative else (signed(umin), signed(umax))
    return _from_bits((umin, umax, smin, smax, bits, mask))


def _shift_left(one: Value, other: Value) -> Bounds:
    if other.umax > 63:
        return UNKNOWN[4:]
    if one.umax > 1 << (63 - other.umax):
        umin, umax = 0, _U64
    else:
        umin, umax = one.umin << other.umin & _U64, one.umax << other.umax & _U64
    bits, mask = (one.bits, one.mask) if other.constant else (0, _U64)
    shifted = (bits << other.umin & _U64, mask << other.umin & _U64)
    return _from_bits((umin, umax, _S64_MIN, _S64_MAX, *shifted))


def _shift_right(one: Value, other: Value) -> Bounds:
    if other.umax > 63:
        return UNKNOWN[4:]
    smin, smax = one.smin, one.smax
    if smin >= 0:
        smin >>= other.umax
    elif other.umin:
        smin = 0
    else:
        smin, smax = _S64_MIN, _S64_MAX
    bits, mask = (one.bits, one.mask) if other.constant else (0, _U64)
    umin, umax = one.umin >> other.umax, one.umax >> other.umin
    return _from_bits((umin, umax, smin, smax, bits >> other.umin, mask >> other.umin))


_NUMBERS: Dict[int, Callable[[Value, Value], Bounds]] = {
    isa.ADD: _sum,
    isa.SUB: _difference,
    isa.MUL: _product,
    isa.AND: _and,
    isa.OR: _or,
    isa.LSH: _shift_left,
    isa.RSH: _shift_right,
}


def combined(operation: int, one: Value, other: Value, *, half: bool) -> Value:
    """The result of arithmetic on two values (adjust_reg_min_max_vals)."""
    if one.number and other.number:
        return _number(operation, one, other, half=half)
    if not one.number and not other.number:
        return UNKNOWN
    pointer, added = (other, one) if one.number else (one, other)
    may_move = operation == isa.ADD or (operation == isa.SUB and not one.number and pointer.kind != "stack")
    if half or not may_move or pointer.kind in ("found", "map"):
        return _number(operation, UNKNOWN, UNKNOWN if one.number else added, half=half)
    if added.constant:
        off = pointer.off + (added.smin if operation == isa.ADD else -added.smin)
        return pointer._replace(off=off)
    moved = _sum(pointer, added) if operation == isa.ADD else _difference(pointer, added)
    return bounded(pointer, _to_bits(_from_sign(_from_bits(moved))))


def _number(operation: int, one: Value, other: Value, *, half: bool) -> Value:
    if half:
        one, other = (bounded(UNKNOWN, low(value, 4)) for value in (one, other))
    if operation not in _NUMBERS:
        return UNKNOWN
    return bounded(UNKNOWN, _to_bits(_from_sign(_NUMBERS[operation](one, other))))


# -- what a comparison tells -------------------------------------------------------------------------------------------

SWAPPED = {
    isa.JGT: isa.JLT,
    isa.JLT: isa.JGT,
    isa.JGE: isa.JLE,
    isa.JLE: isa.JGE,
    isa.JSGT: isa.JSLT,
    isa.JSLT: isa.JSGT,
    isa.JSGE: isa.JSLE,
    isa.JSLE: isa.JSGE,
}
OPPOSITE = {
    isa.JGT: isa.JLE,
    isa.JLT: isa.JGE,
    isa.JGE: isa.JLT,
    isa.JLE: isa.JGT,
    isa.JSGT: isa.JSLE,
    isa.JSLT: isa.JSGE,
    isa.JSGE: isa.JSLT,
    isa.JSLE: isa.JSGT,
    isa.JEQ: isa.JNE,
    isa.JNE: isa.JEQ,
}


def told(value: Value, operation: int, constant: int) -> Value:
    """A number of which a comparison with a constant has turned out to be true (reg_set_min_max)."""
    umin, umax, smin, smax, bits, mask = value[4:]
    unsigned = constant & _U64
    if operation == isa.JEQ:
        umin, umax, smin, smax, bits, mask = exactly(constant)
        value = value._replace(id=0)
    elif operation == isa.JGT:
        umin = max(umin, (unsigned + 1) & _U64)
    elif operation == isa.JGE:
        umin = max(umin, unsigned)
    elif operation == isa.JLT:
        umax = min(umax, (unsigned - 1) & _U64)
    elif operation == isa.JLE:
        umax = min(umax, unsigned)
    elif operation == isa.JSGT:
        smin = max(smin, signed(constant + 1))
    elif operation == isa.JSGE:
        smin = max(smin, signed(constant))
    elif operation == isa.JSLT:
        smax = min(smax, signed(constant - 1))
    elif operation == isa.JSLE:
        smax = min(smax, signed(constant))
    return bounded(value, _settled((umin, umax, smin, smax, bits, mask)))


def both(one: Value, other: Value) -> Bounds:
    """What is known of two numbers that are equal (__reg_combine_min_max)."""
    unknown = one.mask & other.mask
    bounds = (
        max(one.umin, other.umin),
        min(one.umax, other.umax),
        max(one.smin, other.smin),
        min(one.smax, other.smax),
        (one.bits | other.bits) & ~unknown,
        unknown,
    )
    return _settled(_from_bits(bounds))
