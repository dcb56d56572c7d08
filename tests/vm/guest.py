"""Runs in the guest, with its Python alone: iotrace on workloads whose answers are known, one line of JSON for each.

    python3 tests/vm/guest.py IOTRACE                                    everything that this kernel allows
    python3 tests/vm/guest.py IOTRACE --attach raw --case calls          a part of it
    python3 tests/vm/guest.py --work CASE                                the workload itself, in the current directory

A result is {"attach", "offsets", "case", "status", "reason", "coverage", "release", "machine"}; coverage is what
iotrace says about the case, if that is a family of calls of its own; status is

    ok           everything is as it was done
    failed       something is not
    incomplete   iotrace says itself what it misses, on a kernel where that cannot be helped
    impossible   this kernel lacks what it takes
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.apps import strace
from tests.vm import requests, together, workloads
from tests.vm.workloads import Document

CASES = {**workloads.CASES, **together.CASES, **requests.CASES}
RESULT = "RESULT "  # what a line with a result starts with
KERNEL_TYPES = "/sys/kernel/btf"
TIMEOUT = 200  # seconds that one run of iotrace may take, on a host that has other things to do; below matrix.SILENCE


def choices(iotrace: Sequence[str]) -> Tuple[List[str], List[str]]:
    """The ways to attach and the sources of offsets that the help of `run` names."""
    text = subprocess.run([*iotrace, "run", "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout
    attach = re.search(r"--attach {([\w,]+)}", text)
    words = [*(attach.group(1).split(",") if attach else []), *(["light"] if "--light" in text else [])]
    return [word for word in words if word != "auto"], [word for word in ("btf", "calibrate") if f" {word}" in text]


def impossible(attach: str, offsets: str) -> Optional[str]:
    """Why this kernel cannot do it, by evidence that iotrace does not look at; None if it must be able to."""
    symbols = Path("/proc/kallsyms").read_text()
    if (offsets == "btf" or attach == "fentry") and not os.path.exists(f"{KERNEL_TYPES}/vmlinux"):
        return "no BTF"
    if attach in ("raw", "light") and " bpf_raw_tp_link_lops" not in symbols and " bpf_trace_run1" not in symbols:
        return "no raw tracepoints"
    if attach == "perf" and not os.path.isdir("/sys/kernel/tracing/events/syscalls"):
        return "no tracepoints of system calls"
    if attach == "fentry" and " register_ftrace_direct" not in symbols:
        return "no trampolines"  # the kernel's ftrace cannot call a function directly: aarch64 before 6.4
    return None


def preempts_programs() -> bool:
    """Whether programs on system calls can be preempted, in which case other tasks' calls pass them by (7.2)."""
    return " trace_call_bpf_faultable" in Path("/proc/kallsyms").read_text()


class Verdict(NamedTuple):
    """What a case came to: its status, every disagreement, what iotrace says that it covers."""

    status: str
    lines: Sequence[str]
    coverage: str = ""


def observe(iotrace: Sequence[str], how: Sequence[str], names: Sequence[str]) -> Dict[str, Verdict]:
    """Run cases that iotrace looks at in the same way, one after the other under one iotrace."""
    case = CASES[names[0]]
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        base = Path(directory)
        work = [sys.executable, "-B", str(Path(__file__).resolve())]
        for name in names:
            (base / name).mkdir()
            work += ["--work", name]
        if "raw" not in how:
            work.append("--short")
        if case.strace:
            work = ["strace", *strace.options(base / "trace"), *work]
        command = [*iotrace, "run", "-q", *how, *case.options, "-o", str(base / "profile"), "--", *work]
        ran = subprocess.run(command, cwd=base, capture_output=True, text=True, errors="replace", timeout=TIMEOUT)
        if ran.returncode != 0:
            raise GuestError(f"exit status {ran.returncode}: {ran.stderr.strip()}")
        export = [*iotrace, "export", str(base / "profile")]
        document = json.loads(subprocess.run(export, stdout=subprocess.PIPE, check=True).stdout)
        return {name: judge(base / name, document, name) for name in names}


class GuestError(Exception):
    """iotrace or the workload failed."""


