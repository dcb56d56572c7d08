"""What one run keeps for the next, which need not find it out again: files named by what their content depends on.

Whatever is kept here is executed in the kernel later on. A directory or a file that anybody but root and this user
could have written is therefore ignored, and one that is incomplete, or was made by other sources, counts as missing.
Nothing here fails: without a cache a run just takes longer to start.
"""

from __future__ import annotations

import os
import stat
import sys
import zlib
from contextlib import contextmanager, suppress
from typing import Iterator, List, Optional, Sequence

from iotrace.atomic import Fresh
from iotrace.errors import UserError
from iotrace.places import Place

VARIABLE = "IOTRACE_CACHE"  # the directory; empty: none
ROOTS = "/var/cache/iotrace"
KEPT = 16  # files; the oldest go
_LIMIT = 1 << 26  # bytes of a file
_MAGIC = b"iotrace cache 1\n"


def directory() -> Optional[str]:
    """Where things are kept, if anywhere: root has a place of its own, everybody else one at home."""
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        return os.path.abspath(chosen) if chosen else None
    if os.geteuid() == 0:
        return ROOTS
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "iotrace") if os.path.isabs(base) else None


def load(words: Sequence[str]) -> Optional[bytes]:
    """What `store` kept for `words`, by these sources."""
    with suppress(OSError, UserError):
        key = _key(words)
        with _opened(make=False) as place:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            with open(os.open(_name(key), flags, dir_fd=place), "rb") as file:
                state = os.fstat(file.fileno())
                if stat.S_ISREG(state.st_mode) and _is_ours(state) and state.st_size <= _LIMIT:
                    return _checked(file.read(), key)
    return None


def store(words: Sequence[str], payload: bytes) -> bool:
    """Keep `payload` for `words`; whether that went well."""
    with suppress(OSError, UserError):
        key = _key(words)
        body = len(key).to_bytes(4, "little") + key + payload
        with _opened(make=True) as place, Fresh(place) as fresh:
            with open(fresh.descriptor, "wb", closefd=False) as file:
                file.write(_MAGIC + zlib.crc32(body).to_bytes(4, "little") + body)
            # Not forced to disk: what is incomplete counts as missing.
            fresh.publish(_name(key).encode(), allowed=lambda: True, durable=False)
            _forget(place)
        return True
    return False


@contextmanager
def _opened(*, make: bool) -> Iterator[int]:
    """A descriptor of the directory, where nobody but root and this user can have put anything. Raises OSError."""
    path = directory()
    if path is None:
        raise FileNotFoundError
    if make:
        for parent in _from_the_root(path):
            with Place(str(parent)).opened(_is_way) as spot, suppress(FileExistsError):
                os.mkdir(spot.name, 0o700, dir_fd=spot.directory)
    # A link that is root's own, or this user's, may be on the way, but not be the directory.
    with Place(path, follow=False).opened(_is_way) as spot:
        if spot.name != b".":
            raise NotADirectoryError
        if not _is_ours(os.fstat(spot.directory)):
            raise PermissionError
        yield spot.directory


def _from_the_root(path: str) -> List[str]:
    """The directories that lead to an absolute path, and the path."""
    found = [path]
    while os.path.dirname(found[0]) != found[0]:
        found.insert(0, os.path.dirname(found[0]))
    return found


def _is_way(state: os.stat_result) -> bool:
    """Whether nobody else can have changed where a directory or a link on the way leads to.

    In a directory with the sticky bit others can make files, but not put theirs in the place of ours.
    """
    sticky = stat.S_ISDIR(state.st_mode) and bool(state.st_mode & stat.S_ISVTX)
    return _is_ours(state, exposed=sticky or stat.S_ISLNK(state.st_mode))


def _is_ours(state: os.stat_result, *, exposed: bool = False) -> bool:
    """Whether it is root's or this user's, and nobody else can write to it, unless that does not matter (`exposed`)."""
    return state.st_uid in (0, os.geteuid()) and (exposed or not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _checked(raw: bytes, key: bytes) -> Optional[bytes]:
    """The payload of a file that is whole, and is for `key`."""
    start = len(_MAGIC) + 4
    body = raw[start:]
    if raw[: len(_MAGIC)] != _MAGIC or zlib.crc32(body).to_bytes(4, "little") != raw[len(_MAGIC) : start]:
        return None
    head = len(key).to_bytes(4, "little") + key
    return body[len(head) :] if body.startswith(head) else None


def _name(key: bytes) -> str:
    return f"{zlib.crc32(key):08x}.plan"


def _key(words: Sequence[str]) -> bytes:
    python = f"{sys.implementation.cache_tag} {sys.version}"
    return "\0".join([python, *_sources(), *words]).encode("utf-8", "surrogateescape")


def _sources() -> Iterator[str]:
    """Size and time of every source file, in any sub-folder, as the interpreter takes them for its own cache; or of the
    archive that holds them."""
    root = os.path.abspath(__file__)
    for _ in __name__.split("."):
        root = os.path.dirname(root)
    if not os.path.isdir(root):
        yield _stamp(root, os.stat(root))
        return
    for package in ("asm", "programs", "pybpf", "iotrace"):
        yield from sorted(_stamps(os.path.join(root, package)))


def _stamps(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                yield _stamp(entry.path, entry.stat())
            elif entry.is_dir(follow_symlinks=False) and entry.name != "__pycache__":
                yield from _stamps(entry.path)


def _stamp(path: str, state: os.stat_result) -> str:
    return f"{path} {state.st_size} {state.st_mtime_ns}"


def _forget(place: int) -> None:
    """Delete the oldest files beyond KEPT."""
    names = [name for name in os.listdir(f"/proc/self/fd/{place}") if name.endswith(".plan")]
    files = sorted((os.stat(name, dir_fd=place, follow_symlinks=False).st_mtime_ns, name) for name in names)
    for _time, name in files[:-KEPT]:
        os.unlink(name, dir_fd=place)
