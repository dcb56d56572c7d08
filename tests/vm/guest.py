"""Runs in the guest, with its Python alone: iotrace on workloads whose answers are known, one line of JSON for each.

    python3 guest.py IOTRACE                                    everything that this kernel allows
    python3 guest.py IOTRACE --attach raw --case calls          a part of it
    python3 guest.py --work CASE                                the workload itself, in the current directory

A result is {"attach", "offsets", "case", "status", "reason", "release", "machine"}; status is

    ok           everything is as it was done
    failed       something is not
    incomplete   iotrace says that it missed events, on a kernel where nobody can help it
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
from typing import List, Optional, Sequence, Tuple

from apps import strace
from workloads import CASES

RESULT = "RESULT "  # what a line with a result starts with


def options_of(iotrace: Sequence[str], option: str) -> List[str]:
    """The words that `run` lists for an option in its help, "auto" left out."""
    text = subprocess.run([*iotrace, "run", "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = re.search(rf"^ *{option} (\S+)", text, re.MULTILINE)
    return [word for word in re.findall(r"\b[a-z]+\b", found.group(1)) if word != "auto"] if found else []


def impossible(attach: str, offsets: str) -> Optional[str]:
    """Why this kernel cannot do it, by evidence that iotrace does not look at; None if it must be able to."""
    symbols = Path("/proc/kallsyms").read_text()
    if offsets == "btf" and not os.path.exists("/sys/kernel/btf/vmlinux"):
        return "no BTF"
    if attach == "raw" and " bpf_raw_tp_link_lops" not in symbols and " bpf_trace_run1" not in symbols:
        return "no raw tracepoints"
    if attach == "perf" and not os.path.isdir("/sys/kernel/tracing/events/syscalls"):
        return "no tracepoints of system calls"
    return None


def preempts_programs() -> bool:
    """Whether programs on system calls can be preempted, in which case other tasks' calls pass them by (7.2)."""
    return " trace_call_bpf_faultable" in Path("/proc/kallsyms").read_text()


def observe(iotrace: Sequence[str], how: Sequence[str], name: str) -> Tuple[str, List[str]]:
    """Run one case; its status and every disagreement."""
    case = CASES[name]
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir="/var/tmp") as base:
        place, profile = Path(base) / "place", Path(base) / "profile"
        place.mkdir()
        work = [sys.executable, "-B", str(Path(__file__).resolve()), "--work", name]
        if case.strace:
            work = ["strace", *strace.options(place.with_name("trace")), *work]
        command = [*iotrace, "run", "-q", *how, *case.options, "-o", str(profile), "--", *work]
        ran = subprocess.run(command, cwd=place, capture_output=True, text=True, errors="replace", timeout=300)
        if ran.returncode != 0:
            return "failed", [f"exit status {ran.returncode}: {ran.stderr.strip()}"]
        export = [*iotrace, "export", str(profile)]
        document = json.loads(subprocess.run(export, stdout=subprocess.PIPE, check=True).stdout)
        lost = {key: n for key, n in document["lost"].items() if n and key != "calls_of_32_bit_tasks"}
        lines = [*([f"lost: {lost}"] if lost else []), *case.check(place, document)]
        if lost.get("events") and preempts_programs():
            return "incomplete", [f"{lost['events']} events lost to preemption"]
        return "failed" if lines else "ok", lines


def examine(iotrace: Sequence[str], attach: str, offsets: str, cases: Sequence[str]) -> None:
    """Print the results of one way to attach and one source of offsets."""
    how = ["--attach", attach, *(["--offsets", offsets] if options_of(iotrace, "--offsets") else [])]
    reason = impossible(attach, offsets)
    for name in cases:
        try:
            status, lines = ("impossible", [reason]) if reason else observe(iotrace, how, name)
        except Exception as error:  # whatever breaks is one cell of the table
            status, lines = "failed", [f"{type(error).__name__}: {error}"]
        system = os.uname()
        result = {
            "attach": attach, "offsets": offsets, "case": name, "release": system.release, "machine": system.machine,
            "status": status, "reason": "\n".join(lines),
        }  # fmt: skip
        print(RESULT + json.dumps(result), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("iotrace", nargs="?", help="iotrace.pyz, or its contents in a directory")
    parser.add_argument("--work", choices=tuple(CASES))
    parser.add_argument("--attach", action="append", help="default: all that `iotrace run` lists")
    parser.add_argument("--offsets", action="append")
    parser.add_argument("--case", action="append", choices=tuple(CASES))
    args = parser.parse_args()
    if args.work:
        CASES[args.work].work()
        return
    iotrace = [sys.executable, os.path.abspath(args.iotrace)]
    for attach in args.attach or options_of(iotrace, "--attach"):
        for offsets in args.offsets or options_of(iotrace, "--offsets") or ["btf"]:
            examine(iotrace, attach, offsets, args.case or tuple(CASES))


if __name__ == "__main__":
    main()
