"""Names: the automaton that the kernel runs, against fnmatch; its limits."""

from __future__ import annotations

import fnmatch
from typing import List

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from programs.facts.records import COMM_ACCEPT, COMM_LOOP, COMM_ROWS, COMM_START, COMM_WORDS
from programs.way.patterns import PatternError, comm_table, matches

# Few letters, so that patterns match often; the special ones, and a byte that is not UTF-8.
NAME_BYTES = st.sampled_from([bytes([byte]) for byte in b"abc-]!^\\[*?.\n \xff"])
NAMES = st.lists(NAME_BYTES, max_size=15).map(b"".join)
ANY_NAMES = st.binary(max_size=15).filter(lambda name: 0 not in name)
LITERALS = st.sampled_from([b"a", b"b", b"c", b"-", b".", b"\xff", b" "])
CLASSES = st.builds(
    lambda negated, items: b"[" + negated + b"".join(items) + b"]",
    st.sampled_from([b"", b"!"]),
    st.lists(st.sampled_from([b"a", b"b", b".", b"\xff", b"a-c", b"b-b"]), min_size=1, max_size=4),
)
PATTERNS = st.lists(st.one_of(LITERALS, st.just(b"*"), st.just(b"?"), CLASSES), max_size=15).map(b"".join)


@given(st.lists(PATTERNS, min_size=1, max_size=6), st.one_of(NAMES, ANY_NAMES))
@example([b"*a*b"], b"aab")
@example([b"*"], b"")
@example([b""], b"")
@example([b"[a-c]*[!a]"], b"axx\xff")
@example([b"postgres", b"[!a]*"], b"a")
def test_a_name_matches_as_fnmatch_says(patterns: List[bytes], name: bytes) -> None:
    assert matches(patterns, name) == any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


@given(st.lists(NAMES, min_size=1, max_size=4), NAMES)
def test_escaped_letters_stand_for_themselves(names: List[bytes], name: bytes) -> None:
    """A backslash quotes, as it does for a shell (glob(7)) and not for fnmatch."""
    patterns = [b"".join(b"\\" + bytes([byte]) for byte in each) for each in names]
    assert matches(patterns, name) == (name in names)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        (b"[", b"[", True),  # never closed: the bracket itself (POSIX 2.13.1)
        (b"[ab", b"[ab", True),
        (b"[ab", b"a", False),
        (b"[]a]", b"]", True),  # first in the brackets it does not close them
        (b"[!]a]", b"]", False),
        (b"[^a]", b"b", True),  # POSIX leaves ^ open; shells negate
        (b"[a-]", b"-", True),
        (b"[-a]", b"-", True),
        (b"[c-a]", b"b", False),
        ("é".encode(), "é".encode(), True),
        (b"?", "é".encode(), False),  # a name is bytes: é is two
        (b"a\\", b"a\\", True),  # nothing is left to quote
    ],
)
def test_brackets_and_backslashes(pattern: bytes, name: bytes, expected: bool) -> None:
    assert matches([pattern], name) is expected


def test_a_name_is_looked_at_as_the_kernel_cuts_it() -> None:
    """TASK_COMM_LEN is 16 with the NUL: what follows never reaches the automaton."""
    assert matches([b"abcdefghijklmno"], b"abcdefghijklmnopq")
    assert not matches([b"abcdefghijklmnop"], b"abcdefghijklmnop")


def test_patterns_do_not_run_into_each_other() -> None:
    """States of neighbours lie side by side in one word: the last of one must not lead to the first of the next."""
    patterns = [b"ab", b"cd", b"*x", b"y"]
    assert [
        name
        for name in (b"ab", b"cd", b"zx", b"y", b"abcd", b"cdx", b"ay", b"xy", b"b", b"d", b"")
        if matches(patterns, name)
    ] == [b"ab", b"cd", b"zx", b"y", b"cdx"]


def test_no_row_leads_back_to_the_first_state() -> None:
    """The kernel shifts a word left: what falls out at its top must be nobody's state."""
    table = comm_table([bytes([letter]) * 15 for letter in range(97, 113)])
    assert len(table) == COMM_ROWS and all(len(row) == COMM_WORDS for row in table)
    for row in table:
        assert all(0 <= word < 1 << 64 for word in row)
    for row in table[:256]:
        assert all(word & first == 0 for word, first in zip(row, table[COMM_START]))
    assert table[COMM_LOOP] == [0] * COMM_WORDS
    assert sum(bin(word).count("1") for word in table[COMM_ACCEPT]) == 16


def test_the_states_are_256() -> None:
    """16 names of 15 bytes take 16 states each, and not one more pattern fits."""
    full = [bytes([97 + number]) * 15 for number in range(16)]
    assert all(matches(full, name) for name in full)
    with pytest.raises(PatternError, match="17 name patterns are too many"):
        comm_table([*full, b"x"])


@pytest.mark.parametrize("letters", [63, 64])
def test_the_longest_pattern(letters: int) -> None:
    """It takes a state for each position and one for its end, in one word."""
    pattern = b"[a]" * letters
    if letters == 63:
        assert not matches([pattern], b"a" * 15)
    else:
        with pytest.raises(PatternError, match="is too long: no name has more than 15 bytes"):
            comm_table([pattern])


def test_stars_take_no_states() -> None:
    assert matches([b"*" * 1000 + b"a" + b"*" * 1000], b"xxaxx")
