"""Offsets of struct members from a kernel image with debug information (`vmlinux`): from its BTF, else its DWARF.

DWARF needs pyelftools, which is imported only then. What the image does not have is left out of the answer.
"""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import signal
import stat
import struct
from contextlib import suppress
from typing import Any, BinaryIO, Dict, Iterable, Iterator, List, Optional, Set, Tuple

from pybpf.types.btf import Btf, BtfError
from pybpf.types.elf import Elf, ElfError

__all__ = ["ImageError", "build_id", "machine", "members", "release", "running_build_id"]

# Files of the kernel that use most of what anybody asks for: looked at before the thousands of others.
_TELLING = ("fs/namespace.c", "fs/d_path.c", "fs/proc/base.c", "kernel/fork.c")
_MAX_DEPTH = 32
# Bytes of sections, and types: three times and more what kernels of today have, and what fits into 200 MB.
_BTF_BYTES, _RODATA_BYTES, _NOTES_BYTES = 24 << 20, 96 << 20, 1 << 20
_BTF_TYPES = 1 << 19
# For DWARF, of which pyelftools holds the sections in memory, twice: bytes beside them; and seconds of CPU time, with
# one more for so many bytes: an image of 200 MB has thousands of units, and they can take minutes.
_DWARF_BYTES, _DWARF_SECONDS, _DWARF_BYTES_A_SECOND = 150 << 20, 8, 1 << 18
_GNU_BUILD_ID = 3
_MACHINES = {62: "x86_64", 183: "aarch64"}  # include/uapi/linux/elf-em.h


class ImageError(ValueError):
    """An image that cannot be used; the text says why."""


