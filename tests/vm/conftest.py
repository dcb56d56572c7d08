"""Which kernels the tests try, and the table of what works where, at the end of the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List

import pytest

from . import matrix
from .kernels import DEFAULT, KERNELS


@dataclass
class Ledger:
    """What the guests of this test run said."""

    results: List[matrix.Result] = field(default_factory=list)
    remarks: List[str] = field(default_factory=list)


LEDGER = pytest.StashKey[Ledger]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-kernels", action="store_true", help=f"every kernel, not only {' and '.join(DEFAULT)}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kernel" in metafunc.fixturenames:
        # The option is known only where this directory was named on the command line.
        every = metafunc.config.getoption("--all-kernels", default=False)
        metafunc.parametrize("kernel", [KERNELS[name] for name in (KERNELS if every else DEFAULT)], ids=str)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    ledger = config.stash.get(LEDGER, Ledger())
    if ledger.results:
        terminalreporter.section("kernels")
        terminalreporter.write_line("\n".join([matrix.table(ledger.results), *ledger.remarks]))


@pytest.fixture(scope="session")
def ledger(pytestconfig: pytest.Config) -> Ledger:
    return pytestconfig.stash.setdefault(LEDGER, Ledger())


@pytest.fixture(scope="session")
def pyz() -> bytes:
    return matrix.build()
