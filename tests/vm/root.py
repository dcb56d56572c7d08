"""The guest's root file system: Python, busybox and strace of one old suite, as one initramfs for each architecture.

Old, because what a guest runs must work with the oldest Python that the distribution still has.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, Tuple, Union

from .apt import Apt, cache, contents
from .cpio import CpioWriter

SUITE = "bullseye"  # Python 3.9
PACKAGES = ["python3", "busybox-static", "strace"]
_INIT = Path(__file__).with_name("init")
_MOUNT_POINTS = ("proc", "sys", "dev", "run", "tmp", "var/tmp", "mnt", "root", "work", ".vm")
_MERGED = ("bin", "sbin", "lib", "lib64")  # directories that are links into /usr
# What no guest needs: documentation, other languages, the Perl and the dpkg that come with every closure.
_LEFT_OUT = ("usr/share/", "var/", "usr/lib/udev", "usr/bin/perl", "usr/bin/dpkg", "usr/sbin/dpkg", "usr/lib/dpkg")
_LEFT_OUT_PARTS = ("/perl", "/gconv/", "/ensurepip/", "/lib2to3/", "/distutils/", "/pydoc_data/", "/unittest/")
# busybox in these names, which no package brings.
_APPLETS = (
    *("sh", "mount", "umount", "mkdir", "ln", "chmod", "chown", "ifconfig", "hostname", "date", "cat", "stty", "sleep"),
    *("poweroff", "ls", "cp", "mv", "rm", "echo", "dd", "grep", "sed", "head", "tail", "ps", "kill", "id", "dmesg"),
    *("sync", "stat", "readlink", "find", "wc", "sort", "env", "true", "false", "unshare", "uname", "awk", "touch"),
)

Entry = Union[str, Tuple[int, bytes]]  # a symbolic link's target, or permissions and data


def image(architecture: str) -> Path:
    """The root file system, made if need be.  Raises AptError."""
    made = cache() / f"root-{SUITE}-{architecture}.cpio"
    newest = max(_INIT.stat().st_mtime, Path(__file__).stat().st_mtime)
    if not made.exists() or made.stat().st_mtime < newest:
        made.parent.mkdir(parents=True, exist_ok=True)
        temporary = made.with_suffix(f".{os.getpid()}")
        _write(temporary, _unpacked(architecture))
        os.replace(temporary, made)
    return made


def _unpacked(architecture: str) -> Dict[str, Entry]:
    """Every file of the packages by its path below the root."""
    entries: Dict[str, Entry] = {}
    for package in Apt(SUITE, architecture).closure(PACKAGES):
        with contents(package) as tar:
            for member in tar:
                path = _place(member.name)
                if path.startswith(_LEFT_OUT) or any(part in path for part in _LEFT_OUT_PARTS):
                    continue
                if member.issym():
                    entries[path] = member.linkname
                elif member.islnk() and _place(member.linkname) in entries:
                    entries[path] = entries[_place(member.linkname)]
                elif member.isreg():
                    data = tar.extractfile(member)
                    assert data is not None
                    entries[path] = (member.mode & 0o777, data.read())
    return entries


def _place(name: str) -> str:
    """Where a package's file lies once /bin, /sbin and /lib are links into /usr."""
    path = os.path.normpath(name).lstrip("/")
    return "usr/" + path if path.split("/")[0] in _MERGED else path


def _write(out: Path, entries: Dict[str, Entry]) -> None:
    with open(out, "wb") as stream:
        cpio = CpioWriter(stream)
        for name in _MERGED:
            cpio.directory("usr/" + name)
            cpio.symlink(name, "usr/" + name)
        for name in _MOUNT_POINTS:
            cpio.directory(name)
        for path, entry in sorted(entries.items()):
            if isinstance(entry, str):
                cpio.symlink(path, entry)
            else:
                cpio.file(path, entry[1], entry[0])
        for name in _APPLETS:
            if f"usr/bin/{name}" not in entries and f"usr/sbin/{name}" not in entries:
                cpio.symlink(f"usr/bin/{name}", "busybox")
        cpio.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
        cpio.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
        cpio.file("init", _INIT.read_bytes(), 0o755)
        cpio.close()
