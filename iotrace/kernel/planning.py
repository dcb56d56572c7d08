"""Making a plan: asking the kernel, and assembling the programs for it."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Dict, Optional

from iotrace.kernel import facts, way_in
from iotrace.kernel.plan import CALLS, OTHERS, Form, Order, Others, Plan
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
    assemble it if they can, and have to be there until its `others` have been asked for. Raises Failure, UserError,
    BpfError.
    """
    found = found or facts.gather(tracefs, source, vmlinux)
    raw = features.FEATURES["raw_tracepoints"].supported()
    order = Order(found.kernel, options, found.preallocate, raw)
    if assemblers is not None:
        assemblers.ask(order)

    def half(name: str) -> Dict[str, Optional[Form]]:
        made = None if assemblers is None else assemblers.answer(name)
        return _assembled(order, name) if made is None else made

    @functools.lru_cache(maxsize=None)
    def others() -> Others:
        forms = half(OTHERS)
        fates = forms.pop("fates")
        assert fates is not None
        return Others(fates, **forms)

    form = half(CALLS)["form"]
    assert form is not None
    return Plan(found.kernel, options, found.preallocate, form, others)


def _assembled(order: Order, half: str) -> Dict[str, Optional[Form]]:
    from iotrace.kernel import assembly  # noqa: PLC0415 - not needed where other processes assemble

    return assembly.assemble(order, half)


def without_back_jumps(made: Plan) -> Plan:
    """The same with shorter programs, for a kernel whose verifier does not follow their loops to the end."""
    kernel = replace(made.kernel, back_jumps=False)
    return make(made.options, None, "", None, facts.Facts(kernel, made.preallocate, ""))


def choose(options: Options) -> Options:
    """With the way in that is best here, if it was left open. Raises Failure."""
    if options.light:
        return replace(options, attach="raw", light=way_in.choose_light())
    return replace(options, attach=way_in.choose(options.attach))
