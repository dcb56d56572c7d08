"""The kinds of values that metrics have: how they are stored, checked when read, converted to JSON, and merged.

A profile is hostile input: everything read from one goes through a `load` or a `parse` of this module, which raise
ValueError. Many files have the same histograms, so decoded ones are kept for a while.
"""

from __future__ import annotations

import errno
import functools
import itertools
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple, TypeVar

from iotrace.untrusted import parse_json
from programs.facts.catalogue import BY_NAME

Histogram = Dict[int, int]
"""Lower bound of a bucket -> count; empty buckets are absent. Sizes: bucket 0 holds zeros, bucket 2^k [2^k, 2^(k+1)).

Latencies (`FINE`): the buckets divide each power of two in eight, from 128 ns on; the first eight hold 16 ns each.
"""

Sizes = Dict[int, int]
"""Exact size -> how often it was asked for."""

Counts = Dict[str, int]
"""Name -> count; names that were never counted are absent."""


MAX_COUNTER = (1 << 63) - 1
"""The largest number that SQLite has room for."""

Value = TypeVar("Value")
LONGEST_PATH = 1 << 16
"""Bytes that a path may have in a profile: eight times what the programs can record."""

_LONGEST_TABLE = 16384  # characters of JSON: twice what 65 buckets, or all errnos, take with counts of 19 digits
_LONGEST_NAME = 128  # characters of the name of a system call, of an errno
_MOST_NAMED = 20  # descriptions of runs, one after the other
_MOST_NAMES = 1024  # of errnos in a table, of system calls in a file: the kernel has 133 and iotrace 40
_USUAL = frozenset((*errno.errorcode.values(), *BY_NAME))
_LONGEST_TEXT = 1 << 16  # characters
_LONGEST_KEPT = 256  # characters of a histogram that is kept decoded: all of them take 20 MB at most
_DIGITS = 24  # no number of 64 bits has more
_DEPTH = 8  # of objects and arrays in each other


COMMON_SIZES = 4
"""How many of the most frequent sizes are kept."""

_FINE_UNIT, _FINE_PARTS = 16, 8  # as the programs count: programs/facts/records/counters.py


def bucket(value: int) -> int:
    """The lower bound of the histogram bucket that `value` (not negative) falls into."""
    return 1 << (value.bit_length() - 1) if value else 0


