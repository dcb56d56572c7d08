"""The kernels of the matrix: packages of the distribution, of which the image alone is kept, and images that are given.

An image that somebody has, say of an appliance or of a kernel that they built, is named by its path.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Protocol

from .apt import Apt, AptError, cache, contents


class Bootable(Protocol):
    """What a guest can be started with; `architecture` is Debian's name of it: amd64, arm64."""

    @property
    def name(self) -> str: ...

    @property
    def architecture(self) -> str: ...

    @property
    def image(self) -> Path:
        """What QEMU boots."""

    @property
    def fetched(self) -> bool: ...


class ImageError(Exception):
    """A file that is not the boot image of a kernel for a machine that we know."""


# Documentation/arch/x86/boot.rst: "HdrS" at 0x202 and, 0x200 before it, where the text with the release lies, at 0x20e.
# Documentation/arch/arm64/booting.rst: "ARM\x64" at 56; QEMU unpacks one that is compressed.
_X86_MAGIC, _X86_RELEASE, _ARM_MAGIC, _GZIP = slice(0x202, 0x206), slice(0x20E, 0x210), slice(56, 60), slice(0, 2)
_HEADER = 1 << 16  # bytes that hold all of this


@dataclass(frozen=True)
class Image:
    """A kernel's boot image by its path: a bzImage, or an Image of aarch64. It must have what a guest needs built in:
    an initramfs, a serial console, devtmpfs, tmpfs."""

    image: Path
    architecture: str
    fetched = True

    @property
    def name(self) -> str:
        return self.image.name

    @classmethod
    def at(cls, path: Path) -> Image:
        """The image there. Raises ImageError."""
        try:
            with open(path, "rb") as file:
                header = file.read(_HEADER)
        except OSError as error:
            raise ImageError(f"{path}: {error.strerror}") from None
        if header[_X86_MAGIC] == b"HdrS":
            return cls(path, "amd64")
        if header[_ARM_MAGIC] == b"ARM\x64" or header[_GZIP] == b"\x1f\x8b":
            return cls(path, "arm64")
        raise ImageError(f"{path}: neither a bzImage nor an Image of aarch64")


def release(image: Path) -> str:
    """The release that the boot image of an x86 kernel says it is, such as "5.10.0-32-cloud-amd64"; "" for others."""
    with open(image, "rb") as file:
        header = file.read(_HEADER)
    if header[_X86_MAGIC] != b"HdrS":
        return ""
    start = int.from_bytes(header[_X86_RELEASE], "little") + 0x200
    return header[start : start + 256].split(b"\0")[0].decode("ascii", "replace").partition(" ")[0]


@dataclass(frozen=True)
class Kernel:
    """A kernel of `suite` for `architecture` (Debian's name: amd64, arm64)."""

    name: str
    suite: str
    architecture: str

    def __str__(self) -> str:
        return self.name

    @property
    def directory(self) -> Path:
        return cache() / "kernels" / self.name

    @property
    def image(self) -> Path:
        """What QEMU boots."""
        return self.directory / "vmlinuz"

    @property
    def package(self) -> str:
        """The package that the image came from, whose name holds the version."""
        return (self.directory / "package").read_text().strip()

    @property
    def fetched(self) -> bool:
        return self.image.exists()

    def fetch(self) -> None:
        """Fetch it unless it is here.  Raises AptError."""
        if self.fetched:
            return
        apt = Apt(self.suite, self.architecture)
        wanted = f"linux-image-cloud-{self.architecture}"
        package = next((name for name in apt.depends(wanted) if name.startswith("linux-image-")), None)
        if package is None:
            raise AptError(f"{self.suite} has no {wanted}")
        # Since 6.19 or so the image proper lies in a package of its own.
        parts = [package, *(name for name in apt.depends(package) if name.startswith("linux-binary-"))]
        for part in parts:
            archive = apt.download(part, self.directory)
            self._take_image(archive)
            archive.unlink()
        if not (self.directory / "vmlinuz.new").exists():
            raise AptError(f"{' and '.join(parts)} hold no kernel image")
        (self.directory / "package").write_text(package + "\n")
        os.replace(self.directory / "vmlinuz.new", self.image)

    def _take_image(self, archive: Path) -> None:
        with contents(archive) as tar:
            for member in tar:
                if member.isreg() and os.path.basename(member.name).startswith("vmlinuz"):
                    data = tar.extractfile(member)
                    assert data is not None
                    (self.directory / "vmlinuz.new").write_bytes(data.read())


_SUITES = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie", "newest": "trixie-backports"}

KERNELS: Dict[str, Kernel] = {
    name + suffix: Kernel(name + suffix, suite, architecture)
    for suffix, architecture in (("", "amd64"), ("-arm64", "arm64"))
    for name, suite in _SUITES.items()
}
DEFAULT = ("5.10", "newest")  # what is tried unless all are asked for: the two ends
