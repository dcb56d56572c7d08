"""Linux AIO in a profile: what a run saw of it."""

from __future__ import annotations

from programs.layout import PendingKey
from pybpf.maps import Map


def unfinished(pending: Map[bytes]) -> int:
    """How many requests were not seen to complete: still in flight, or reaped where no program looks."""
    return sum(1 for raw, _ in pending.items() if PendingKey.unpack(raw)["owner"])


def coverage(left: int = 0) -> str:
    """For the profile; `left` is what `unfinished` said."""
    return f"partial: {left} requests were not seen to complete" if left else "full"
