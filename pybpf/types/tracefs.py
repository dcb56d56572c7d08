"""Ids of tracepoints and offsets of their fields, from tracefs, mounted or not.

Where tracefs is not mounted it is mounted privately (`pybpf.mounts`), and is gone when it is closed.
"""

from __future__ import annotations

import errno
import os
import re
from typing import Dict, List, NamedTuple, Optional

from pybpf.descriptor import Descriptor
from pybpf.mounts import mount_privately

__all__ = ["TraceField", "Tracefs", "TracefsError", "TracepointFormat", "parse_format"]

_USUAL = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_FORMAT_LIMIT = 1 << 20  # bytes; real ones are one or two KiB


class TracefsError(Exception):
    """No tracefs, no such tracepoint, or a format file that cannot be read; the text says which, and what to do."""


class TraceField(NamedTuple):
    """A field of a tracepoint's record: `offset` and `size` in bytes, as a program finds it relative to its context.

    `length` is that of a C array, else 1. If `dynamic`, the field is a 32-bit word that says where the data lies, with
    the offset in its low 16 bits and the length in its high 16 bits (`__data_loc`).
    """

    name: str
    ctype: str
    offset: int
    size: int
    signed: bool
    length: int = 1
    dynamic: bool = False


class TracepointFormat(NamedTuple):
    """What the `format` file of a tracepoint says; `id` is what perf_event_open(2) knows it by."""

    name: str
    id: int
    fields: Dict[str, TraceField]


_FIELD = re.compile(
    r"\s*field:(?P<declaration>[^;]+);\s*offset:(?P<offset>\d+);\s*size:(?P<size>\d+);(?:\s*signed:(?P<signed>-?\d+);)?"
)
_DECLARATION = re.compile(r"(?P<ctype>.*[\s*])(?P<name>\w+)(?:\[(?P<length>[^\]]*)\])?")
_DATA_LOC = re.compile(r"(?P<ctype>__(?:data|rel)_loc .*\[\])\s*(?P<name>\w+)")


def _parse_field(line: str) -> Optional[TraceField]:
    match = _FIELD.fullmatch(line.rstrip())
    if match is None:
        return None
    declaration = match["declaration"].strip()
    dynamic = _DATA_LOC.fullmatch(declaration)
    parsed = dynamic or _DECLARATION.fullmatch(declaration)
    if parsed is None:
        return None
    length = None if dynamic else parsed["length"]
    return TraceField(
        name=parsed["name"],
        ctype=" ".join(parsed["ctype"].split()),
        offset=int(match["offset"]),
        size=int(match["size"]),
        signed=match["signed"] not in (None, "0"),
        length=int(length) if length and length.isdigit() else 1,
        dynamic=dynamic is not None,
    )


def parse_format(text: str) -> TracepointFormat:
    """Read the text of a `format` file (Documentation/trace/events.rst).

    Raises TracefsError if its name, its ID or a field cannot be read.
    """
    name, number = "", -1
    fields: Dict[str, TraceField] = {}
    for line in text.splitlines():
        if line.startswith("name:"):
            name = line[5:].strip()
        elif line.startswith("ID:") and line[3:].strip().isdigit():
            number = int(line[3:])
        elif line.lstrip().startswith("field:"):
            field = _parse_field(line)
            if field is None:
                raise TracefsError(f"tracepoint {name or '?'}: cannot read the field {line.strip()!r}")
            fields.setdefault(field.name, field)  # the common_ fields come first and are not redefined
        elif line.startswith("print fmt:"):
            break
    if not name or number < 0:
        raise TracefsError("a tracepoint's format has no name or no ID")
    return TracepointFormat(name, number, fields)


