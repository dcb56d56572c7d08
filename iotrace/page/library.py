"""The charting library of the page: Vega, as the package vl-convert-python ships it.

It draws on canvases, so that a name on a chart is never markup, and it can interpret its expressions, so that the page
needs neither eval nor inline styles. The package bundles it, with an engine for JavaScript that takes 150 MB and two
seconds: a process of its own does that, while the profile is read.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import signal
from types import TracebackType
from typing import Optional, Type

from iotrace.errors import Failure

PACKAGE, MODULE = "vl-convert-python", "vl_convert"
SNIPPET = "window.vegaEmbed = vegaEmbed;"
_LEAST = 100_000  # bytes of a library


def available() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec(MODULE) is not None


def bundle() -> str:
    """The library as a script."""
    made: str = importlib.import_module(MODULE).javascript_bundle(SNIPPET)
    return made


class Library:
    """The library, which is being made from the beginning of the block on."""

    def __init__(self) -> None:
        """Raises Failure where the package is not installed."""
        if not available():
            raise Failure(
                f"the page needs a charting library: pip install {PACKAGE} (or iotrace with the extra: iotrace[html])"
            )
        self._process, self._receiver = 0, -1

    def __enter__(self) -> Library:
        self._receiver, sender = os.pipe()
        try:
            self._process = os.fork()
        except OSError:
            os.close(sender)
            raise
        if not self._process:
            _tell(sender)
        os.close(sender)
        return self

    def text(self) -> str:
        """The library as a script. Raises Failure if it could not be made."""
        with open(self._receiver, "rb", closefd=False) as stream:
            raw = stream.read()
        if len(raw) < _LEAST:
            raise Failure(f"{PACKAGE}: no charting library came out of it: pip install --upgrade {PACKAGE}")
        return raw.decode("utf-8")

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        os.close(self._receiver)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)


def _tell(sender: int) -> None:
    """Send the library, and end this process."""
    try:
        with open(sender, "wb") as stream:
            stream.write(bundle().encode("utf-8"))
    finally:
        os._exit(0)
