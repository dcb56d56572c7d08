"""A private apt: packages of any suite and architecture of the host's distribution, without touching the host's state.

The mirror is the one that the host's own apt is configured with; other suites lie beside its own.
"""

from __future__ import annotations

import re
import subprocess
import tarfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List

from tools.places import cache_home

LISTS_LAST = 12 * 3600.0  # seconds
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class AptError(Exception):
    """apt failed; the message holds what it said."""


def cache() -> Path:
    """Where everything fetched and built is kept."""
    return cache_home() / "iotrace-vm"


def _run(*command: str, cwd: str = "/") -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        raise AptError(f"{' '.join((command[0], command[-1]))}: {done.stderr.strip()}")
    return done.stdout


def _mirror() -> str:
    places = _run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").split()
    for place in places:
        if place.rstrip("/").endswith("/debian"):
            return place
    raise AptError("this host's apt takes nothing from a Debian mirror")


class Apt:
    """One suite for one architecture: own lists, own and empty list of what is installed."""

    def __init__(self, suite: str, architecture: str) -> None:
        self._home = cache() / "apt" / f"{suite}-{architecture}"
        values = {
            "Dir::Etc": self._home,
            "Dir::Etc::sourcelist": self._home / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State": self._home / "state",
            "Dir::State::status": self._home / "state/status",
            "Dir::Cache": self._home / "cache",
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Sandbox::User": "",
            "APT::Install-Recommends": "false",
            "Acquire::Languages": "none",
        }
        self._options = [word for name, value in values.items() for word in ("-o", f"{name}={value}")]
        ready = self._home / "ready"
        # Lists of yesterday name packages that the mirror no longer has.
        if not ready.exists() or time.time() - ready.stat().st_mtime > LISTS_LAST:
            self._prepare(suite)

    def _prepare(self, suite: str) -> None:
        for name in ("state/lists/partial", "cache/archives/partial", "preferences.d", "apt.conf.d"):
            (self._home / name).mkdir(parents=True, exist_ok=True)
        (self._home / "state/status").touch()
        # A suite that is no longer supported stays on the mirror, but nobody renews its signature's date.
        source = f"deb [check-valid-until=no signed-by={KEYRING}] {_mirror()} {suite} main\n"
        (self._home / "sources.list").write_text(source)
        _run("apt-get", *self._options, "-qq", "update")
        (self._home / "ready").touch()

    def depends(self, package: str) -> List[str]:
        """The packages that this one needs directly."""
        said = _run("apt-cache", *self._options, "depends", package)
        return re.findall(r"^ *\|?Depends: (\S+)", said, re.MULTILINE)

    def download(self, package: str, into: Path) -> Path:
        """Fetch one package; the path of its file."""
        into.mkdir(parents=True, exist_ok=True)
        for old in into.glob(f"{package}_*.deb"):
            old.unlink()
        _run("apt-get", *self._options, "-qq", "download", package, cwd=str(into))
        return next(into.glob(f"{package}_*.deb"))

    def closure(self, packages: List[str]) -> List[Path]:
        """Fetch the packages and all that they need, in the order of their names."""
        archives = self._home / "cache/archives"
        for old in archives.glob("*.deb"):
            old.unlink()
        _run("apt-get", *self._options, "-qq", "-y", "-d", "install", *packages)
        return sorted(archives.glob("*.deb"))


@contextmanager
def contents(package: Path) -> Iterator[tarfile.TarFile]:
    """The files of a package as a tar stream, to be read once from the beginning to the end."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
            yield tar
        while process.stdout.read(1 << 16):  # its padding: dpkg-deb must not see a closed pipe
            pass
    if process.returncode != 0:
        raise AptError(f"{package} cannot be unpacked: dpkg-deb ended with {process.returncode}")
