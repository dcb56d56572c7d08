"""Making a plan: asking the kernel, and assembling the programs for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Dict, Optional

from iotrace.kernel import facts, way_in
from iotrace.kernel.plan import HALVES, Form, Order, Plan
from programs.facts.kernel import Options
from pybpf import features
from pybpf.types.tracefs import Tracefs

if TYPE_CHECKING:
    from iotrace.kernel.apart import Assemblers


def make(
    options: Options,
    tracefs: Optional[Tracefs],
    source: str,
    vmlinux: Optional[str],
    found: Optional[facts.Facts] = None,
    *,
    assemblers: Optional[Assemblers] = None,
) -> Plan:
    """The plan for `options`, whose way in is chosen; for this kernel as `found` describes it, or as it turns out.

    `tracefs` is for the perf form; `source` and `vmlinux` say where offsets come from (`offsets.find`); `assemblers`
    assemble it if they can. Raises Failure, UserError, BpfError.
    """
    found = found or facts.gather(tracefs, source, vmlinux)
    raw = features.FEATURES["raw_tracepoints"].supported()
    order = Order(found.kernel, options, found.preallocate, raw)
    made = None if assemblers is None else assemblers.assemble(order)
    if made is None:
        made = _assembled(order)
    form, fates = made["form"], made["fates"]
    assert form is not None and fates is not None
    return Plan(
        *(found.kernel, options, found.preallocate, form, made["rings"], fates, made["numbers"]),
        entries=made["entries"],
        timing=made["timing"],
    )


def _assembled(order: Order) -> Dict[str, Optional[Form]]:
    from iotrace.kernel import assembly  # noqa: PLC0415 - not needed where other processes assemble

    return {name: form for half in HALVES for name, form in assembly.assemble(order, half).items()}


def without_back_jumps(made: Plan) -> Plan:
    """The same with shorter programs, for a kernel whose verifier does not follow their loops to the end."""
    kernel = replace(made.kernel, back_jumps=False)
    return make(made.options, None, "", None, facts.Facts(kernel, made.preallocate, ""))


def choose(options: Options) -> Options:
    """With the way in that is best here, if it was left open. Raises Failure."""
    if options.light:
        return replace(options, attach="raw", light=way_in.choose_light())
    return replace(options, attach=way_in.choose(options.attach))
