"""Files and JSON that somebody else made: opened without waiting, parsed within bounds."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
import sys
from typing import Any, Dict, Union

_DIGITS = 32  # more than any number has that is stored anywhere


def open_regular(path: Union[str, bytes]) -> int:
    """A descriptor of a regular file, for reading; the caller closes it.

    Never waits: not for the other end of a FIFO, and not in a read where a regular file has nothing to say yet, as
    tracefs's trace_pipe. Raises OSError, also for anything but a regular file.
    """
    # Looked at before it is opened, since opening some devices does something; and again, since it may be another then.
    _check_kind(os.stat(path), path)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _check_kind(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check_kind(found: os.stat_result, path: Union[str, bytes]) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)


def _short_integer(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError("a number with too many digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number that is not finite")
    return number


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a number")


_hooks: Dict[str, Any] = {"parse_float": _finite, "parse_constant": _no_number}
if not hasattr(sys, "get_int_max_str_digits"):  # 3.8.14 and 3.11 have it: without, int() takes hours over a megabyte
    _hooks["parse_int"] = _short_integer
_decode = json.JSONDecoder(**_hooks).decode


def parse_json(text: str) -> Any:
    """The value of a JSON text, in which all numbers are finite. Raises ValueError.

    The caller bounds the length: a value takes up to 60 times the bytes of its text.
    """
    try:
        return _decode(text)
    except RecursionError:
        raise ValueError("JSON that is nested too deep") from None
    except ValueError as error:
        if str(error).startswith("Exceeds the limit"):  # of digits, and how to raise it
            raise ValueError("a number with too many digits") from None
        raise
