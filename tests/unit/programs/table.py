"""The table that pins every program: of each set with all that a load depends on, of each form by its tag.

A section has a title in brackets. A row of a set is a program's name, its slots, its tag (`ProgramSpec.tag`), the
first kernel that can load it, its maps and its helpers. A row of the forms is a program's name, its tags on the
kernels of the title (`-` where there is no such form), and the forms in which it has them: `raw,perf/x86_64/all/direct`
stands for two.
"""

from __future__ import annotations

import itertools
from typing import Dict, Iterable, Iterator, List, Mapping, Sequence, Set, Tuple

from asm import ProgramSpec
from programs.build import ProgramSet
from tests.unit.programs.forms import ABILITIES, FORMS, Form

Tags = Dict[str, str]
"""By name of the program."""
Box = Tuple[str, ...]
"""Forms but for their kernel: for each axis the values, with commas between."""

KERNELS = [f"{major}.{minor}" for major, minor in ABILITIES]
TITLE = "forms, on " + " ".join(KERNELS)


def row(program: ProgramSpec) -> str:
    """What is pinned of a program in a set, behind its name."""
    major, minor = program.requires().version
    helpers = {str(i.call): None for i in program.instructions if i.call and not i.takes_function}
    maps, called = " ".join(program.maps) or "none", " ".join(helpers) or "none"
    return f"{program.slots:<4} {program.tag()} {major}.{minor:<2} maps: {maps}; helpers: {called}"


def rows(made: ProgramSet) -> Dict[str, str]:
    """The rows of a set, by name of the program."""
    return {name: row(program) for name, program in sorted(made.programs.items())}


def tags(made: ProgramSet) -> Tags:
    return {name: program.tag() for name, program in made.programs.items()}


def render(sets: Mapping[str, ProgramSet], forms: Mapping[Form, Tags]) -> str:
    """The whole table."""
    lines: List[str] = []
    for name, made in sets.items():
        lines += [f"[{name}]", *(f"{program:17} {text}" for program, text in rows(made).items()), ""]
    return "\n".join([*lines, f"[{TITLE}]", *_form_rows(forms), ""])


def parse(text: str) -> Tuple[Dict[str, Dict[str, str]], Dict[Form, Tags]]:
    """The rows of each set by program, and the tags of each form."""
    sets: Dict[str, Dict[str, str]] = {}
    forms: Dict[Form, Tags] = {}
    title = ""
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if line.startswith("["):
            title = line.strip("[]")
        elif title == TITLE:
            *found, boxes = rest.split(maxsplit=len(KERNELS))
            for attach, machine, who, threads in _opened(boxes.split()):
                for kernel, tag in zip(ABILITIES, found):
                    if tag != "-":
                        forms.setdefault(Form(attach, machine, who, threads, kernel), {})[name] = tag
        elif line:
            sets.setdefault(title, {})[name] = rest.strip()
    return sets, forms


def changes(expected: Mapping[str, str], found: Mapping[str, str]) -> List[str]:
    """Which programs differ, and in what, for a reader; empty if none does."""
    lines = []
    for name in sorted({*expected, *found}):
        before, after = expected.get(name), found.get(name)
        if before == after:
            continue
        if before is None or after is None:
            lines.append(f"{name}: {'is new' if before is None else 'is gone'}")
        else:
            lines += [f"{name}:", f"  - {before}", f"  + {after}"]
    return lines


def _form_rows(forms: Mapping[Form, Tags]) -> Iterator[str]:
    alike: Dict[Tuple[str, Tuple[str, ...]], Set[Box]] = {}
    for name in sorted({name for found in forms.values() for name in found}):
        by_axes: Dict[Box, Dict[str, str]] = {}
        for form, found in forms.items():
            if name in found:
                by_axes.setdefault(form[:-1], {})[_kernel(form)] = found[name]
        for axes, on in by_axes.items():
            alike.setdefault((name, tuple(on.get(kernel, "-") for kernel in KERNELS)), set()).add(axes)
    for (name, columns), boxes in alike.items():
        where = " ".join("/".join(box) for box in _joined(boxes))
        yield f"{name:17} {' '.join(f'{tag:16}' for tag in columns)} {where}"


def _joined(boxes: Iterable[Box]) -> Sequence[Box]:
    """The same forms in fewer boxes: those that differ in one axis only become one."""
    joined = set(boxes)
    for axis in reversed(range(len(Form._fields) - 1)):
        alike: Dict[Box, Set[str]] = {}
        for box in joined:
            alike.setdefault((*box[:axis], *box[axis + 1 :]), set()).add(box[axis])
        joined = {(*rest[:axis], ",".join(sorted(values)), *rest[axis:]) for rest, values in alike.items()}
    return sorted(joined)


def _opened(boxes: Iterable[str]) -> Iterator[Tuple[str, ...]]:
    for box in boxes:
        yield from itertools.product(*(values.split(",") for values in box.split("/")))


def _kernel(form: Form) -> str:
    return f"{form.kernel[0]}.{form.kernel[1]}"


assert all(_kernel(form) in KERNELS for form in FORMS)
