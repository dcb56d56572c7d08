"""iotrace on other kernels: every way to attach and every source of offsets, against workloads of known answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests import needs

from . import machine, matrix
from .kernels import Kernel

if TYPE_CHECKING:
    from .conftest import Ledger


def test_kernel(kernel: Kernel, pyz: bytes, ledger: Ledger) -> None:
    reason = machine.missing(kernel)
    if reason is not None:
        needs.missing(reason)
    results, remark = matrix.examine(kernel, pyz)
    ledger.results.extend(results)
    ledger.remarks.extend([remark] if remark else [])
    wrong = [f"{r.attach} {r.offsets} {r.case}: {r.reason}" for r in results if r.status == "failed"]
    assert not wrong, "\n".join(wrong)
    tried = {r.attach for r in results if r.status != "impossible"}
    assert {"raw", "perf"} <= tried, "each of these kernels has both kinds of tracepoints"
