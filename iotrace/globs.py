"""Shell globs for paths, which are bytes; and the choice of files that the options `--path` and `--exclude` make."""

from __future__ import annotations

import fnmatch
import re
from typing import Callable, List, NamedTuple, Sequence, Tuple

from iotrace.errors import UserError

# What a pattern consists of, a set may contain a star; and what the inside of a set consists of.
_STARS = re.compile(r"(\*)|\[([!^]?)(\]?[^\]]*)\]|\\(.)|.", re.DOTALL)
_RANGES = re.compile(r"(.)-(.)|.", re.DOTALL)
_PLAIN = re.compile(r"[\w/.,:+-]*", re.ASCII)  # what stands for itself, and is no part of a longer character
_END = fnmatch.translate("")[len("(?s:)") :]  # what a translation ends with


def _between_stars(pattern: str) -> List[str]:
    """The pieces of a pattern that its stars separate. Raises `UserError` for a range such as [z-a].

    Some versions of Python take such a range for an error, others for a set that is empty.
    """
    pieces = [""]
    for token in _STARS.finditer(pattern):
        star, negation, inside, escaped = token.groups()
        for part in _RANGES.finditer(inside or ""):
            if part.group(1) and part.group(1) > part.group(2):
                raise UserError(f"{pattern!r} is no glob: nothing lies between {part.group(1)} and {part.group(2)}")
        if star:
            pieces.append("")
        elif inside is not None:
            pieces[-1] += f"[{'!' if negation else ''}{inside}]"
        elif escaped is not None:
            pieces[-1] += f"[{escaped}]" if escaped in "*?[" else escaped
        else:
            pieces[-1] += token.group()
    return pieces


def literal(path: bytes) -> bytes:
    """The glob that matches this path and no other."""
    return re.sub(rb"[*?\[\\]", rb"\\\g<0>", path)


def glob_matcher(pattern: bytes) -> Callable[[bytes], bool]:
    """Whether a path matches a shell glob; `*` also matches slashes, a character that is not UTF-8 counts as one.

    The rules are those of globs for names of processes, with [!a] or [^a], and a backslash before what stands for
    itself; but there, in the kernel, each byte counts as a character.

    The time that it takes grows with the product of the lengths and no faster: each piece between two stars is looked
    for once, where it comes first. (Before Python 3.9 the expressions of `fnmatch` try all places of all pieces.)
    Raises `UserError` for what is no glob.
    """
    pieces = _between_stars(pattern.decode("utf-8", "surrogateescape"))
    if len(pieces) == 2 and not pieces[1] and _PLAIN.fullmatch(pieces[0]):  # a directory and what is in it
        begins = pieces[0].encode("ascii")
        return lambda path: path.startswith(begins)
    first, *rest = [fnmatch.translate(piece) for piece in pieces]
    if not rest:
        whole = re.compile(first)
        return lambda path: whole.match(path.decode("utf-8", "surrogateescape")) is not None
    return _in_pieces(first, rest[:-1], rest[-1])


def _in_pieces(first: str, between: List[str], last: str) -> Callable[[bytes], bool]:
    """Whether a path begins with an expression, ends with another, and has others in between, in their order."""
    # `translate` makes an expression that must match to the end of the text: only the last one is to do so.
    begin, *middle = [re.compile(piece[: -len(_END)]) for piece in (first, *between)]
    end = re.compile(last)

    def matches(path: bytes) -> bool:
        text = path.decode("utf-8", "surrogateescape")
        found = begin.match(text)
        for piece in middle:
            if found is None:
                return False
            found = piece.search(text, found.end())
        return found is not None and end.search(text, found.end()) is not None

    return matches


def _any(matchers: Sequence[Callable[[bytes], bool]], names: Sequence[bytes]) -> bool:
    for match in matchers:
        for name in names:
            if match(name):
                return True
    return False


class Selection(NamedTuple):
    """Which files are wanted: one of their names matches one of `path` (no globs: any name), none one of `exclude`.

    A file that was renamed has two names: the one that it was opened under, and the one that it has now.
    """

    path: Tuple[bytes, ...] = ()
    exclude: Tuple[bytes, ...] = ()

    def matcher(self) -> Callable[..., bool]:
        """The test: of a path, and of the path that the file has been renamed to, if any.

        SQLite calls it too: what is not a path passes, so that a damaged value is refused by name where it is read, and
        not left out without a word.
        """
        wanted, unwanted = map(glob_matcher, self.path), map(glob_matcher, self.exclude)
        accept, refuse = list(wanted), list(unwanted)

        def selected(path: object, renamed_to: object = None) -> bool:
            if isinstance(path, bytes) and (renamed_to is None or isinstance(renamed_to, bytes)):
                names = (path,) if renamed_to is None else (path, renamed_to)
                return (not accept or _any(accept, names)) and not _any(refuse, names)
            return True

        return selected


EVERYTHING = Selection()