def knows_stand_in_alone(document: Document) -> bool:
    """Whether iotrace says that it could not attach to copy_file_range.

    The call can be configured out, for which the kernel has a weak stand-in of the same name, and some builds (5.10)
    have the stand-in's type in their BTF, whose argument is none.  Of the workloads' calls it alone is such a one.
    """
    return bool(re.match(r"partial: no .*\bcopy_file_range\b", document["coverage"]["synchronous"]))


def judge(place: Path, document: Document, name: str) -> Verdict:
    """What one case's part of a document is worth."""
    own = CASES[name].judge
    if own is not None:
        status, found = own(place, document)
        if status == "failed" and document["lost"]["events"] and preempts_programs():
            status = "incomplete"
        return Verdict(status, found, document["coverage"][name])
    lost = {key: n for key, n in document["lost"].items() if n and key != "calls_of_32_bit_tasks"}
    lines = [*([f"lost: {lost}"] if lost else []), *CASES[name].check(place, document)]
    if lost.get("events") and preempts_programs():
        return Verdict("incomplete", [f"{lost['events']} events lost to preemption", *lines])
    if document["attach"] == "fentry" and knows_stand_in_alone(document):
        others = [line for line in lines if not re.search(r"\b(source|target)\b", line)]  # the files that it is used on
        if lines and not others:
            return Verdict("incomplete", ["no copy_file_range: the kernel's BTF has not its type"])
        lines = others
    return Verdict("failed" if lines else "ok", lines)


def examine(iotrace: Sequence[str], attach: str, offsets: str, cases: Sequence[str]) -> None:
    """Print the results of one way to attach and one source of offsets."""
    reason = impossible(attach, offsets)
    system = os.uname()
    groups: Dict[object, List[str]] = {}
    for name in cases:
        groups.setdefault((CASES[name].options, CASES[name].strace, CASES[name].group), []).append(name)
    for names in groups.values():
        try:
            how = [*(["--light"] if attach == "light" else ["--attach", attach]), "--offsets", offsets]
            no = Verdict("impossible", [reason or ""])
            verdicts = dict.fromkeys(names, no) if reason else observe(iotrace, how, names)
        except Exception as error:  # whatever breaks is one cell of the table
            verdicts = dict.fromkeys(names, Verdict("failed", [f"{type(error).__name__}: {error}"]))
        for name, (status, lines, coverage) in verdicts.items():
            result = {
                "attach": attach,
                "offsets": offsets,
                "case": name,
                "status": status,
                "reason": "\n".join(lines),
                "coverage": coverage,
                "release": system.release,
                "machine": system.machine,
            }
            print(RESULT + json.dumps(result), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("iotrace", nargs="?", help="iotrace.pyz, or its contents in a directory")
    parser.add_argument("--work", action="append", choices=tuple(CASES))
    parser.add_argument("--short", action="store_true", help="less of those --work that have a shorter part")
    parser.add_argument("--attach", action="append", help="default: all that `iotrace run` lists")
    parser.add_argument("--offsets", action="append", help="default: all of them")
    parser.add_argument("--case", action="append", choices=tuple(CASES))
    args = parser.parse_args()
    base = Path.cwd()
    for name in args.work or ():
        os.chdir(base / name)
        ((args.short and CASES[name].shorter) or CASES[name].work)()
    if args.work:
        return
    iotrace = [sys.executable, os.path.abspath(args.iotrace)]
    ways, sources = choices(iotrace)
    beside_strace = True  # where offsets come from changes nothing about what strace would see: once is enough
    for offsets in args.offsets or sources:
        if offsets == "calibrate" and os.path.isdir(KERNEL_TYPES):  # as on a kernel without type information
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", KERNEL_TYPES], check=True)
        cases = args.case or [name for name in CASES if not CASES[name].strace or beside_strace]
        for attach in args.attach or ways:
            # Who can attach with BTF need not calibrate without it, and what is light about it is the same.
            if attach not in ("fentry", "light") or offsets != "calibrate":
                plain = [name for name in cases if not (CASES[name].options or CASES[name].strace or CASES[name].judge)]
                examine(iotrace, attach, offsets, cases if args.case or attach != "light" else plain)
                beside_strace = beside_strace and impossible(attach, offsets) is not None


if __name__ == "__main__":
    main()