class Tracefs(Descriptor):
    """An open tracefs. Everything is read relative to the descriptor of its root."""

    @classmethod
    def open(cls) -> Tracefs:
        """Open tracefs where it is mounted, else mount it privately. Raises TracefsError if neither can be done.

        Reading it takes CAP_DAC_READ_SEARCH or root, mounting it CAP_SYS_ADMIN.
        """
        hidden = []
        for path in [*_USUAL, *_mounted()]:
            try:
                return cls._checked(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            except PermissionError:
                hidden.append(path)
            except (OSError, TracefsError):
                continue
        try:
            return cls._checked(mount_privately("tracefs"))
        except PermissionError as error:
            hidden.append("tracefs")
            reason = str(error)
        except (OSError, TracefsError) as error:
            reason = str(error)
        if hidden:
            raise TracefsError(f"{hidden[0]} cannot be read: run as root, or with CAP_DAC_READ_SEARCH")
        raise TracefsError(f"tracefs is not mounted and cannot be: {reason}: run as root (CAP_SYS_ADMIN) or mount it")

    @classmethod
    def _checked(cls, fd: int) -> Tracefs:
        """Own `fd` if it is the root of a tracefs that this process may read."""
        tracefs = cls(fd)
        try:
            os.stat("events/header_page", dir_fd=fd)
        except PermissionError:
            tracefs.close()
            raise
        except OSError as error:
            tracefs.close()
            raise TracefsError(f"no events in it ({os.strerror(error.errno or 0)})") from None
        return tracefs

    def _read(self, category: str, name: str, leaf: str) -> str:
        if not re.fullmatch(r"[\w-]+", category) or not re.fullmatch(r"[\w-]+", name):
            raise TracefsError(f"not the name of a tracepoint: {category}:{name}")
        try:
            fd = os.open(f"events/{category}/{name}/{leaf}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.fileno())
            try:
                return _read_text(fd)
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise TracefsError(f"this kernel has no tracepoint {category}:{name}") from None
            raise TracefsError(f"tracepoint {category}:{name}: {os.strerror(error.errno or 0)}") from None

    def event_id(self, category: str, name: str) -> int:
        """The id by which perf_event_open(2) knows the tracepoint. Raises TracefsError if the kernel has none."""
        text = self._read(category, name, "id").strip()
        if not text.isdigit():
            raise TracefsError(f"tracepoint {category}:{name}: not an id: {text[:20]!r}")
        return int(text)

    def format(self, category: str, name: str) -> TracepointFormat:
        """The fields of the tracepoint's record, and its id. Raises TracefsError if the kernel has none."""
        return parse_format(self._read(category, name, "format"))

    def exists(self, category: str, name: str) -> bool:
        """Whether the kernel has that tracepoint."""
        try:
            self._read(category, name, "id")
        except TracefsError:
            return False
        return True

    def names(self, category: str) -> List[str]:
        """The names of the tracepoints of a category, sorted; none if there is no such category."""
        if not re.fullmatch(r"[\w-]+", category):
            raise TracefsError(f"not a category of tracepoints: {category!r}")
        try:
            fd = os.open(f"events/{category}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fileno())
        except OSError:
            return []
        try:
            return sorted(entry.name for entry in os.scandir(fd) if entry.is_dir())
        finally:
            os.close(fd)


def _read_text(fd: int) -> str:
    """The file's text up to `print fmt:` or beyond. One read gives a page at most, which mostly is enough."""
    data = b""
    while len(data) < _FORMAT_LIMIT and b"print fmt:" not in data:
        chunk = os.read(fd, 65536)
        if not chunk:
            break
        data += chunk
    return data.decode("utf-8", "replace")


def _mounted() -> List[str]:
    """The mount points of tracefs file systems, according to /proc/self/mounts."""
    with open("/proc/self/mounts", "rb") as mounts:
        lines = [line.split() for line in mounts]
    # Blanks and backslashes in a mount point are written as octal escapes.
    return [
        os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8) & 0xFF]), line[1]))
        for line in lines
        if len(line) > 2 and line[2] == b"tracefs"
    ]
