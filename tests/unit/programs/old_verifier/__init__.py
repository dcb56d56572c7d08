"""How far the verifier of a kernel before 5.3 walks through a program: the number of instructions that it processes.

Such a kernel gives up after 131,072 of them (BPF_COMPLEXITY_LIMIT_INSNS), for programs of which newer ones process a
few thousand. This model takes the same steps as Linux 4.14.5 (kernel/bpf/verifier.c): it follows every way through the
program, the fall-through of a jump first, with what is known of each register and of each byte of the stack; and it
leaves a way where it meets a state that is no wider than one that it had there before. States are kept at conditional
jumps, at their targets, and behind calls and jumps. Two things make such a kernel walk far:

- A byte of the stack that was written on the way that came first, and was not on another, sets the two apart for
  good: whether anybody reads it is not looked at. Of registers it is (dc503a8ad984 "bpf/verifier: track liveness for
  pruning").
- So do different bounds of a number in a register, wherever its value matters at all.

It models what programs that a kernel accepts consist of, and refuses nothing by itself.
"""

from __future__ import annotations

from tests.unit.programs.old_verifier.walk import LIMIT, processed

__all__ = ["LIMIT", "processed"]
