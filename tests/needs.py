"""What a test needs of the machine that it runs on. A skip says which of two kinds of things is lacking.

`missing`: what can be installed or granted, that is programs, headers, other kernels, privileges. A run that is to be
complete (`tools/test --ci`) fails then, so that nothing is skipped there for want of a package.

`impossible`: what the kernel, its configuration, the processor or the interpreter does not have.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn, Tuple

import pytest

MISSING, IMPOSSIBLE = "missing: ", "impossible: "
VMLINUX = "/sys/kernel/btf/vmlinux"  # the kernel's own type information, where it was built with it


def missing(what: str) -> NoReturn:
    """Skip the test: `what` is not installed or not granted."""
    pytest.skip(MISSING + what)


def impossible(why: str) -> NoReturn:
    """Skip the test: nothing that could be installed would help."""
    pytest.skip(IMPOSSIBLE + why)


root = pytest.mark.skipif(os.geteuid() != 0, reason=MISSING + "root")


def programs(*names: str) -> pytest.MarkDecorator:
    """A mark for tests that run these programs."""
    absent = [name for name in names if shutil.which(name) is None]
    return pytest.mark.skipif(bool(absent), reason=MISSING + " ".join(absent))


def file(path: str, package: str) -> pytest.MarkDecorator:
    """A mark for tests that read a file which a Debian package installs."""
    return pytest.mark.skipif(not os.path.exists(path), reason=f"{MISSING}{path} ({package})")


def program(name: str) -> str:
    """The path of a program; skips the test where it is not installed."""
    return shutil.which(name) or missing(name)


def output(name: str, *words: object) -> str:
    """What an installed program prints; skips the test where it is not. Raises CalledProcessError if it fails."""
    command = [program(name), *map(str, words)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def module(name: str, python: Tuple[int, int] = (3, 8)) -> Any:
    """A package of the extra `test`, which has it from this version of Python on; skips where it is not there."""
    if sys.version_info[:2] < python:
        impossible(f"{name} is not installed for Python {sys.version_info[0]}.{sys.version_info[1]}")
    try:
        return importlib.import_module(name)
    except ImportError:
        return missing(name)


def bpftool(*words: object) -> Any:
    """What `bpftool -j WORDS` prints, as objects: {"error": ...} if it fails, {} if it has nothing to say."""
    done = subprocess.run([program("bpftool"), "-j", *map(str, words)], capture_output=True)
    return json.loads(done.stdout or "{}")


def btf() -> str:
    """The path of this kernel's type information; skips the test where it was built without."""
    return VMLINUX if os.path.exists(VMLINUX) else impossible("this kernel was built without BTF")


def image(directory: Path) -> Path:
    """An object file with this kernel's type information, as a vmlinux has it; there is nothing else in it."""
    source, target = directory / "empty.c", directory / "vmlinux"
    source.write_text("int x;\n")
    output("gcc", "-c", "-o", target, source)
    output("objcopy", f"--add-section=.BTF={btf()}", target)
    return target
