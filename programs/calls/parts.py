"""The programs of synchronous system calls that are reached by tail calls, and which of them run at an entry."""

from __future__ import annotations

from typing import Dict

from asm import ProgramSpec
from programs.calls import answered, beside, copies, lifetime, refused, storage, sync, unentered, vector
from programs.facts.catalogue import Kind
from programs.facts.jumps import WALKS, Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.files.identify import SCRATCH_ENTER, SCRATCH_EXIT
from programs.files.path import walk
from programs.files.recent import exit_names

ENTERING = frozenset({Jump.ENTER_OTHER, Jump.ENTER_VECTOR, WALKS[SCRATCH_ENTER]})
"""The rest runs at the exit of a call: a tail call goes from fentry to fentry and from fexit to fexit only."""


def parts(kernel: Kernel, options: Options, maps: Maps) -> Dict[int, ProgramSpec]:
    """By their indexes in the table of tail calls."""
    facts = (kernel, options, maps)
    copied = copies.exit_source(*facts)
    alone: Dict[int, ProgramSpec] = (
        {} if options.attach == "fentry" else {Jump.ANSWERED: answered.exit_answered(*facts)}
    )
    if options.light and options.attach == "raw":
        alone[Jump.UNENTERED] = unentered.exit_unentered(*facts)
        alone[Kind.SEEK] = unentered.exit_seek(*facts)
    return {
        **alone,
        Jump.ENTER_OTHER: lifetime.enter_other(*facts),
        Jump.ENTER_VECTOR: vector.enter_vector(*facts),
        Jump.EXIT_IOVEC: vector.exit_iovec(*facts),
        Jump.STORAGE: storage.exit_storage(*facts),
        Kind.VECTOR: vector.exit_vector(*facts),
        Kind.SYNC: sync.exit_sync(*facts),
        Kind.CLOSE: lifetime.exit_close(*facts),
        Kind.OPEN: lifetime.exit_open(*facts),
        Jump.REFUSED: refused.exit_refused(*facts),
        Kind.MMAP: lifetime.exit_mmap(*facts),
        Kind.SENDFILE: copied,
        Kind.COPY: copied,
        Jump.COPY_TARGET: copies.exit_target(*facts),
        Kind.NAMESPACE: lifetime.exit_namespace(*facts),
        Kind.RING: lifetime.exit_ring(*facts),
        Kind.NAMES: exit_names(*facts),
        Kind.BESIDE: beside.exit_beside(*facts),
        WALKS[SCRATCH_ENTER]: walk(*facts, SCRATCH_ENTER),
        WALKS[SCRATCH_EXIT]: walk(*facts, SCRATCH_EXIT),
    }
