"""Making a plan: asking the kernel, and assembling the programs for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

import asm
from iotrace.kernel import facts, way_in
from iotrace.kernel.plan import Form, Plan
from programs import build
from programs.facts import maps
from programs.facts.kernel import Options
from pybpf import features
from pybpf.types.binary import binary
from pybpf.types.tracefs import Tracefs


def make(
    options: Options,
    tracefs: Optional[Tracefs],
    source: str,
    vmlinux: Optional[str],
    found: Optional[facts.Facts] = None,
) -> Plan:
    """The plan for `options`, whose way in is chosen; for this kernel as `found` describes it, or as it turns out.

    `tracefs` is for the perf form; `source` and `vmlinux` say where offsets come from (`offsets.find`). Raises
    Failure, UserError, BpfError.
    """
    found = found or facts.gather(tracefs, source, vmlinux)
    with asm.unchecked():
        return _assembled(options, found)


def _assembled(options: Options, found: facts.Facts) -> Plan:
    specs = maps.declare(found.kernel, 1, preallocate=found.preallocate, options=options)
    rings = build.io_uring(found.kernel, options, specs)
    raw = features.FEATURES["raw_tracepoints"].supported()
    numbers = build.telling_numbers(found.kernel, options, specs, raw=raw)
    return Plan(
        kernel=found.kernel,
        options=options,
        preallocate=found.preallocate,
        form=_form(build.build(found.kernel, options, specs)),
        rings=None if rings is None else _form(rings),
        fates=_form(build.fates(found.kernel, options, specs, raw=raw)),
        numbers=None if numbers is None else _form(numbers),
    )


def without_back_jumps(made: Plan) -> Plan:
    """The same with shorter programs, for a kernel whose verifier does not follow their loops to the end."""
    kernel = replace(made.kernel, back_jumps=False)
    return make(made.options, None, "", None, facts.Facts(kernel, made.preallocate, ""))


def choose(options: Options) -> Options:
    """With the way in that is best here, if it was left open. Raises Failure."""
    return replace(options, attach=way_in.choose(options.attach))


def _form(made: build.ProgramSet) -> Form:
    return Form(
        programs={name: binary(program) for name, program in made.programs.items()},
        hooks=made.hooks,
        jumps=made.jumps,
        syscalls=made.syscalls,
        entering=made.entering,
    )
