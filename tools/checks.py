"""Set up and pass the checks: format, lint and types, then the tests.

    tools/test                   every group that can run here
    tools/test unit kernel       some groups
    tools/test --quick           what takes no kernel and little time, for every change
    tools/test --install         first install what the tests use: Debian packages and other kernels (root, apt)
    tools/test --ci              fail if a test was skipped because something that can be installed is missing
    tools/test -- ARG...         pytest with these arguments, and nothing else

What cannot run here is skipped, and named at the end.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

from tests.vm.kernels import DEFAULT, KERNELS
from tools.places import ROOT, cache_home

EPILOG = """\
groups:
{groups}

--quick leaves out the groups kernel, apps and vm, vermin, and the unit tests that are marked as slow: what is checked
for the product of all forms of the programs, long random histories, 100,000 files, whatever compiles. It is for every
change, the whole for what is to be merged.

Python packages go to a virtual environment outside the checkout: $IOTRACE_VENV, or iotrace/venv-VERSION in
$XDG_CACHE_HOME or ~/.cache. It is made for $PYTHON (default python3), and again when pyproject.toml asks for other
packages. The group vm and --install keep kernels and a root file system in iotrace-vm beside it. What is about to be
installed is said first. A group that has not ended in three times its time or so is ended, and has failed: the stack of
the test that hangs is printed. The exit status is 1 if a check failed, 2 if the command line is wrong.
"""


GRACE = 60.0  # seconds that an interrupted pytest has for its fixtures
STUCK = 600  # seconds after which the stacks of a test are printed: the longest, a kernel in QEMU, takes half of it


class Failed(Exception):
    """A step cannot go on; the message says why."""


# -- what is needed ------------------------------------------------------------------------------------------------


def listed(text: str, table: str, key: str) -> List[str]:
    """The array of strings `key` of a table of a TOML document.

    Python before 3.11 has no reader of TOML, and this is run before any is installed: an array of strings is written
    as in Python, comments included.
    """
    section = re.search(rf"^\[{re.escape(table)}\]$(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    array = re.search(rf"^{re.escape(key)} = (\[.*?\])$", section.group(1) if section else "", re.MULTILINE | re.DOTALL)
    if array is None:
        raise Failed(f"pyproject.toml: no {key} in [{table}]")
    return [str(word) for word in ast.literal_eval(array.group(1))]


def python_packages(text: str) -> List[str]:
    """What the checks need of the package index."""
    return [word for extra in ("test", "lint") for word in listed(text, "project.optional-dependencies", extra)]


def debian_packages(text: str) -> List[str]:
    """What the tests run, as packages of Debian."""
    return listed(text, "tool.iotrace", "debian")


def say(line: str) -> None:
    print(f"tools/test: {line}", file=sys.stderr, flush=True)


def run(*command: object, quiet: bool = False) -> int:
    """Run a command in the checkout; its exit status."""
    return subprocess.call(list(map(str, command)), cwd=ROOT, stdout=subprocess.DEVNULL if quiet else None)


def run_within(minutes: float, *command: object) -> int:
    """Run a command in the checkout; its exit status, 1 if it had to be ended after so many minutes."""
    with subprocess.Popen(list(map(str, command)), cwd=ROOT) as process:
        try:
            return process.wait(minutes * 60)
        except subprocess.TimeoutExpired:
            say(f"not at its end after {minutes:g} minutes: {' '.join(map(str, command))}")
        except KeyboardInterrupt:
            return process.wait(GRACE)
        process.send_signal(signal.SIGINT)  # pytest then lets the fixtures clean up, and says where it was
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
        return 1


# -- setting up ----------------------------------------------------------------------------------------------------


def environment(wanted: Sequence[str]) -> Path:
    """The Python of a virtual environment with these packages, made if need be."""
    python = os.environ.get("PYTHON") or "python3"
    ask = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    version = subprocess.run(ask, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    place = Path(os.environ.get("IOTRACE_VENV") or cache_home() / "iotrace" / f"venv-{version}")
    note, content = place / "wanted", "\n".join(wanted) + "\n"
    if not note.exists() or note.read_text() != content:
        say(f"installing into {place}, about 150 MB in less than a minute: {', '.join(wanted)}")
        if run(python, "-m", "venv", "--clear", place):
            raise Failed(f"{python} makes no virtual environment (Debian: apt install python3-venv)")
        if run(place / "bin/pip", "install", "-q", "--disable-pip-version-check", *wanted):
            raise Failed("pip could not install them")
        note.write_text(content)
    return place / "bin/python"


def install(packages: Sequence[str]) -> None:
    """Install the Debian packages that this release has, and fetch the kernels. Raises Failed."""
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    if run("apt-get", "update", "-qq"):
        raise Failed("apt-get update failed")
    known = [name for name in packages if not run("apt-cache", "show", "--no-all-versions", name, quiet=True)]
    for name in sorted(set(packages) - set(known)):
        say(f"this release has no package {name}")
    command = ["apt-get", "install", "-qq", "--no-install-recommends", *known]
    plan = subprocess.run([*command[:2], "--assume-no", *command[3:]], stdout=subprocess.PIPE, text=True).stdout
    sizes = re.findall(r"^(?:\d+ upgraded.*|Need to get.*|After this.*)$", plan, re.MULTILINE)
    say(f"installing by apt, which takes some minutes: {' '.join(known)}")
    for line in sizes:
        say(f"  {line}")
    if run(*command, "-y", quiet=True):
        raise Failed("apt-get install failed")
    absent = [name for name in DEFAULT if not KERNELS[name].fetched]
    if absent:
        say(f"fetching the kernels {' and '.join(absent)}, 200 MB in about a minute")
        if run("tools/vm", "fetch", *absent):
            say("no other kernels here; the tests that boot them will skip")


# -- the groups ----------------------------------------------------------------------------------------------------


class Setting(NamedTuple):
    """How the groups are to be run."""

    python: Path
    quick: bool = False
    fix: bool = False
    complete: bool = False

    def module(self, name: str, *arguments: object) -> int:
        """Run a module of the virtual environment; its exit status."""
        return run(self.python, "-m", name, *arguments)

    def pytest(self, *arguments: object, minutes: float = 120.0) -> int:
        """Run pytest; its exit status, or 1 if it had to be ended after so many minutes."""
        options = ["-q", "-o", f"faulthandler_timeout={STUCK}", *(["--complete"] if self.complete else [])]
        return run_within(minutes, self.python, "-m", "pytest", *options, *arguments)


def format_(setting: Setting) -> bool:
    return setting.module("ruff", "format", "--quiet", *([] if setting.fix else ["--check"]), ".") == 0


def lint(setting: Setting) -> bool:
    passed = setting.module("ruff", "check", "--quiet", *(["--fix"] if setting.fix else []), ".") == 0
    if setting.quick:
        return passed
    packages = ("asm", "pybpf", "programs", "iotrace", "tools", "tests")
    vermin = setting.python.with_name("vermin")
    return run(vermin, "--quiet", "--no-tips", "--violations", "-t=3.8-", *packages) == 0 and passed


def types(setting: Setting) -> bool:
    return setting.module("mypy", "--no-error-summary") == 0


def unit(setting: Setting) -> bool:
    chosen = ["-m", "not slow"] if setting.quick else []
    return setting.pytest("-n", "auto", "tests/unit", *chosen, minutes=20) == 0


def in_turn(directory: str, minutes: float) -> Callable[[Setting], bool]:
    """Tests that load BPF programs into one kernel and look at what is loaded: one at a time."""
    return lambda setting: setting.pytest(directory, minutes=minutes) == 0


class Group(NamedTuple):
    """Some of the checks, and how long they take on two CPUs."""

    check: Callable[[Setting], bool]
    what: str
    takes: str


QUICK = ("format", "lint", "types", "unit")
GROUPS: Dict[str, Group] = {
    "format": Group(format_, "ruff's formatter", "a moment"),
    "lint": Group(lint, "ruff's rules, and by vermin that Python 3.8 runs it", "seconds"),
    "types": Group(types, "mypy, strict", "seconds"),
    "unit": Group(unit, "what needs no kernel of its own, in parallel", "five minutes"),
    "kernel": Group(in_turn("tests/kernel", 12), "programs in the running kernel; needs root", "three minutes"),
    "apps": Group(
        in_turn("tests/apps", 30), "applications, held against strace and arithmetic; needs root", "ten minutes"
    ),
    "vm": Group(in_turn("tests/vm", 30), "other kernels, in QEMU", "ten minutes"),
}


def describe(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        yield f"{name:<7} {GROUPS[name].what} ({GROUPS[name].takes})"


def parse(arguments: List[str]) -> argparse.Namespace:
    groups = "\n".join(f"  {line}" for line in describe(list(GROUPS)))
    parser = argparse.ArgumentParser(
        prog="tools/test",
        usage="tools/test [--quick] [--fix] [--install] [--ci] [GROUP... | -- ARG...]",
        description=__doc__,
        epilog=EPILOG.format(groups=groups),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    split = arguments.index("--") if "--" in arguments else len(arguments)
    parser.add_argument("group", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="what takes no kernel and little time; see below")
    parser.add_argument("--fix", action="store_true", help="have ruff rewrite what it can, instead of complaining")
    parser.add_argument("--install", action="store_true", help="install Debian packages and kernels first")
    parser.add_argument("--ci", action="store_true", help="fail where something is missing (default if $CI is set)")
    parsed = parser.parse_args(arguments[:split])
    parsed.pytest = arguments[split + 1 :]
    unknown = [name for name in parsed.group if name not in GROUPS]
    if unknown:
        parser.error(f"no group {' '.join(unknown)}; there are {', '.join(GROUPS)}")
    if parsed.pytest and (parsed.group or parsed.quick):
        parser.error("pytest's own arguments take the place of groups")
    parsed.group = parsed.group or (list(QUICK) if parsed.quick else list(GROUPS))
    parsed.ci = parsed.ci or os.environ.get("CI", "").lower() not in ("", "0", "false", "no")
    return parsed


def main(arguments: Optional[List[str]] = None) -> int:
    parsed = parse(sys.argv[1:] if arguments is None else arguments)
    text = (ROOT / "pyproject.toml").read_text()
    try:
        if parsed.install:
            install(debian_packages(text))
        setting = Setting(environment(python_packages(text)), parsed.quick, parsed.fix, parsed.ci)
    except (Failed, OSError, subprocess.CalledProcessError) as error:
        say(str(error))
        return 1
    if parsed.pytest:
        return setting.pytest(*parsed.pytest)
    if not parsed.quick:
        for line in describe(parsed.group):
            say(line)
    failed = []
    for name in parsed.group:
        begun = time.monotonic()
        passed = GROUPS[name].check(setting)
        failed += [] if passed else [name]
        say(f"{name}: {'passed' if passed else 'FAILED'} in {time.monotonic() - begun:.0f} s")
    if failed:
        say(f"failed: {' '.join(failed)}")
    return 1 if failed else 0
