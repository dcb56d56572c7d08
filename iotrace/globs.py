"""Shell globs for paths, which are bytes; and the choice of files that the options `--path` and `--exclude` make."""

from __future__ import annotations

import fnmatch
import re
from typing import Callable, NamedTuple, Tuple


def glob_matcher(pattern: bytes) -> Callable[[bytes], bool]:
    """Whether a path matches a shell glob; `*` also matches slashes, a character that is not UTF-8 counts as one."""
    expression = re.compile(fnmatch.translate(pattern.decode("utf-8", "surrogateescape")))
    return lambda path: expression.match(path.decode("utf-8", "surrogateescape")) is not None


class Selection(NamedTuple):
    """Which files are wanted: those whose path matches one of `path` (no globs: any path) and none of `exclude`."""

    path: Tuple[bytes, ...] = ()
    exclude: Tuple[bytes, ...] = ()

    def matcher(self) -> Callable[[object], bool]:
        """The test, as SQLite calls it too: what is not a path passes, so that a damaged value is refused by name
        where it is read, and not left out without a word."""
        wanted, unwanted = map(glob_matcher, self.path), map(glob_matcher, self.exclude)
        accept, refuse = list(wanted), list(unwanted)

        def selected(path: object) -> bool:
            if not isinstance(path, bytes):
                return True
            return (not accept or any(match(path) for match in accept)) and not any(match(path) for match in refuse)

        return selected


EVERYTHING = Selection()
