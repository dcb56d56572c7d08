"""Where the programs find what they read in the kernel's structs, and from which source that is known.

The sources are the kernel's own type information (BTF) where it has any; else the kernel's memory, searched for objects
of our own whose contents are known (`pybpf.calibration`); or, if the user gives one, a kernel image with debug
information, or a file that `tools/offsets` made from any of these.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Dict, List, NamedTuple, Optional, Tuple

from iotrace.atomic import Kind, writing
from iotrace.errors import Failure, UserError, words
from iotrace.untrusted import open_regular, parse_json
from programs.facts.members import COMPAT, MEMBERS, PID_MEMBERS, WHO_MEMBERS
from pybpf.features import FEATURES
from pybpf.types.btf import Btf, BtfError
from pybpf.types.tracefs import Tracefs, TracefsError

BTF = "/sys/kernel/btf/vmlinux"
FORMAT = "iotrace-offsets/1"
_FILE = Kind("a file of offsets", lambda head: head.startswith(b'{\n "format": "iotrace-offsets/'))
SOURCES = ("auto", "btf", "calibrate")
_FILE_LIMIT = 1 << 20  # bytes; a real one has two thousand
_STRUCT_LIMIT = 1 << 16  # bytes that no struct exceeds
_COMM_BYTES = 16

PID_CHAIN = "upid.pid_chain"
"""What each number had at its end until 4.15: 95846ecf9dac ("pid: replace pid bitmap implementation with IDR API")."""

# thread_info.status was thread_struct's from 4.9 (b9d989c7218a) to 4.16 (37a8f7c38339).
_ELSEWHERE = {"task_struct.thread_info.status": "task_struct.thread.status"}


@dataclass(frozen=True)
class Offsets:
    """Offsets in bytes by dotted kernel members, and where they come from."""

    members: Dict[str, int]
    source: str
    shows_created: bool = True  # file.f_mode tells files that their open has created (4.19)

    def for_programs(self, machine: str) -> Tuple[Dict[str, int], int]:
        """The offset of everything in MEMBERS, of "compat", and of what is known of WHO_MEMBERS; and what `file.ref`
        holds for one reference.

        Raises Failure naming the first member that is not known.
        """
        found: Dict[str, int] = {}
        for key, alternatives in _alternatives(machine).items():
            known = [self.members[member] for member in alternatives if member in self.members]
            if not known:
                raise Failure(f"{self.source}: {alternatives[0]} is not there: please report your kernel's version")
            found[key] = known[0]
        for key, alternatives in WHO_MEMBERS.items():
            known = [self.members[member] for member in alternatives if member in self.members]
            if known:
                found[key] = known[0]
        # FILE_REF_ONEREF, include/linux/file_ref.h
        return found, 0 if "file.f_ref" in self.members else 1


def _alternatives(machine: str) -> Dict[str, Tuple[str, ...]]:
    compat = COMPAT[machine][0]
    return {**MEMBERS, "compat": (compat, *([_ELSEWHERE[compat]] if compat in _ELSEWHERE else []))}


def wanted(machine: str) -> List[str]:
    """Every member that some kernel may be asked for."""
    more = [member for table in (PID_MEMBERS, WHO_MEMBERS) for members in table.values() for member in members]
    return [*dict.fromkeys((*searched(machine), *more, PID_CHAIN))]


def searched(machine: str) -> List[str]:
    """Those of them that calibration looks for everywhere: the others take a PID namespace."""
    leader = WHO_MEMBERS["task.leader"]
    return [member for members in (*_alternatives(machine).values(), leader) for member in members]


def find(
    machine: str,
    source: str = "auto",
    vmlinux: Optional[str] = None,
    tracefs: Optional[Tracefs] = None,
    btf: Optional[Btf] = None,
) -> Offsets:
    """The running kernel's, from one of SOURCES, from the file that `source` names, or from the image `vmlinux`.

    Calibration goes through perf tracepoints with a `tracefs`. `btf` is the kernel's own, if it was read already.
    Raises UserError for a file that cannot be used, and Failure.
    """
    if vmlinux is not None:
        return from_image(vmlinux, machine)
    if source == "btf" or (source == "auto" and FEATURES["kernel_btf"].supported()):
        return from_btf(machine, btf)
    if source in ("auto", "calibrate"):
        return from_calibration(machine, tracefs)
    return read(source)


def from_btf(machine: str, btf: Optional[Btf] = None) -> Offsets:
    """From the kernel's own BTF, read already or not. Raises Failure."""
    try:
        found = (btf or kernel_types()).offsets([], optional=wanted(machine))
    except BtfError as error:
        raise Failure(f"{BTF}: {error}") from error
    return Offsets({member: place.offset for member, place in found.items()}, BTF)