def _open(path: str) -> BinaryIO:
    """Open a regular file, without waiting for the other end of anything. Raises OSError."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
    return open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY), "rb")


def members(path: str, wanted: Iterable[str]) -> Dict[str, int]:
    """The offsets in bytes of the `wanted` members, such as "file.f_path.dentry". Raises ImageError, OSError."""
    wanted = list(wanted)
    try:
        with _open(path) as source:
            elf = Elf(source)
            blob = elf.section(".BTF", _BTF_BYTES)
            if blob:
                types = Btf(blob)
                if len(types) > _BTF_TYPES:
                    raise ImageError(f"BTF of {len(types):,} types, where {_BTF_TYPES:,} are more than enough")
                found = types.offsets([], optional=wanted)
                return {member: place.offset for member, place in found.items()}
            if ".debug_info" not in elf and ".zdebug_info" not in elf:
                raise ImageError("it has no debug information (.BTF or .debug_info)")
    except (ElfError, BtfError) as error:
        raise ImageError(str(error)) from error
    return _from_dwarf(path, wanted)


def build_id(path: str) -> Optional[bytes]:
    """The GNU build id of the image, None if it has none. Raises ImageError, OSError."""
    try:
        with _open(path) as source:
            elf = Elf(source)
            notes = elf.section(".notes", _NOTES_BYTES) or elf.section(".note.gnu.build-id", _NOTES_BYTES)
            return _find_build_id(notes or b"")
    except ElfError as error:
        raise ImageError(str(error)) from error


def release(path: str) -> Optional[str]:
    """The release, as uname(2) has it, that the banner of the image names; None without one.

    Raises ImageError, OSError.
    """
    try:
        with _open(path) as source:
            constants = Elf(source).section(".rodata", _RODATA_BYTES) or b""
            banner = re.search(rb"Linux version (\d\S{,64}) ", constants)
    except ElfError as error:
        raise ImageError(str(error)) from error
    return banner[1].decode("ascii", "replace") if banner else None


def machine(path: str) -> str:
    """The machine that the image is for, as uname(2) has it. Raises ImageError, OSError."""
    try:
        with _open(path) as source:
            number = Elf(source).machine
    except ElfError as error:
        raise ImageError(str(error)) from error
    if number not in _MACHINES:
        raise ImageError(f"an image for machine {number}, which is not supported")
    return _MACHINES[number]


def running_build_id() -> Optional[bytes]:
    """The build id of the running kernel; None if it does not tell (/sys/kernel/notes)."""
    try:
        with open("/sys/kernel/notes", "rb") as source:
            return _find_build_id(source.read())
    except OSError:
        return None


def _find_build_id(notes: bytes) -> Optional[bytes]:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        begin = at + 12 + (name_size + 3 & ~3)
        if kind == _GNU_BUILD_ID and notes[at + 12 : at + 16] == b"GNU\0":
            return notes[begin : begin + size]
        at = begin + (size + 3 & ~3)
    return None


def _from_dwarf(path: str, wanted: List[str]) -> Dict[str, int]:
    """The members' offsets, as a child process finds them, whose time and memory have an end.

    pyelftools checks little of what it reads: a broken file can keep it busy for ever, and fails in as many ways as
    there are.
    """
    try:
        from elftools.elf.elffile import ELFFile  # noqa: PLC0415 - no run pays for the import
    except ImportError:
        raise ImageError("it has no BTF, and reading DWARF takes pyelftools (pip install pyelftools)") from None
    with _open(path) as source:
        size = os.fstat(source.fileno()).st_size
        seconds = _DWARF_SECONDS + size // _DWARF_BYTES_A_SECOND
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            with suppress(BaseException):
                _limit(_DWARF_BYTES + 2 * size, seconds)
                os.write(writing, json.dumps(_dwarf_answer(ELFFile, source, wanted)).encode())
            os._exit(0)
        os.close(writing)
        try:
            with open(reading, "rb") as answers:
                answer = answers.read()
        finally:
            os.kill(child, signal.SIGKILL)  # it is at its end, unless something has interrupted us
            _, status = os.waitpid(child, 0)
    if not answer:
        slow = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU
        reason = f"{seconds} s are not enough to read it" if slow else "it cannot be read"
        raise ImageError(f"broken debug information: {reason}")
    found, reason = json.loads(answer)
    if reason:
        raise ImageError(reason)
    return dict(found)


def _limit(memory: int, seconds: int) -> None:
    """Bound this process, which is to end quietly."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with open("/proc/self/statm", "rb") as told:
        used = int(told.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


def _dwarf_answer(reader: Any, source: BinaryIO, wanted: List[str]) -> Tuple[Dict[str, int], str]:
    """The offsets, or why there are none."""
    try:
        elf = reader(source)
        # An image that can be moved keeps relocations, millions of them, which its linker has applied already.
        info = elf.get_dwarf_info(relocate_dwarf_sections=elf["e_type"] == "ET_REL")
        return _Dwarf(info).members(wanted), ""
    except ImageError as error:
        return {}, str(error)
    except Exception as error:
        return {}, f"broken debug information ({type(error).__name__}: {str(error)[:200]})"


class _Dwarf:
    """Structs of an image's DWARF; entries are pyelftools' DIEs."""

    def __init__(self, info: Any) -> None:
        self.info = info

    def members(self, wanted: List[str]) -> Dict[str, int]:
        names = {path.partition(".")[0].encode() for path in wanted}
        structs = self._structs(names)
        found: Dict[str, int] = {}
        for path in wanted:
            head, *rest = path.encode().split(b".")
            place = self._offset(structs.get(head), rest)
            if place is not None:
                found[path] = place
        return found

    def _structs(self, names: Set[bytes]) -> Dict[bytes, Any]:
        """The definitions of these structs, of whichever unit has one first.

        What the text of the image does not name is not looked for: that would take all of its units.
        """
        sections = [part for part in (self.info.debug_str_sec, self.info.debug_info_sec) if part is not None]
        texts = [part.stream.getvalue() for part in sections]
        names = {name for name in names if any(name + b"\0" in text for text in texts)}
        found: Dict[bytes, Any] = {}
        for unit in self._units():
            for entry in unit.get_top_DIE().iter_children():
                if entry.tag in ("DW_TAG_structure_type", "DW_TAG_union_type"):
                    name = _name(entry)
                    if name in names and name not in found and "DW_AT_declaration" not in entry.attributes:
                        found[name] = entry
            if len(found) == len(names):
                break
        return found

    def _units(self) -> Iterator[Any]:
        """Compilation units, those of `_TELLING` first."""
        rest = []
        for unit in self.info.iter_CUs():
            name = (_name(unit.get_top_DIE()) or b"").decode("utf-8", "replace")
            if name.endswith(_TELLING):
                yield unit
            else:
                rest.append(unit)
        yield from rest

    def _offset(self, entry: Any, path: List[bytes]) -> Optional[int]:
        offset = 0
        for name in path:
            hit = self._find(self._plain(entry), name, 0)
            if hit is None:
                return None
            entry, distance = hit
            offset += distance
        return offset if entry is not None else None

    def _plain(self, entry: Any) -> Any:
        """The type behind typedefs and qualifiers."""
        for _depth in range(_MAX_DEPTH):
            if entry is None or entry.tag not in ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type"):
                return entry
            entry = _type(entry)
        raise ImageError("broken debug information: a type that refers to itself")

    def _find(self, entry: Any, name: bytes, depth: int) -> Optional[Tuple[Any, int]]:
        """The type of a member and where it lies, in anonymous structs and unions too."""
        if entry is None or depth > _MAX_DEPTH or entry.tag not in ("DW_TAG_structure_type", "DW_TAG_union_type"):
            return None
        for member in entry.iter_children():
            if member.tag != "DW_TAG_member":
                continue
            if _name(member) == name:
                return _type(member), _location(member)
            if _name(member) is None:
                hit = self._find(self._plain(_type(member)), name, depth + 1)
                if hit is not None:
                    return hit[0], hit[1] + _location(member)
        return None


def _name(entry: Any) -> Optional[bytes]:
    attribute = entry.attributes.get("DW_AT_name")
    return attribute.value if attribute is not None else None


def _type(entry: Any) -> Any:
    return entry.get_DIE_from_attribute("DW_AT_type") if "DW_AT_type" in entry.attributes else None


def _location(member: Any) -> int:
    """Bytes from the start of what the member is in: none for those of unions."""
    attribute = member.attributes.get("DW_AT_data_member_location")
    if attribute is None:
        return (
            int(member.attributes["DW_AT_data_bit_offset"].value) // 8
            if ("DW_AT_data_bit_offset" in member.attributes)
            else 0
        )
    if isinstance(attribute.value, int):
        return attribute.value
    operation, *operands = attribute.value  # DWARF 2: DW_OP_plus_uconst and an ULEB128
    if operation != 0x23:
        raise ImageError("broken debug information: a member whose place is not constant")
    return sum((byte & 0x7F) << 7 * number for number, byte in enumerate(operands))
