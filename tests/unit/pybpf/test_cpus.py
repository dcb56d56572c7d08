"""Lists of CPUs as the kernel writes them."""

from __future__ import annotations

from typing import List

import pytest

from pybpf.cpus import parse_cpu_list


@pytest.mark.parametrize(("text", "cpus"), [("0\n", [0]), ("0-3\n", [0, 1, 2, 3]), ("0-1,4,8-9", [0, 1, 4, 8, 9])])
def test_cpu_lists(text: str, cpus: List[int]) -> None:
    assert parse_cpu_list(text) == cpus


@pytest.mark.parametrize("text", ["", "x", "3-1", "0-999999999", "1,,2"])
def test_what_is_no_cpu_list(text: str) -> None:
    with pytest.raises(ValueError):
        parse_cpu_list(text)
