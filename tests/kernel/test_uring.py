"""io_uring's programs where the kernel is not as they take it to be."""

from __future__ import annotations

from dataclasses import replace

from iotrace.kernel import facts
from iotrace.tracing.session import Session, Settings
from tests import needs


def test_a_kernel_that_refuses_the_programs_is_traced_without_them() -> None:
    found = facts.gather(None)
    if found.kernel.uring is None or "io_kiocb" not in found.kernel.types:
        needs.impossible("this kernel does not show io_uring's requests, or not by types")
    wrong = replace(found.kernel, types={**found.kernel.types, "io_kiocb": 1 << 30})
    with Session(Settings(max_files=16), replace(found, kernel=wrong)) as session:
        assert session.loaded.kernel.uring is None
        assert {program.name for program in session.loaded.programs} >= {"exit", "enter"}
