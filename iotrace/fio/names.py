"""Names in job files: fio splits them at colons, cuts lines at # and ;, and replaces ${...} and $keywords.

So files have names of their own, and the paths of the profile stand in comments, where nothing is read.
"""

from __future__ import annotations

import os
import re
from typing import List

from iotrace import text
from iotrace.errors import UserError
from iotrace.fio.model import Load

LISTED = 50
"""Files that can be listed in one line, of which fio reads 4,096 bytes."""
_LONGEST = 32  # characters of a name that was made out of a path
_LONGEST_COMMENT = 160
_LONGEST_PATH = 200  # of a directory: fio reads names in logs into 256 bytes
_NUMBER = re.compile(r"[.-]*(\.\d+)*[.-]*$", re.ASCII)
_LONGEST_ORIGINAL = 1024
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_MEANS_SOMETHING = re.compile(r"[\x00-\x1f\x7f;#$\"'\\=\[\]]|^\s|\s$|^-")


def name_of(load: Load, number: int) -> str:
    """What the sections and files of a load are called: a number that is its own, and what they were called.

    It does not end as a file's number does.
    """
    if load.files == 1:
        word = os.path.basename(load.examples[0])
    elif len(load.extensions) == 1 and load.extensions != {b"": load.files}:
        word = next(iter(load.extensions)).lstrip(b".") + b"-files"
    else:
        word = os.path.basename(load.common) + b"-files" if load.common.strip(b"/") else b"files"
    fit = _UNFIT.sub("_", word.decode("ascii", "replace")).strip("_.-")
    return _NUMBER.sub("", f"{number:02d}-{fit[:_LONGEST]}") or f"{number:02d}"


def files_of(name: str, files: int, jobs: int) -> str:
    """The setting for the files of a load: `load_of` tells by their names whose they are."""
    if files == 1:
        return f"filename={name}"
    if jobs > 1:
        return "filename=" + ":".join(f"{name}.{number}" for number in range(files))
    return f"filename_format={name}.$filenum"


def load_of(file: str) -> str:
    """The name of the load that a file is of."""
    return _NUMBER.sub("", file)


def comment(words: str) -> List[str]:
    """Lines of a comment that is safe to look at, and of bounded length."""
    safe = text.safe_text(words)
    return [f"# {line}" for line in text.wrap(text.shorten(safe, 1000), 100)]


def path_comment(path: bytes) -> str:
    """A path for a comment."""
    return text.shorten_path(text.safe(path), _LONGEST_COMMENT)


def directory(path: str) -> str:
    """The value of `directory` for a path. Raises UserError if fio cannot be told of it."""
    if not path or _MEANS_SOMETHING.search(path) or len(os.fsencode(path)) > _LONGEST_PATH or not _encodable(path):
        raise UserError(
            f"{path}: fio cannot take such a name for a directory: use one without ; # $ = quotes or the like"
        )
    return escaped(path)


def escaped(path: str) -> str:
    """A path in which fio does not take colons for separators."""
    return path.replace(":", "\\:")


def original(path: bytes) -> str:
    """The value of `filename` for an original path. Raises UserError if fio cannot be told of it."""
    word = os.fsdecode(path)
    if _MEANS_SOMETHING.search(word) or len(path) > _LONGEST_ORIGINAL or not _encodable(word):
        raise UserError(f"{text.shorten(text.safe(path), 300)}: fio cannot be told of such a name: --exclude it")
    return escaped(word)


def _encodable(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
