"""The BTF ids that reading the kernel's memory by plain loads takes."""

from __future__ import annotations

from contextlib import suppress
from typing import Dict

from programs.facts.kernel import CAST, TYPED, TYPED_OPTIONAL
from pybpf.features import FEATURES
from pybpf.types.btf import Btf, MissingMember


def typed_reads(btf: Btf) -> Dict[str, int]:
    """The BTF ids of the cast and of the structs in TYPED; empty where a program may not use them."""
    if not FEATURES["typed_reads"].supported():
        return {}
    try:
        types = {name: btf.type_id("struct", name) for name in TYPED}
        types[CAST] = btf.type_id("func", CAST)
    except MissingMember:
        return {}
    for name in TYPED_OPTIONAL:
        with suppress(MissingMember):
            types[name] = btf.type_id("struct", name)
    return types
