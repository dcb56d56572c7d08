"""What this kernel's verifier says of each program without loops: how many instructions it processed.

    tools/vm BZIMAGE -- python3 -m tests.vm.processed > tests/unit/programs/golden/processed.txt

A line is a program's name, its tag, and the number, or `too-many`. For a kernel before 5.2, whose log holds every step.
"""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import replace
from typing import Dict, Iterator

from asm import MapSpec, ProgramSpec, ProgramType
from pybpf.attributes import ProgramLoadAttr
from pybpf.maps import create_all
from pybpf.syscalls import BpfError, Command, address, bpf
from tests.unit.programs.forms import FORMS, built_as
from tests.unit.programs.samples import SAMPLES

ENTRIES = 64  # of each map: nothing runs
_LOG = ctypes.create_string_buffer((1 << 24) - 1)


def programs() -> Iterator[ProgramSpec]:
    """Samples, and each program of the forms for perf tracepoints on 4.14 once."""
    yield from SAMPLES.values()
    seen = set()
    for form in FORMS:
        if (form.attach, form.kernel) == ("perf", (4, 14)):
            for name, program in built_as(form).programs.items():
                if (name, program.tag()) not in seen:
                    seen.add((name, program.tag()))
                    yield program


def processed(program: ProgramSpec) -> str:
    """What the verifier says of it."""
    specs: Dict[str, MapSpec] = {
        name: replace(spec, max_entries=min(spec.max_entries, ENTRIES)) for name, spec in program.maps.items()
    }
    made = create_all(specs)
    code = program.encode({name: one.fileno() for name, one in made.items()})
    license_text = program.license.encode() + b"\0"
    attr = ProgramLoadAttr(
        prog_type=ProgramType.TRACEPOINT,
        insn_cnt=len(code) // 8,
        insns=address(code),
        license=address(license_text),
    )
    attr.log_level, attr.log_size, attr.log_buf = 1, len(_LOG), ctypes.addressof(_LOG)
    try:
        os.close(bpf(Command.PROG_LOAD, attr, subject=program.name))
    except BpfError as error:
        said = _LOG.value.decode(errors="replace")[-300:]
        return "too-many" if "BPF program is too large" in said else f"refused: {error}: {said!r}"
    finally:
        for one in made.values():
            one.close()
    found = re.search(rb"processed (\d+) insns", _LOG.value[-300:])
    return found.group(1).decode() if found else "unknown"


def main() -> None:
    print(f"# {' '.join(os.uname()[:1])} {os.uname().release}: name, tag, instructions that the verifier processed")
    for program in programs():
        print(f"{program.name:17} {program.tag()} {processed(program)}", flush=True)


if __name__ == "__main__":
    main()
