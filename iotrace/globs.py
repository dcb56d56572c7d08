"""Shell globs for paths, which are bytes."""

from __future__ import annotations

import fnmatch
import re
from typing import Callable


def glob_matcher(pattern: bytes) -> Callable[[bytes], bool]:
    """Whether a path matches a shell glob; `*` also matches slashes, a character that is not UTF-8 counts as one."""
    expression = re.compile(fnmatch.translate(pattern.decode("utf-8", "surrogateescape")))
    return lambda path: expression.match(path.decode("utf-8", "surrogateescape")) is not None
