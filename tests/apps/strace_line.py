"""The syntax of one line that strace writes, with the options that `strace.options` gives it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import List, Match, Optional

# i386 has names of its own; strace skips, by the question mark, what the machine does not have.
I386 = {"sendfile64": "sendfile", "mmap2": "mmap", "sync_file_range2": "sync_file_range"}

_HEX = r"(?:\\x[0-9a-f]{2})*"
_FD = re.compile(rf"(-?\d+|AT_FDCWD)(?:<({_HEX})(<(?:char|block) \d+:\d+>)?>(\(deleted\))?)?")
_STRING = re.compile(rf'"({_HEX})"(\.\.\.)?')
_LINE = re.compile(r"(\w+)\((.*)\) = (-?\d+|0x[0-9a-f]+|\?)(.*)", re.DOTALL)
_ERRNO = re.compile(r" (E\w+)")
_NOTICE = re.compile(r"<\.\.\. \w+ resumed>|execve(?:at)?\(.*<pid changed to|strace: Process \d+|\[ Process ")
_IOV_LEN = re.compile(r"iov_len=(\d+)")
_SIGNAL = re.compile(r"(---|\+\+\+) ")
_CUT_SHORT = re.compile(r"(\w+)\((.*?)(?:\) = \?)? ?<(?:unfinished \.\.\.|ptrace\(.*|detached \.\.\.)>?$", re.DOTALL)


class StraceError(Exception):
    """A line of the trace that this module does not understand."""


@dataclass(frozen=True)
class Descriptor:
    """A descriptor argument: the path behind it, None where the descriptor is not open or not a path."""

    open: bool
    path: Optional[bytes]
    deleted: bool = False
    number: int = field(default=-1, compare=False)


@lru_cache(maxsize=65536)
def _text(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def _descriptor(match: Match[str]) -> Descriptor:
    shown, name, device, deleted = match.groups()
    number = int(shown) if shown != "AT_FDCWD" else -1
    if name is None:
        return Descriptor(False, None, number=number)
    path = _text(name)
    # Pipes, sockets and anonymous inodes are shown without a slash, memfds as if they lay in the root.
    if device or not path.startswith(b"/") or (deleted and path.startswith(b"/memfd:")):
        return Descriptor(True, None, number=number)
    return Descriptor(True, path, bool(deleted), number)


@dataclass
class Line:
    """One system call as strace printed it."""

    name: str
    arguments: str
    result: Optional[int]  # None if it never returned
    errno: Optional[str]
    target: Optional[Descriptor]  # the descriptor it returned

    def descriptor(self, position: int = 0) -> Descriptor:
        """The descriptor at the given argument, counting scalar arguments only as far as there are no structures."""
        match = _FD.match(self.arguments) if position == 0 else _FD.match(_split(self.arguments)[position])
        if match is None:
            raise StraceError(f"no descriptor in {self.name}({self.arguments})")
        return _descriptor(match)

    def has_string(self, position: int) -> bool:
        """Whether there is text at the given argument, and not an address that leads nowhere."""
        return _STRING.fullmatch(_split(self.arguments)[position]) is not None

    def string(self, position: int) -> bytes:
        match = _STRING.fullmatch(_split(self.arguments)[position])
        if match is None or match.group(2):
            raise StraceError(f"no path in {self.name}({self.arguments})")
        return _text(match.group(1))

    @property
    def iovec(self) -> List[int]:
        """The lengths of all entries of the iovec that was printed."""
        return list(map(int, _IOV_LEN.findall(self.arguments)))

    def number(self, position: int) -> int:
        return int(_split(self.arguments)[position], 0)


def _split(arguments: str) -> List[str]:
    """The top-level arguments.  Strings and paths are hexadecimal, so brackets and commas are syntax."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(arguments):
        if character in "[{(":
            depth += 1
        elif character in "]})":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(arguments[start:position])
            start = position + 2
    parts.append(arguments[start:])
    return parts


def parse_line(line: str) -> Optional[Line]:
    """One line of a trace; None for signals and exits.  StraceError if it is anything unknown."""
    if not line or _SIGNAL.match(line):
        return None
    match = _LINE.fullmatch(line)
    if match is None:
        cut = _CUT_SHORT.fullmatch(line)
        if cut is not None:
            return Line(I386.get(cut.group(1), cut.group(1)), cut.group(2), None, None, None)
        if _NOTICE.match(line):
            return None
        raise StraceError(f"not understood: {line[:200]!r}")
    name, arguments, result, rest = match.groups()
    errno = _ERRNO.match(rest)
    returned = _FD.fullmatch(result + rest) if rest.startswith("<") else None
    return Line(
        I386.get(name, name),
        arguments,
        None if result == "?" and errno is None else -1 if errno is not None else int(result, 0),
        errno.group(1) if errno is not None else None,
        _descriptor(returned) if returned is not None else None,
    )
