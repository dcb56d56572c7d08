"""Whether a task is in one of the cgroups that choose what is traced, or below.

In the hierarchy of version 2 the kernel tells (bpf_current_task_under_cgroup, 4.9). Of version 1, each controller has a
hierarchy of its own, and the way up in it is followed here.
"""

from __future__ import annotations

from asm import U64, Register, r0, r1, r2
from programs.facts.kernel import UNIFIED
from programs.way.body import Body

LEVELS = 16
"""How far up a hierarchy of version 1 is looked: whoever is as many levels and more below a chosen cgroup is missed."""


def unless_in_cgroups(b: Body, reject: str) -> None:
    """Jumps to `reject` unless current is in one of the cgroups that choose what is traced. Clobbers r0 to r5."""
    a, inside = b.a, b.a.unique("in_cgroup")
    if b.options.hierarchy == UNIFIED:
        for number in range(b.options.cgroups):
            a.ld_map(r1, b.maps.cgroups)
            a.mov(r2, number)
            a.call("current_task_under_cgroup")
            a.jeq(r0, 1, inside)
    else:
        _walk_up(b, inside)
    a.ja(reject)
    a.label(inside)


def _walk_up(b: Body, inside: str) -> None:
    a, o, css, none = b.a, b.kernel.offsets, b.a.slot("css", U64), b.a.unique("at_the_top")
    own_css(b, r1)
    for _ in range(LEVELS):
        a.jeq(r1, 0, none)
        a.stx(css, r1)
        b.load(r1, r1, o["css.cgroup"])
        b.load(r1, r1, o["cgroup.node"])
        b.load(r1, r1, o["node.id"])
        for number in b.options.roots:
            a.ld_imm64(r2, number)
            a.jeq(r1, r2, inside)
        a.ldx(r1, css)
        b.load(r1, r1, o["css.parent"])
    a.label(none)


def own_css(b: Body, dst: Register) -> None:
    """`dst` = current's place in the hierarchy of `Options.hierarchy`, a struct cgroup_subsys_state *."""
    o = b.kernel.offsets
    b.a.call("get_current_task")
    b.a.mov(dst, r0)
    b.load(dst, dst, o["task.cgroups"], of="task_struct")
    b.load(dst, dst, o["css_set.subsys"] + 8 * b.options.hierarchy, "in the controller's hierarchy")
