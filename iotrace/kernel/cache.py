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
from contextlib import suppress
from typing import Iterator, Optional, Sequence

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
    place = directory()
    if place is None or not is_trusted(place):
        return None
    key = _key(words)
    with suppress(OSError):
        descriptor = os.open(os.path.join(place, _name(key)), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with open(descriptor, "rb") as file:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode) or not _ours(state) or state.st_size > _LIMIT:
                return None
            return _checked(file.read(), key)
    return None


def store(words: Sequence[str], payload: bytes) -> bool:
    """Keep `payload` for `words`; whether that went well."""
    place, key = directory(), _key(words)
    if place is None:
        return False
    body = len(key).to_bytes(4, "little") + key + payload
    with suppress(OSError):
        os.makedirs(place, mode=0o700, exist_ok=True)
        if not is_trusted(place):
            return False
        temporary = os.path.join(place, f".{os.getpid()}.{_name(key)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(_MAGIC + zlib.crc32(body).to_bytes(4, "little") + body)
            os.rename(temporary, os.path.join(place, _name(key)))
        except OSError:
            os.unlink(temporary)
            raise
        _forget(place)
        return True
    return False


def is_trusted(place: str) -> bool:
    """Whether nobody but root and this user can have put anything at `place`."""
    path = place
    try:
        state = os.lstat(path)
        if not stat.S_ISDIR(state.st_mode) or not _ours(state):
            return False
        while path != "/":
            path = os.path.dirname(path)
            state = os.stat(path)
            # In a directory with the sticky bit others can make files, but not put theirs in the place of ours.
            if not _ours(state, sticky=True):
                return False
    except OSError:
        return False
    return True


def _ours(state: os.stat_result, *, sticky: bool = False) -> bool:
    writable = state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return state.st_uid in (0, os.geteuid()) and (not writable or (sticky and bool(state.st_mode & stat.S_ISVTX)))


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


def _forget(place: str) -> None:
    """Delete the oldest files beyond KEPT."""
    with os.scandir(place) as entries:
        files = sorted((entry.stat().st_mtime_ns, entry.path) for entry in entries if entry.name.endswith(".plan"))
    for _time, path in files[:-KEPT]:
        os.unlink(path)
