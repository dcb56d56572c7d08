"""Which tests did not run for want of something, and whether that is a failure; and the same signals for all."""

from __future__ import annotations

import signal
from collections import Counter
from typing import Counter as Counts
from typing import Optional, Union

import pytest

from tests import needs

REPORTS = pytest.StashKey["Skips"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--complete", action="store_true", help="fail if a test is skipped for want of what can be installed"
    )


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts what runs in the background with these ignored, nohup with the last one, and tests send them.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    config.stash[REPORTS] = skips = Skips()
    config.pluginmanager.register(skips)


class Skips:
    """Counts what tests were skipped for, less what is impossible on this machine."""

    def __init__(self) -> None:
        self.lacking: Counts[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def _note(self, report: Union[pytest.TestReport, pytest.CollectReport]) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            what = _lacking(report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr))
            if what is not None:
                self.lacking[what] += 1


def _lacking(message: str) -> Optional[str]:
    """What a test was skipped for; None if nothing can be done about it. A reason of neither kind counts too."""
    reason = message[len("Skipped: ") :] if message.startswith("Skipped: ") else message
    if reason.startswith(needs.IMPOSSIBLE):
        return None
    return reason[len(needs.MISSING) :] if reason.startswith(needs.MISSING) else f"? {reason}"


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    passed = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if passed and session.config.getoption("--complete") and session.config.stash[REPORTS].lacking:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lacking = config.stash[REPORTS].lacking
    if not lacking:
        return
    complete = config.getoption("--complete")
    terminalreporter.section("failed for want of" if complete else "not tested for want of", red=complete)
    for what, tests in sorted(lacking.items()):
        terminalreporter.write_line(f"{what}: {tests} test{'s' if tests != 1 else ''}")
