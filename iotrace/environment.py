"""The environment as this process was given it, for the commands that it starts."""

from __future__ import annotations

import os

_VARIABLE = b"LC_CTYPE"


def restore() -> None:
    """Undo what the interpreter has done to LC_CTYPE: in the C locale it sets that to a UTF-8 one (PEP 538), and a
    command that finds it sorts and classifies differently.

    This process keeps the locale. Where /proc cannot be read the variable stays as it is.
    """
    try:
        with open("/proc/self/environ", "rb") as source:
            given = dict(entry.partition(b"=")[::2] for entry in source.read().split(b"\0"))
    except OSError:
        return
    if _VARIABLE in given:
        os.environb[_VARIABLE] = given[_VARIABLE]
    else:
        os.environb.pop(_VARIABLE, None)
