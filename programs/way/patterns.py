"""Globs for the names of processes, and the automaton that matches them in the kernel.

It has up to 256 states in four words (Shift-And: G. Navarro and M. Raffinot, "Flexible Pattern Matching in Strings",
section 2.2): the `comm` map holds one row for each byte value, with a bit for each state that this byte may lead to,
and three rows for the first states, those that `*` lets stay, and the last. One row more is for what has matched.
"""

from __future__ import annotations

from typing import FrozenSet, Iterator, List, Sequence, Tuple

from programs.facts.records import COMM_ACCEPT, COMM_BYTES, COMM_LOOP, COMM_SEEN, COMM_START, COMM_WORDS


class PatternError(ValueError):
    """A pattern that cannot be matched; its text says why."""


def parse_glob(pattern: bytes) -> List[Tuple[FrozenSet[int], bool]]:
    """A shell glob as one (bytes that match, whether a `*` precedes) for each position, and one for its end."""
    tokens: List[Tuple[FrozenSet[int], bool]] = []
    loop, at = False, 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        at += 1
        if byte == b"*":
            loop = True
            continue
        if byte == b"?":
            chars = frozenset(range(1, 256))
        elif byte == b"[":
            chars, at = _char_class(pattern, at)
        elif byte == b"\\" and at < len(pattern):
            chars, at = frozenset(pattern[at : at + 1]), at + 1
        else:
            chars = frozenset(byte)
        tokens.append((chars, loop))
        loop = False
    tokens.append((frozenset(), loop))
    return tokens


def _char_class(pattern: bytes, at: int) -> Tuple[FrozenSet[int], int]:
    """Parses [abc], [a-z] or [!a-z]; `at` is behind the bracket. A bracket that is never closed stands for itself."""
    start = at + 1 if pattern[at : at + 1] in (b"!", b"^") else at
    end = pattern.find(b"]", start + 1)
    if end < 0:
        return frozenset(b"["), at
    body, chars, i = pattern[start:end], set(), 0
    while i < len(body):
        if i + 2 < len(body) and body[i + 1 : i + 2] == b"-":
            chars |= set(range(body[i], body[i + 2] + 1))
            i += 3
        else:
            chars.add(body[i])
            i += 1
    every = set(range(1, 256))
    return frozenset(every - chars if start > at else chars & every), end + 1


def _placed(patterns: Sequence[bytes]) -> Iterator[Tuple[List[Tuple[FrozenSet[int], bool]], int, int]]:
    """Each glob's positions, and the word and bit of its first state. Raises PatternError if they need too many."""
    word = bit = 0
    for pattern in patterns:
        tokens = parse_glob(pattern)
        if len(tokens) > 64:
            raise PatternError(f"the name pattern {pattern!r} is too long: no name has more than 15 bytes")
        if bit + len(tokens) > 64:
            word, bit = word + 1, 0
        if word == COMM_WORDS:
            raise PatternError(f"{len(patterns)} name patterns are too many: use fewer, or shorter ones")
        yield tokens, word, bit
        bit += len(tokens)


def comm_table(patterns: Sequence[bytes]) -> List[List[int]]:
    """The rows of the `comm` map for these globs. Raises PatternError if they need more than 256 states."""
    rows = [[0] * COMM_WORDS for _ in range(COMM_SEEN + 1)]
    for tokens, word, bit in _placed(patterns):
        rows[COMM_START][word] |= 1 << bit
        for state, (chars, loop) in enumerate(tokens, bit):
            if loop:
                rows[COMM_LOOP][word] |= 1 << state
            for char in chars:
                rows[char][word] |= 1 << (state + 1)
        rows[COMM_ACCEPT][word] |= 1 << (bit + len(tokens) - 1)
    return rows


def accepting(patterns: Sequence[bytes]) -> List[Tuple[int, int]]:
    """For each glob the word and the bit that stand for it in COMM_ACCEPT, and in COMM_SEEN once a name has matched."""
    return [(word, bit + len(tokens) - 1) for tokens, word, bit in _placed(patterns)]


def matches(patterns: Sequence[bytes], name: bytes) -> bool:
    """Whether `name` matches one of the globs. Does what the automaton does, for processes that are running already."""
    rows = comm_table(patterns)
    states = list(rows[COMM_START])
    for byte in name[: COMM_BYTES - 1]:
        states = [((s << 1) & rows[byte][w]) | (s & rows[COMM_LOOP][w]) for w, s in enumerate(states)]
    return any(s & rows[COMM_ACCEPT][w] for w, s in enumerate(states))