def fine_bounds(number: int) -> Tuple[int, int]:
    """The lower bound of bucket `number` of latencies, and that of the next."""
    octave = max(number // _FINE_PARTS - 1, 0)
    part = number - octave * _FINE_PARTS
    return part * _FINE_UNIT << octave, (part + 1) * _FINE_UNIT << octave


def fine_above(lower: int) -> int:
    """The upper bound of the bucket of latencies with this lower bound."""
    octave = max((lower // (_FINE_UNIT * _FINE_PARTS)).bit_length() - 1, 0)
    return lower + (_FINE_UNIT << octave)


def fine_below(lower: int) -> int:
    """The lower bound of the bucket of latencies that ends at this bound; 0 for the first."""
    return max(lower - (fine_above(lower - 1) - (lower - 1)), 0) if lower else 0


# --- checking --------------------------------------------------------------------------------------------------------

_INTEGERS = {int}
_OPTIONAL_INTEGERS = {int, type(None)}


def check_counts(counts: Tuple[Any, ...], maybes: Iterable[Any] = ()) -> None:
    """Check that counts, of which there is at least one, are whole numbers from 0 on; `maybes` may also be None."""
    numbers = (*counts, *[value for value in maybes if value is not None]) if maybes else counts
    if not _INTEGERS.issuperset(map(type, numbers)):
        raise ValueError("a count is not a whole number")
    if min(numbers) < 0:
        raise ValueError("a count is negative")


def check_range(numbers: Iterable[Any]) -> None:
    """Check that numbers from JSON, which has no limit, do not exceed `MAX_COUNTER`. They may be None."""
    if max(filter(None, numbers), default=0) > MAX_COUNTER:
        raise ValueError("a count is out of range")


def check_text(*values: object) -> None:
    """Check that values are text."""
    if not all(type(value) is str for value in values):
        raise ValueError("a value that should be text is not")


def check_path(value: object) -> None:
    """Check that a value can be a path: bytes without a NUL, and not too many."""
    if type(value) is not bytes or b"\0" in value:
        raise ValueError("a value that should be a path is not")
    if len(value) > LONGEST_PATH:
        raise ValueError(f"a path of {len(value):,} bytes")


def check_short_text(*values: Any) -> None:
    """Check that values are text, of a length that can be shown."""
    check_text(*values)
    if max(map(len, values)) > _LONGEST_TEXT:
        raise ValueError(f"text of more than {_LONGEST_TEXT:,} characters")


def check_names(table: Mapping[str, object]) -> None:
    """Check that the keys of a table, which are text, are few and short enough to be names of the kernel's."""
    if _USUAL.issuperset(table):
        return
    if len(table) > _MOST_NAMES:
        raise ValueError(f"a table of more than {_MOST_NAMES:,} names")
    if max(map(len, table)) > _LONGEST_NAME:
        raise ValueError(f"a name of more than {_LONGEST_NAME} characters")


def _text(value: Any) -> str:
    check_short_text(value)
    return str(value)


def _maybe_text(value: Any) -> Optional[str]:
    return None if value is None else _text(value)


def _count(value: Any) -> int:
    check_counts((value,))
    check_range((value,))
    return int(value)


def _maybe(value: Any) -> Optional[int]:
    return None if value is None else _count(value)


def _path(value: Any) -> bytes:
    check_path(value)
    return bytes(value)


def _maybe_path(value: Any) -> Optional[bytes]:
    return None if value is None else _path(value)


def _path_of(value: Any) -> bytes:
    return _path(_text(value).encode("utf-8", "surrogateescape"))


def _maybe_path_of(value: Any) -> Optional[bytes]:
    return None if value is None else _path_of(value)


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("a flag is neither true nor false")
    return value


def _tally(value: Any) -> Counts:
    if type(value) is not dict:
        raise ValueError("a table of counts is not valid")
    counts = value.values()
    if counts and (not _INTEGERS.issuperset(map(type, counts)) or min(counts) < 0 or max(counts) > MAX_COUNTER):
        raise ValueError("a table of counts is not valid")
    return value  # keys from JSON are always text


def _counts(value: Any) -> Counts:
    if value is None:
        return {}
    counts = _tally(value)
    check_names(counts)
    return counts


_BUCKETS = {str(lower): lower for lower in (0, *(1 << k for k in range(64)))}
_FINE_BUCKETS = {
    **_BUCKETS,  # what there was before version 4
    **{str(lower): lower for lower, _ in map(fine_bounds, range(_FINE_PARTS * 64)) if lower < 1 << 64},
}


def _bucketed(value: Any, buckets: Dict[str, int]) -> Histogram:
    """A histogram with these buckets, of which few are used; looked up, since a profile has millions of them."""
    if value is None:
        return {}
    try:
        if type(value) is dict and len(value) == 1:  # as most have
            ((key, count),) = value.items()
            if type(count) is int and 0 <= count <= MAX_COUNTER:
                return {buckets[key]: count}
        return {buckets[key]: count for key, count in _tally(value).items()}
    except KeyError:
        raise ValueError("a histogram is not valid") from None


def _histogram(value: Any) -> Histogram:
    return _bucketed(value, _BUCKETS)


def _numbered(value: Any) -> Dict[int, int]:
    """A table of counts whose keys are numbers."""
    if value is None:
        return {}
    counts = _tally(value)
    numbered = {int(key): count for key, count in counts.items() if len(key) < _DIGITS and key.isdecimal()}
    if len(numbered) != len(counts):
        raise ValueError("a key of a table is not a number")
    return numbered


def _fine(value: Any) -> Histogram:
    return _bucketed(value, _FINE_BUCKETS)


def _sizes(value: Any) -> Sizes:
    sizes = _numbered(value)
    if len(sizes) > COMMON_SIZES or max(sizes, default=0) >= 1 << 64:
        raise ValueError("a table of sizes is not valid")
    return sizes


def _decoded(text: str) -> Histogram:
    return _histogram(parse_json(text) if len(text) <= _LONGEST_TABLE else [])


_kept = functools.lru_cache(maxsize=8192)(_decoded)


def _histogram_column(value: Any) -> Histogram:
    if value is None:
        return {}
    if type(value) is not str:
        raise ValueError("a histogram is not valid")
    return _kept(value).copy() if len(value) <= _LONGEST_KEPT else _decoded(value)


def _unsigned(value: Any) -> int:
    if type(value) is not int:
        raise ValueError("an inode number is not a number")
    return value & ((1 << 64) - 1)


def _words(value: Any) -> List[bytes]:
    if type(value) is not list:
        raise ValueError("a command is not a list of words")
    check_text(*value)
    return [word.encode("utf-8", "surrogateescape") for word in value]


def _object(value: Any) -> Dict[str, object]:
    if type(value) is not dict:
        raise ValueError("a value that should be an object is not")
    _check_depth(value, _DEPTH)
    return value


def _check_depth(value: Any, left: int) -> None:
    """Check that a value from JSON can be walked without thought, and shown."""
    if type(value) in (dict, list):
        if not left:
            raise ValueError(f"objects in each other more than {_DEPTH} deep")
        for part in value.values() if type(value) is dict else value:
            _check_depth(part, left - 1)


def _texts(value: Any) -> Dict[str, str]:
    check_text(*_object(value).values())
    return dict(value)


def _nested_counts(value: Any) -> Dict[str, Counts]:
    check_names(_object(value))
    return {key: _counts(table) for key, table in value.items()}


# --- storing ---------------------------------------------------------------------------------------------------------


def encode(table: Mapping[Any, int]) -> Optional[str]:
    """A table of counts as JSON text, None if it is empty. It takes a third of the time of `json.dumps`."""
    if not table:
        return None
    if len(table) == 1:
        ((key, count),) = table.items()
        return f'{{"{key}":{count}}}'
    return "{" + ",".join([f'"{key}":{count}' for key, count in sorted(table.items())]) + "}"


def signed(number: int) -> int:
    """An unsigned 64-bit number as SQLite's signed integer. NFS and FUSE use large inode numbers, too."""
    return number if number <= MAX_COUNTER else number - (1 << 64)


def text_of(path: bytes) -> str:
    """A path as text for JSON: each byte that is not UTF-8 becomes a lone surrogate, U+DC80 to U+DCFF."""
    return path.decode("utf-8", "surrogateescape")


def _maybe_text_of(path: Optional[bytes]) -> Optional[str]:
    return None if path is None else text_of(path)


def _texts_of(words: List[bytes]) -> List[str]:
    return [text_of(word) for word in words]


def _in_order(table: Mapping[Any, int]) -> Dict[Any, int]:
    return dict(sorted(table.items()))


# --- merging two values of a metric, of which `b` is the later -------------------------------------------------------


def added(a: int, b: int) -> int:
    """The sum of two counts."""
    return a + b


def least(a: Optional[int], b: Optional[int]) -> Optional[int]:
    """The smaller of two values that may be unknown."""
    return b if a is None else a if b is None else min(a, b)


def greatest(a: Optional[int], b: Optional[int]) -> Optional[int]:
    """The larger of two values that may be unknown."""
    return b if a is None else a if b is None else max(a, b)


def most(a: int, b: int) -> int:
    """The larger of two counts."""
    return max(a, b)


def either(a: bool, b: bool) -> bool:
    """Whether it is true of at least one part."""
    return a or b


def latest(a: Value, b: Value) -> Value:
    """The value of the later part."""
    del a
    return b


def agreed(a: Optional[Value], b: Optional[Value]) -> Optional[Value]:
    """The value that both parts have; None if they differ."""
    return a if a == b else None


def same(a: Value, b: Value) -> Value:
    """The value that both parts share, since it identifies what they are parts of."""
    del b
    return a


def add_tables(a: Dict[Any, int], b: Dict[Any, int]) -> Dict[Any, int]:
    """The sum of two histograms or tables of counts, sorted."""
    return {key: a.get(key, 0) + b.get(key, 0) for key in sorted(a.keys() | b.keys())}


def both_named(a: str, b: str) -> str:
    """The description that two runs share, or both of them separated by a slash; of many, the first and an ellipsis."""
    names = dict.fromkeys(name for both in (a, b) if both for name in both.split(" / "))
    if len(names) > _MOST_NAMED:
        names.pop("...", None)
        names = dict.fromkeys([*itertools.islice(names, _MOST_NAMED - 1), "..."])
    return " / ".join(names)


def common(a: Value, b: Value) -> Value:
    """The value that two runs share, or else an empty one."""
    return a if a == b else type(a)()


def add_descriptions(a: Dict[str, str], b: Dict[str, str]) -> Dict[str, str]:
    """`both_named` for each key."""
    return {key: both_named(a.get(key, ""), b.get(key, "")) for key in sorted(a.keys() | b.keys())}


def add_nested(a: Dict[str, Counts], b: Dict[str, Counts]) -> Dict[str, Counts]:
    """`add_tables` for each key."""
    return {key: add_tables(a.get(key, {}), b.get(key, {})) for key in sorted(a.keys() | b.keys())}


# --- the kinds -------------------------------------------------------------------------------------------------------


PRESENT, REPLACED, DELETED = "present", "replaced", "deleted"


def _state(value: object) -> Optional[str]:
    """What a path leads to: one of the three words, or None where nobody can tell."""
    if value is not None and value not in (PRESENT, REPLACED, DELETED):
        raise ValueError("not the state of a path")
    return value


class Kind(NamedTuple):
    """How the values of a metric look in each of their forms. A conversion that is None leaves them as they are."""

    column: str  # SQL type of the column; "" for kinds that are not stored in columns
    load: Callable[[Any], Any]  # from the column, or from JSON if that is the same; raises ValueError
    store: Optional[Callable[[Any], Any]] = None  # to the column
    parse: Optional[Callable[[Any], Any]] = None  # from JSON, if that differs from the column; raises ValueError
    dump: Optional[Callable[[Any], Any]] = None  # to a value for `json.dumps`

    def parsed(self, value: Any) -> Any:
        """The value from its form in JSON. Raises ValueError if it is not valid."""
        return (self.parse or self.load)(value)

    def dumped(self, value: Any) -> Any:
        """The value in its form for `json.dumps`."""
        return value if self.dump is None else self.dump(value)


COUNT = Kind("INTEGER NOT NULL", _count)
MAYBE = Kind("INTEGER", _maybe)  # a number that may be unknown
FLAG = Kind("INTEGER NOT NULL", lambda value: bool(_count(value)), store=int, parse=_flag)
TEXT = Kind("TEXT NOT NULL", _text)
MAYBE_TEXT = Kind("TEXT", _maybe_text)
STATE = Kind("TEXT", _state)
PATH = Kind("BLOB NOT NULL", _path, parse=_path_of, dump=text_of)
MAYBE_PATH = Kind("BLOB", _maybe_path, parse=_maybe_path_of, dump=_maybe_text_of)
UNSIGNED = Kind("INTEGER NOT NULL", _unsigned, store=signed)
HISTOGRAM = Kind("TEXT", _histogram_column, store=encode, parse=_histogram, dump=_in_order)
FINE = Kind("", _fine, dump=_in_order)  # a histogram of latencies
SIZES = Kind("", _sizes, dump=_in_order)
COUNTS = Kind("", _counts)
WORDS = Kind("", _words, dump=_texts_of)
OBJECT = Kind("", _object)
TEXTS = Kind("", _texts)
NESTED_COUNTS = Kind("", _nested_counts)