def kernel_types() -> Btf:
    """The kernel's BTF. Raises Failure if it has none."""
    try:
        return Btf.vmlinux()
    except FileNotFoundError:
        raise Failure(f"this kernel has no type information ({BTF}): use --offsets calibrate") from None
    except BtfError as error:
        raise Failure(f"{BTF}: {error}") from error


def from_calibration(machine: str, tracefs: Optional[Tracefs] = None) -> Offsets:
    """By looking at the kernel's memory. Raises Failure."""
    # Imported here, as most kernels have BTF.
    from pybpf.calibration.calibrate import CalibrationError, calibrate  # noqa: PLC0415
    from pybpf.calibration.links import CREATED  # noqa: PLC0415

    try:
        found = calibrate(tracefs)
    except CalibrationError as error:
        raise Failure(
            f"this kernel's structures could not be made out: {error}; give its debug image with --vmlinux, "
            "or a file of tools/offsets with --offsets"
        ) from error
    except (OSError, TracefsError) as error:
        raise Failure(f"this kernel's structures could not be looked at: {words(error)}") from error
    members = dict(found.members)
    compat, bit = COMPAT[machine]
    # What could not be found is not needed on this kernel; a member that is close enough stands in for it.
    if "inode.i_generation" in found.missing:
        members["inode.i_generation"] = members["inode.i_ino"]  # constant, and tells no inode from its successor
    if compat in found.missing:  # no 32-bit tasks: the bit is looked for in the last byte of a name, which is 0
        members[compat] = members["task_struct.comm"] + _COMM_BYTES - 1 - (bit.bit_length() - 1) // 8
    return Offsets(members, "calibration", CREATED not in found.missing)


def from_image(path: str, machine: str) -> Offsets:
    """From a kernel image with debug information, which must be the running kernel's. Raises UserError."""
    from pybpf.types import image  # noqa: PLC0415 - which few users give

    try:
        ours, its = image.running_build_id(), image.build_id(path)
        release = image.release(path)
        if (ours and its and ours != its) or (release and release != os.uname().release):
            raise UserError(f"{path}: an image of Linux {release or 'another build'}; this is {os.uname().release}")
        return Offsets(image.members(path, wanted(machine)), path)
    except image.ImageError as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error


def write(path: str, offsets: Offsets, release: str, machine: str, *, force: bool = False) -> None:
    """Leave a file that `read` takes, with `force` in the place of another one. Raises Failure, UserError."""
    document = {"format": FORMAT, "release": release, "machine": machine, "members": offsets.members}
    with writing(path, _FILE, force=force) as stream:
        stream.write(json.dumps(document, indent=1, sort_keys=True).encode("ascii") + b"\n")


def read(path: str) -> Offsets:
    """From a file that `write` made for the running kernel. Raises UserError for any other."""
    try:
        with open(open_regular(path), "rb") as source:
            raw = source.read(_FILE_LIMIT) or b""  # None: nothing yet, and we do not wait
            document = parse_json(raw.decode())
    except OSError as error:
        raise UserError(f"--offsets {path}: {error.strerror}; it is {', '.join(SOURCES)} or a file") from error
    except ValueError:
        raise UserError(f"{path}: not a file of offsets: not JSON") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UserError(f"{path}: not a file of offsets: its format is not {FORMAT}")
    system = os.uname()
    for what, ours in (("release", system.release), ("machine", system.machine)):
        if document.get(what) != ours:
            raise UserError(f"{path}: offsets of {str(document.get(what))[:80]}, but the kernel's {what} is {ours}")
    members = document.get("members")
    if not isinstance(members, dict) or not all(map(_is_offset, members.values())):
        raise UserError(f"{path}: offsets that are none")
    return Offsets(members, path)


def _is_offset(value: object) -> bool:
    return type(value) is int and 0 <= value < _STRUCT_LIMIT


class Comparison(NamedTuple):
    """The offset of a member in BTF and by calibration; None if calibration could not find it and need not."""

    member: str
    btf: int
    calibrated: Optional[int]


def compare(machine: str, tracefs: Optional[Tracefs] = None) -> List[Comparison]:
    """What calibration finds, next to what the kernel's BTF says. Raises Failure."""
    from pybpf.calibration.calibrate import CalibrationError, calibrate  # noqa: PLC0415 - as in `from_calibration`

    known = {member: at for member, at in from_btf(machine).members.items() if member in searched(machine)}
    try:
        found = calibrate(tracefs).members
    except (CalibrationError, OSError, TracefsError) as error:
        raise Failure(f"calibration failed: {words(error)}") from error
    return [Comparison(member, offset, found.get(member)) for member, offset in known.items()]
