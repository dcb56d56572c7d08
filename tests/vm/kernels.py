"""The kernels of the matrix: packages of the distribution, of which the image alone is kept."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Dict

from .apt import Apt, AptError, cache, contents


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
